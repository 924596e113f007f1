"""Deferred Ctrl-C at the end of ``fit()``."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class DeferredInterrupt:
    """Context from Spark's return to the end of ``fit()`` that defers Ctrl-C.

    The previous handler still runs. Its first KeyboardInterrupt is not raised but sets ``pressed``,
    so that it cannot interrupt a lock or an incomplete record. It ends the wait for delivery if
    there is one, and is otherwise raised at the end of the context. A second Ctrl-C is raised at
    once. Python runs signal handlers in the main thread, so in other threads the context does
    nothing.
    """

    def __init__(self) -> None:
        self.pressed = False
        # Whether Ctrl-C ends a wait, so that it is not raised.
        self.ends_wait = False
        self._presses = 0
        self._before: Any = None

    def __enter__(self) -> DeferredInterrupt:
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
            # The user's handler raised nothing, so this was not an interrupt.
            self._presses -= 1
