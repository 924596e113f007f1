"""The time: an interface that tests can replace, and the system's own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where every time in the record comes from."""

    def now_ms(self) -> int:
        """Wall-clock time in milliseconds since the epoch, as MLflow stores it."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back; only differences mean anything."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()
