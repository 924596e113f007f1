"""How long a search waits before it sends something again."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable

# While the server is away.
FIRST_SECONDS = 0.5
GROWTH = 1.5
LONGEST_SECONDS = 30.0
# While it refuses what comes too fast.
FIRST_PACE_SECONDS = 0.2
HALVES_IN_SECONDS = 3.0


class Backoff:
    """Delays of one search, in seconds, at random, so that many drivers do not come all at once.

    * The server is away: anything up to a longest one, which grows by half with each try, from 0.5
      to 30. All drivers lose a server at the same moment; they come back to it spread over about
      the time for which it was away.
    * It is busy: there is a pace, the time from one request to the next. Each refusal doubles it,
      and every three seconds halve it. Whoever sends most is refused most, so all that share the
      server come to one pace, and each of them is refused about once in three seconds. The delay is
      between half and one and a half of it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Not the one that all share: users seed it, and count on what it says.
        self._random = random.Random()
        self._tries = 0
        self._pace = 0.0
        self._pace_at = clock()

    def away(self) -> float:
        """The delay after a try that the server gave no answer to."""
        longest = min(LONGEST_SECONDS, FIRST_SECONDS * GROWTH ** min(self._tries, 16))
        self._tries += 1
        return longest * self._random.random()

    def busy(self) -> float:
        """The delay after a try that was refused because there were too many."""
        self._tries = 0
        self._set_pace(min(LONGEST_SECONDS, max(FIRST_PACE_SECONDS, 2.0 * self._pace_now())))
        return self._delay()

    def succeeded(self) -> float:
        """The delay after a success: 0 where nothing was refused of late."""
        self._tries = 0
        pace = self._pace_now()
        self._set_pace(pace if pace >= FIRST_PACE_SECONDS / 2 else 0.0)
        return self._delay()

    def _pace_now(self) -> float:
        return self._pace * math.pow(0.5, (self._clock() - self._pace_at) / HALVES_IN_SECONDS)

    def _set_pace(self, seconds: float) -> None:
        self._pace, self._pace_at = seconds, self._clock()

    def _delay(self) -> float:
        return self._pace * self._random.uniform(0.5, 1.5)
