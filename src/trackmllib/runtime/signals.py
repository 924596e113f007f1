"""Handler of SIGTERM, which ends open searches."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

# The first process of a PID namespace, such as that of a container.
_INIT = 1
# Seconds after which the main thread handles a second SIGTERM that did not interrupt its wait.
_SLICE = 0.1
# Our modules that call the user's code, without holding a lock.
_CALLERS_OF_USER_CODE = ("trackmllib.support.patching", "trackmllib.spark.")


class TerminationHandler:
    """Runs ``finish`` before SIGTERM ends the process.

    The handler is installed only in the main thread, and only if the signal has its default action.
    ``finish`` runs in another thread while the main thread waits, unless the signal interrupted our
    own code, which may hold a lock that ``finish`` needs. The process ends after twice the timeout
    even if ``finish`` does not return, and at once on a second SIGTERM.

    If no thread can be started, ``finish`` runs in the main thread. If the signal interrupted our
    own code then, the process ends at once, and its outbox is recovered as after a SIGKILL.

    The first process of a container (PID 1) ends with exit status 143, because the kernel ignores
    signals with the default action there.

    :param finish: Ends open searches and delivers their records.
    :param timeout: Returns how many seconds ``finish`` may take.
    """

    def __init__(self, finish: Callable[[], None], timeout: Callable[[], float]) -> None:
        self._finish = finish
        self._timeout = timeout
        self._process = os.getpid()

    def install(self) -> None:
        if _in_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._handle)

    def uninstall(self) -> None:
        if _in_main_thread() and signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, _end_process if os.getpid() == _INIT else signal.SIG_DFL)
        if os.getpid() != self._process:
            # A forked child has no searches to end.
            _end_process()
            return
        timeout = min(self._timeout(), threading.TIMEOUT_MAX)
        # A thread may fail to start, a timer cannot.
        signal.signal(signal.SIGALRM, _end_process)
        signal.setitimer(signal.ITIMER_REAL, 2 * timeout)
        is_in_our_code = _is_in_our_code(frame)
        finishing = threading.Thread(target=self._finish_and_end, name="trackmllib-termination")
        try:
            finishing.start()
        except (RuntimeError, MemoryError):
            # The process has too many threads, or Python is shutting down.
            if is_in_our_code:
                _end_process()
            self._finish_and_end()
        if not is_in_our_code:
            # In slices, since a signal that arrives just before a wait does not interrupt it.
            until = time.monotonic() + timeout
            while finishing.is_alive() and (left := until - time.monotonic()) > 0:
                finishing.join(min(left, _SLICE))

    def _finish_and_end(self) -> None:
        try:
            self._finish()
        finally:
            _end_process()


def _end_process(*_: object) -> None:
    """End the process as the default action of SIGTERM does."""
    if os.getpid() == _INIT:
        os._exit(128 + signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _is_in_our_code(frame: FrameType | None) -> bool:
    """Whether our code called ``frame``, with no user code in between."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith("trackmllib."):
            return not name.startswith(_CALLERS_OF_USER_CODE)
        frame = frame.f_back
    return False
