"""Progress bars on standard error: in notebooks, terminals and log files."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import nullcontext, suppress
from importlib.util import find_spec
from typing import Any, Protocol, TextIO

from trackmllib.reporting.progress.status_line import StatusLine

LOG_EVERY_SECONDS = 30.0
# Minimum columns of a terminal for the name of the search.
WIDE = 99


class ProgressBar(Protocol):
    """Progress bar of one search; raises what the stream raises."""

    def draw(self, line: StatusLine, now: float) -> None:
        """Show the status at ``now``, in seconds of a monotonic clock."""
        ...

    def finish(self, line: StatusLine) -> None:
        """Show the last status."""
        ...

    def drop(self) -> None:
        """Stop drawing, because the stream is broken."""
        ...


def new_bar(title: str, depth: int) -> ProgressBar | None:
    """Bar for a search nested in ``depth`` others; None without a stream."""
    stream = sys.stderr
    if _in_notebook():
        widget = find_spec("ipywidgets") is not None
        return TqdmBar(title, depth, stream, widget=widget)
    if stream is None or stream.closed:
        return None
    if stream.isatty():
        return TqdmBar(title, depth, stream)
    return LogLines(title, depth, stream)


class LogLines:
    """A line every 30 s; the first at once, or for a nested search after 30 s."""

    def __init__(self, title: str, depth: int, stream: TextIO) -> None:
        self._prefix = f"trackmllib: {'  ' * depth}{title}: "
        self._stream = stream
        self._is_inner = depth > 0
        self._next: float | None = None
        self._lines = 0

    def draw(self, line: StatusLine, now: float) -> None:
        if self._next is None:
            self._next = now + LOG_EVERY_SECONDS if self._is_inner else now
        if now >= self._next:
            self._next = now + LOG_EVERY_SECONDS
            self._write(line)

    def finish(self, line: StatusLine) -> None:
        if self._lines or not self._is_inner:
            self._write(line)

    def drop(self) -> None:
        pass

    def _write(self, line: StatusLine) -> None:
        self._lines += 1
        self._stream.write(f"{self._prefix}{line.text}\n")
        self._stream.flush()


class TqdmBar:
    """Bar of tqdm; disappears at the end of a nested search."""

    def __init__(self, title: str, depth: int, stream: TextIO, *, widget: bool = False) -> None:
        self._title = title
        self._depth = depth
        self._stream = stream
        self._is_widget = widget
        self._cls = _tqdm_class(widget)
        self._bar: Any = None

    def draw(self, line: StatusLine, now: float) -> None:
        layout = self._layout()
        if self._bar is None:
            self._cls.status = line.text
            self._bar = self._cls(
                total=line.total,
                initial=line.done,
                file=self._stream,
                leave=self._depth == 0,
                **layout,
            )
        self._set(line)
        vars(self._bar).update(layout)
        self._bar.refresh()

    def _layout(self) -> dict[str, Any]:
        """Width and format of the bar; a widget has its own width."""
        indent = "  " * self._depth
        if self._is_widget:
            return {"bar_format": f"{indent}{self._title}: {{bar}}{{status}}"}
        width = _width(self._stream)
        name, bar = (f"{self._title}: ", 12) if width >= WIDE else ("", 6)
        return {"ncols": width, "bar_format": f"{indent}{name}|{{bar:{bar}}}| {{status}}"}

    def finish(self, line: StatusLine) -> None:
        if self._bar is not None:
            self._set(line)
            if self._is_widget:
                self._bar.refresh()
                self._bar.close()
                return
            # Otherwise bars below this one would leave a copy when they move up.
            with self._cls.external_write_mode(file=self._stream):
                self._bar.close()

    def drop(self) -> None:
        if self._bar is not None:
            # Otherwise tqdm draws once more when the bar is garbage-collected.
            self._bar.disable = True

    def _set(self, line: StatusLine) -> None:
        self._bar.status = line.text
        self._bar.n = line.done
        self._bar.total = line.total


def _tqdm_class(widget: bool) -> Any:
    """Class that ``tqdm.auto`` would choose, without its side effects.

    ``tqdm.auto`` changes warning filters, and warns without ipywidgets. A plain tqdm starts a
    thread, and creates a lock between processes.
    """
    from tqdm import tqdm as plain

    base: Any = plain
    if widget:
        from tqdm.notebook import tqdm as notebook

        base = notebook

    class _Bar(base):  # type: ignore[misc]
        monitor_interval = 0
        status = ""

        @property
        def format_dict(self) -> dict[str, Any]:
            return {**super().format_dict, "status": self.status}

        def refresh(self, nolock: bool = False, lock_args: Any = None) -> None:
            """Draw the bar, and release the lock of all bars even after an error."""
            try:
                with nullcontext() if nolock else self.get_lock():
                    super().refresh(nolock=True)
            except Exception:  # noqa: BLE001 - the user's stream may raise anything
                self.disable = True

    if not hasattr(plain, "_lock"):
        _Bar.set_lock(threading.RLock())
    return _Bar


def _width(stream: TextIO) -> int:
    """Columns of the terminal, less one to avoid wrapping."""
    columns = 0
    with suppress(OSError, ValueError):
        columns = os.get_terminal_size(stream.fileno()).columns
    return (columns or 80) - 1


def _in_notebook() -> bool:
    """Whether this is a Jupyter kernel, as ``tqdm.autonotebook`` decides."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config
