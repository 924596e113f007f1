"""Sampling profiler of all threads."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

EVERY_SECONDS = 0.005
SHOWN = 15
# A thread with one of these innermost frames is waiting.
WAITING = {
    ("threading.py", "wait"),
    ("threading.py", "_wait_for_tstate_lock"),
    ("selectors.py", "select"),
    ("socket.py", "readinto"),
    ("socket.py", "accept"),
    ("subprocess.py", "_try_wait"),
    ("queue.py", "get"),
    ("stubs.py", "_fit"),
    ("pool.py", "worker"),
    ("pool.py", "_handle_results"),
    ("pool.py", "_handle_tasks"),
    ("clientserver.py", "run"),
}


class Sampler:
    """Samples of this process's threads, taken while ``running``."""

    def __init__(self) -> None:
        self.samples = 0
        self._on_top: Counter[tuple[str, str]] = Counter()
        self._inside: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def running(self) -> Iterator[None]:
        over = threading.Event()
        thread = threading.Thread(target=self._run, args=(over,), name="sampler", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def text(self) -> str:
        """Return the most frequent functions by thread, in percent of the samples."""
        lines = [f"{self.samples} samples"]
        for title, counted in (("on top", self._on_top), ("on the stack", self._inside)):
            lines.append(f"{title}:")
            for (thread, where), times in counted.most_common(SHOWN):
                lines.append(f"{100 * times / max(1, self.samples):6.1f} %  {thread:22} {where}")
        return "\n".join(lines)

    def _run(self, over: threading.Event) -> None:
        me = threading.get_ident()
        while not over.wait(EVERY_SECONDS):
            names = {thread.ident: thread.name for thread in threading.enumerate()}
            self.samples += 1
            for number, frame in sys._current_frames().items():
                if number != me:
                    self._count(_kind(names.get(number, "?")), frame)

    def _count(self, thread: str, top: FrameType) -> None:
        if (Path(top.f_code.co_filename).name, top.f_code.co_name) in WAITING:
            return
        self._on_top[thread, _where(top)] += 1
        frame: FrameType | None = top
        seen = set()
        while frame is not None:
            if Path(frame.f_code.co_filename).name != "threading.py":
                seen.add((thread, _where(frame)))
            frame = frame.f_back
        self._inside.update(seen)


def _kind(thread: str) -> str:
    """Return the name of a thread without its number in a pool."""
    return thread.partition(" (")[0].rstrip("0123456789-_")


def _where(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename)
    return (
        f"{path.parent.name}/{path.name}:{frame.f_code.co_qualname}"
        if _QUALNAMES
        else (f"{path.parent.name}/{path.name}:{frame.f_code.co_name}")
    )


_QUALNAMES = sys.version_info >= (3, 11)
