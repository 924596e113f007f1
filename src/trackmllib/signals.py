"""SIGTERM, where nobody else handles it: a last chance to end what is open."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

# Where our code stands around the user's, and holds no lock while that runs.
_AROUND_THE_USERS = ("trackmllib.patching", "trackmllib.spark.")


class TerminationHandler:
    """Lets ``finish`` run before SIGTERM ends the process as it would have without us.

    Installed only where the signal has its default action, and only from the main thread. While
    ``finish`` runs in a thread of its own, the main thread stands still in the handler, for
    ``longest()`` seconds at most; not at all where it was interrupted in our own code, and may hold
    a lock that ``finish`` needs. A second SIGTERM ends the process at once.
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
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if os.getpid() != self._process:
            # A forked child has nothing of ours to end.
            os.kill(os.getpid(), signal.SIGTERM)
            return
        finishing = threading.Thread(target=self._finish_and_die, name="trackmllib-termination")
        finishing.start()
        if not _is_in_our_code(frame):
            finishing.join(self._longest())

    def _finish_and_die(self) -> None:
        try:
            self._finish()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _is_in_our_code(frame: FrameType | None) -> bool:
    """Whether the code at ``frame`` was called by ours, and not by the user's within ours."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith("trackmllib."):
            return not name.startswith(_AROUND_THE_USERS)
        frame = frame.f_back
    return False
