"""A pseudo-terminal for tests, and the contents of its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Terminal:
    """A terminal with a ``stream`` to write to, the ``raw`` output and its ``screen()``."""

    def __init__(self, columns: int) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        os.set_blocking(self._ours, False)
        self.stream: TextIO = os.fdopen(theirs, "w", encoding="utf-8")
        self._sent = b""

    @property
    def raw(self) -> str:
        while True:
            try:
                self._sent += os.read(self._ours, 65536)
            except (BlockingIOError, OSError):
                return self._sent.decode()

    def screen(self) -> list[str]:
        """Return the lines of the screen, after carriage returns and "one line up"."""
        return on_screen(self.raw)

    def close(self) -> None:
        self.stream.close()
        os.close(self._ours)


@contextmanager
def terminal(columns: int = 120) -> Iterator[Terminal]:
    made = Terminal(columns)
    try:
        yield made
    finally:
        made.close()


def on_screen(raw: str) -> list[str]:
    """Return the screen after this output."""
    lines: list[list[str]] = [[]]
    row = column = 0
    for piece in re.findall(r"\x1b\[A|.", raw, re.DOTALL):
        if piece == "\x1b[A":
            row = max(0, row - 1)
        elif piece == "\r":
            column = 0
        elif piece == "\n":
            row += 1
            while row >= len(lines):
                lines.append([])
        else:
            lines[row] += [" "] * (column + 1 - len(lines[row]))
            lines[row][column] = piece
            column += 1
    return [text for line in lines if (text := "".join(line).rstrip())]
