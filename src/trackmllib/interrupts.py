"""Ctrl-C after Spark has returned, which ends the wait of ``fit()`` and keeps the model."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class HeldInterrupt:
    """Context that holds back the first Ctrl-C, from Spark's return to the end of ``fit()``.

    The handler that was installed before still runs, in the main thread. Its first
    KeyboardInterrupt sets ``pressed`` instead, so that it interrupts no lock and no half-written
    record. A second one is raised at once. If there is a wait, the first one ends it and is not
    raised; else it is raised when the context ends. In other threads, where Python runs no signal
    handlers, the context does nothing.
    """

    def __init__(self) -> None:
        self.pressed = False
        # Whether there is a wait for it to end; then it is not raised.
        self.ends_wait = False
        self._presses = 0
        self._before: Any = None

    def __enter__(self) -> HeldInterrupt:
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGINT)
            if callable(before):
                self._before = before
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._before is not None and signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, self._before)
        if self.pressed and not self.ends_wait:
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._presses += 1
        press = self._presses
        try:
            self._before(number, frame)
        except KeyboardInterrupt:
            if press > 1 or self._presses > 1:
                raise
            self.pressed = True
        else:
            # The user's handler raised nothing, so this was no interrupt.
            self._presses -= 1
