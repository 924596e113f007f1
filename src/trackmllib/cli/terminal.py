"""Text on a terminal: its width, its printable characters and its colours.

The verbs print only by ``echo`` and ``write_data`` (ruff forbids ``print`` in their files): names,
errors and URIs may come from other people, and a terminal executes escape sequences in them.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
import unicodedata

_JOINER = "\N{ZERO WIDTH JOINER}"
_UNPRINTABLE = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
_NO_WIDTH = {"Mn", "Me", "Cf"}
_STYLES = {"bold": "1", "dim": "2", "good": "32", "bad": "31"}
_EIGHTHS = " ▏▎▍▌▋▊▉"


def prepare() -> None:
    """Print what the encoding of the output lacks as ``?``: no text of a user's is an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def width() -> int | None:
    """How many cells a line has; None where the output is no terminal, and nothing is left out."""
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS", ""):
        return None
    return max(20, shutil.get_terminal_size().columns)


def echo(*lines: str, err: bool = False) -> None:
    """Print lines without control characters, on standard output or standard error."""
    stream = sys.stderr if err else sys.stdout
    for line in lines:
        print(line if isinstance(line, Styled) else clean(line), file=stream)


def write_data(text: str) -> None:
    """Write lines for a program unchanged, or without control characters on a terminal."""
    sys.stdout.write(clean_lines(text) if sys.stdout.isatty() else text)


def show_progress(text: str) -> None:
    """Replace the line that the last call wrote on standard error."""
    print(f"\r{clean(text)}  ", end="", file=sys.stderr, flush=True)


def end_progress() -> None:
    """Clear the line of ``show_progress``."""
    print("\r" + " " * 30 + "\r", end="", file=sys.stderr)


class Styled(str):
    """A clean text with styles, which ``echo`` prints unchanged. Only ``styled`` makes one."""

    __slots__ = ()

    def __add__(self, other: str) -> Styled:
        return Styled(str.__add__(self, clean(other)))


def styled(text: str, *names: str) -> str:
    """The text in bold, or in a colour: only on a terminal, and not with ``NO_COLOR``."""
    if not names or not text or not _has_colours():
        return text
    codes = ";".join(_STYLES[name] for name in names)
    return Styled(f"\x1b[{codes}m{clean(text)}\x1b[0m")


def _has_colours() -> bool:
    return (
        sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )


def clean(text: str) -> str:
    """The text on one line, without what a terminal would obey: ``␛`` in the place of an escape."""
    return "".join(map(_clean, text))


def clean_lines(text: str) -> str:
    """A text of several lines, each of them clean."""
    return "".join(clean(line.rstrip("\r\n")) + "\n" for line in text.split("\n")[:-1])


def _clean(character: str) -> str:
    if character < " ":
        return chr(0x2400 + ord(character))
    if character == _JOINER or unicodedata.category(character) not in _UNPRINTABLE:
        return character
    return "�"


def paragraph(text: str) -> list[str]:
    """A clean text, broken between words where the line ends."""
    room = width()
    return [clean(text)] if room is None else textwrap.wrap(clean(text), room) or [""]


def cells(text: str) -> int:
    """How many cells of a terminal a clean text takes."""
    return sum(map(_cells, text))


def _cells(character: str) -> int:
    if unicodedata.category(character) in _NO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, room: int, *, right: bool = False) -> str:
    """The text in exactly so many cells: filled up with spaces, or its end replaced by ``…``."""
    taken = cells(text)
    if taken > room:
        text, taken = _cut(text, room - 1) + "…", 0
        taken = cells(text)
    space = " " * (room - taken)
    return space + text if right else text + space


def _cut(text: str, room: int) -> str:
    for end, character in enumerate(text):
        room -= _cells(character)
        if room < 0:
            return text[:end]
    return text


def bar(fraction: float, length: int) -> str:
    """A bar of up to so many cells."""
    eighths = round(fraction * length * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(length)
