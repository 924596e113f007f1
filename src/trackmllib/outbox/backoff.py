"""Retry delays of the relay."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable

# While the server is unavailable.
FIRST_SECONDS = 0.5
GROWTH = 1.5
LONGEST_SECONDS = 30.0
# While the server limits the rate.
FIRST_PACE_SECONDS = 0.2
HALVES_IN_SECONDS = 3.0


class Backoff:
    """Random retry delays of one search, in seconds.

    * The server is unavailable: a delay below a bound that grows by half with each try, from 0.5 to
      30. All drivers lose a server at the same moment; random delays spread their return over about
      the length of the outage.
    * The server limits the rate: a delay of 0.5 to 1.5 times the pace, the time from one request to
      the next. Each refusal doubles the pace; every three seconds halve it. The server refuses the
      fastest driver most often, so all drivers converge on one pace, at about one refusal in three
      seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Not the shared generator: users seed it, and rely on its sequence.
        self._random = random.Random()
        self._tries = 0
        self._pace = 0.0
        self._pace_at = clock()

    def on_unavailable(self) -> float:
        """The delay after a try that got no answer."""
        longest = min(LONGEST_SECONDS, FIRST_SECONDS * GROWTH ** min(self._tries, 16))
        self._tries += 1
        return longest * self._random.random()

    def on_rate_limited(self) -> float:
        """The delay after the server refused a request by its rate limit."""
        self._tries = 0
        self._set_pace(min(LONGEST_SECONDS, max(FIRST_PACE_SECONDS, 2.0 * self._pace_now())))
        return self._delay()

    def on_success(self) -> float:
        """The delay after a success; 0 without a recent refusal."""
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
