"""How long to wait before the next try."""

from __future__ import annotations

import random

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 30.0


class Backoff:
    """Delays in seconds that double from 0.5 to 30, each shortened by up to half at random."""

    def __init__(self) -> None:
        self._tries = 0

    def next_delay(self) -> float:
        longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(self._tries, 16))
        self._tries += 1
        return longest * random.uniform(0.5, 1.0)
