"""SIGTERM, where nobody else handles it: a last chance to end what is open."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

# The first process of a PID namespace, like that of a container.
_INIT = 1
# Our modules that call the user's code, and hold no lock meanwhile.
_AROUND_THE_USERS = ("trackmllib.patching", "trackmllib.spark.")


class TerminationHandler:
    """Handler that runs ``finish`` before SIGTERM ends the process as without trackmllib.

    Installed only if the signal has its default action, and only from the main thread. ``finish``
    runs in a thread of its own, while the main thread waits in the handler, for ``longest()``
    seconds at most. It does not wait if the signal has interrupted our own code, which may hold a
    lock that ``finish`` needs. The process ends after twice that time even if ``finish`` does not
    return, and at once at a second SIGTERM.

    If no thread can be started, ``finish`` runs in the main thread. If the signal has interrupted
    our own code, the process then ends at once, and its outbox is recovered as after a SIGKILL.

    The first process of a container (PID 1) ends with exit status 143, because the kernel ignores
    a signal with the default action there.
    """

    def __init__(self, finish: Callable[[], None], longest: Callable[[], float]) -> None:
        self._finish = finish
        self._longest = longest
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
        longest = min(self._longest(), threading.TIMEOUT_MAX)
        # A timer, not a thread: that might not start.
        signal.signal(signal.SIGALRM, _end_process)
        signal.setitimer(signal.ITIMER_REAL, 2 * longest)
        is_in_our_code = _is_in_our_code(frame)
        finishing = threading.Thread(target=self._finish_and_end, name="trackmllib-termination")
        try:
            finishing.start()
        except (RuntimeError, MemoryError):
            # The process has reached its limit of threads, or Python is shutting down.
            if is_in_our_code:
                _end_process()
            self._finish_and_end()
        if not is_in_our_code:
            finishing.join(longest)

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
    """Whether our code called the code at ``frame``, with none of the user's in between."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith("trackmllib."):
            return not name.startswith(_AROUND_THE_USERS)
        frame = frame.f_back
    return False
