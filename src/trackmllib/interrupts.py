"""Ctrl-C after Spark has returned: it ends the wait of ``fit()``, and the model is not lost."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class HeldInterrupt:
    """A context that holds back the first Ctrl-C, from Spark's return to the return of ``fit()``.

    The handler that it finds runs as ever, in the main thread; only its first KeyboardInterrupt is
    noted instead of raised, so that it strikes in no lock and in no half-written record. A second
    one is raised at once. Where the first one came during a wait, or before it, it has ended the
    wait and that is all; else it is raised when the context ends. In any other thread, where Python
    runs no handlers, nothing is held back.
    """

    def __init__(self) -> None:
        self.pressed = False
        # Whether it ends a wait: then it is not raised.
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
            # This handler does not interrupt.
            self._presses -= 1
