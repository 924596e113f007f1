"""Clock of all recorded times, which tests replace."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Source of times."""

    def now_ms(self) -> int:
        """Wall-clock time in milliseconds since the epoch, as MLflow stores it."""
        ...

    def monotonic(self) -> float:
        """Monotonic time in seconds; only differences are meaningful."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()
