"""SIGTERM, where nobody else handles it: a last chance to end what is open."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType


class TerminationHandler:
    """Lets ``finish`` run before SIGTERM ends the process as it would have without us.

    Installed only where the signal has its default action, and only from the main thread. While
    ``finish`` runs in a thread of its own, the main thread stands still in the handler, unless
    ``in_our_code`` says that it was interrupted where it may hold a lock that ``finish`` needs:
    then it goes on for those few moments. A second SIGTERM ends the process at once.
    """

    def __init__(self, finish: Callable[[], None], in_our_code: Callable[[], bool]) -> None:
        self._finish = finish
        self._in_our_code = in_our_code
        self._process = os.getpid()

    def install(self) -> None:
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._handle)

    def uninstall(self) -> None:
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if os.getpid() != self._process:
            # A forked child has nothing of ours to end.
            os.kill(os.getpid(), signal.SIGTERM)
            return
        finishing = threading.Thread(target=self._finish_and_die, name="trackmllib-termination")
        finishing.start()
        if not self._in_our_code():
            finishing.join()

    def _finish_and_die(self) -> None:
        try:
            self._finish()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
