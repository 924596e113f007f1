"""Ways to show a search: a widget in a notebook, a line in a terminal, lines in a log file.

None of them writes to standard output.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import nullcontext, suppress
from importlib.util import find_spec
from typing import Any, Protocol, TextIO

from trackmllib.view.shown import Shown

PLAIN_SECONDS = 30.0
# Of a terminal that has room for the name of the search.
WIDE = 99


class Bar(Protocol):
    """One search, as it is shown. Only one thread calls it; it may raise what a stream raises."""

    def draw(self, shown: Shown, now: float) -> None:
        """Show how the search stands at ``now``, in seconds of a clock that never goes back."""
        ...

    def finish(self, shown: Shown) -> None:
        """Show how it ended; nothing more comes."""
        ...

    def drop(self) -> None:
        """Show nothing more: the stream is broken."""
        ...


def new_bar(title: str, depth: int) -> Bar | None:
    """A bar for a search inside of ``depth`` others, on what standard error is now; or None."""
    stream = sys.stderr
    if _in_notebook():
        widget = find_spec("ipywidgets") is not None
        return TqdmBar(title, depth, stream, widget=widget)
    if stream is None or stream.closed:
        return None
    if stream.isatty():
        return TqdmBar(title, depth, stream)
    return PlainLines(title, depth, stream)


class PlainLines:
    """A line every 30 s, for log files: the first one at once, but of an inner search later."""

    def __init__(self, title: str, depth: int, stream: TextIO) -> None:
        self._prefix = f"trackmllib: {'  ' * depth}{title}: "
        self._stream = stream
        self._is_inner = depth > 0
        self._next: float | None = None
        self._lines = 0

    def draw(self, shown: Shown, now: float) -> None:
        if self._next is None:
            self._next = now + PLAIN_SECONDS if self._is_inner else now
        if now >= self._next:
            self._next = now + PLAIN_SECONDS
            self._write(shown)

    def finish(self, shown: Shown) -> None:
        if self._lines or not self._is_inner:
            self._write(shown)

    def drop(self) -> None:
        """There is nothing to take back."""

    def _write(self, shown: Shown) -> None:
        self._lines += 1
        self._stream.write(f"{self._prefix}{shown.words}\n")
        self._stream.flush()


class TqdmBar:
    """A bar of tqdm's. That of an inner search goes away when it ends."""

    def __init__(self, title: str, depth: int, stream: TextIO, *, widget: bool = False) -> None:
        self._title = title
        self._depth = depth
        self._stream = stream
        self._is_widget = widget
        self._cls = _tqdm_class(widget)
        self._bar: Any = None

    def draw(self, shown: Shown, now: float) -> None:
        layout = self._layout()
        if self._bar is None:
            self._cls.words = shown.words
            self._bar = self._cls(
                total=shown.total,
                initial=shown.done,
                file=self._stream,
                leave=self._depth == 0,
                **layout,
            )
        self._set(shown)
        vars(self._bar).update(layout)
        self._bar.refresh()

    def _layout(self) -> dict[str, Any]:
        """Width and format for the terminal as wide as it is now; a widget knows its own width."""
        indent = "  " * self._depth
        if self._is_widget:
            return {"bar_format": f"{indent}{self._title}: {{bar}}{{words}}"}
        width = _width(self._stream)
        name, bar = (f"{self._title}: ", 12) if width >= WIDE else ("", 6)
        return {"ncols": width, "bar_format": f"{indent}{name}|{{bar:{bar}}}| {{words}}"}

    def finish(self, shown: Shown) -> None:
        if self._bar is not None:
            self._set(shown)
            if self._is_widget:
                self._bar.refresh()
                self._bar.close()
                return
            # Those below it move up, and would leave their last state where they were.
            with self._cls.external_write_mode(file=self._stream):
                self._bar.close()

    def drop(self) -> None:
        if self._bar is not None:
            # Else it tries once more when it is collected.
            self._bar.disable = True

    def _set(self, shown: Shown) -> None:
        self._bar.words = shown.words
        self._bar.n = shown.done
        self._bar.total = shown.total


def _tqdm_class(widget: bool) -> Any:
    """A bar as ``tqdm.auto`` would choose it, without what that does to the process.

    ``tqdm.auto`` warns where there is no ipywidgets, and changes the filters of warnings; a plain
    tqdm starts a thread that stays, and a lock between processes.
    """
    from tqdm import tqdm as plain

    base: Any = plain
    if widget:
        from tqdm.notebook import tqdm as notebook

        base = notebook

    class _Bar(base):  # type: ignore[misc]
        monitor_interval = 0
        words = ""

        @property
        def format_dict(self) -> dict[str, Any]:
            return {**super().format_dict, "words": self.words}

        def refresh(self, nolock: bool = False, lock_args: Any = None) -> None:
            """Where a stream raises, tqdm itself would never give back the lock of all bars."""
            try:
                with nullcontext() if nolock else self.get_lock():
                    super().refresh(nolock=True)
            except Exception:  # noqa: BLE001 - whatever a stream raises
                self.disable = True

    if not hasattr(plain, "_lock"):
        _Bar.set_lock(threading.RLock())
    return _Bar


def _width(stream: TextIO) -> int:
    """How many characters fit into a line of the terminal, less one so that none breaks."""
    columns = 0
    with suppress(OSError, ValueError):
        columns = os.get_terminal_size(stream.fileno()).columns
    return (columns or 80) - 1


def _in_notebook() -> bool:
    """Whether this process is a kernel of Jupyter's, by the rule of ``tqdm.autonotebook``."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config
