"""Terminal output without control characters.

Commands print with ``echo`` and ``write_data`` only: names, errors and URIs may come from others,
and a terminal would execute their escape sequences. click removes styles if the output is not a
terminal.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
import unicodedata
from typing import Any

import click

_JOINER = "\N{ZERO WIDTH JOINER}"
_UNPRINTABLE = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}


def make_encodable() -> None:
    """Have standard output print ``?`` for characters that its encoding lacks."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def color_override() -> bool | None:
    """False if the environment forbids colors; None lets click decide."""
    forbidden = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return False if forbidden else None


def width() -> int | None:
    """Columns of the terminal; None if the output is not a terminal."""
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS", ""):
        return None
    return max(20, shutil.get_terminal_size().columns)


def echo(*lines: str, err: bool = False) -> None:
    """Print lines without control characters."""
    for line in lines:
        click.echo(_printable(line), err=err)


def write_data(text: str) -> None:
    """Write data unchanged, or on a terminal without control characters."""
    if sys.stdout is not None and sys.stdout.isatty():
        lines = text.removesuffix("\n").split("\n")
        text = "".join(clean(line.rstrip("\r")) + "\n" for line in lines)
    # True keeps escape sequences, which are part of the data.
    click.echo(text, nl=False, color=True)


def show_progress(text: str) -> None:
    """Replace the line that the last call wrote on standard error."""
    click.echo(f"\r{clean(text)}  ", nl=False, err=True)


def end_progress() -> None:
    """Clear the line of ``show_progress``."""
    click.echo("\r" + " " * 30 + "\r", nl=False, err=True)


class Styled(str):
    """Clean text with styles, which ``echo`` prints unchanged."""

    __slots__ = ()


def styled(text: str, **styles: Any) -> Styled:
    """Text in the styles of ``click.style``."""
    return Styled(click.style(clean(text), **styles) if styles else clean(text))


def joined(*parts: str) -> Styled:
    """One text of styled and plain parts."""
    return Styled("".join(map(_printable, parts)))


def _printable(text: str) -> str:
    return text if isinstance(text, Styled) else clean(text)


def clean(text: str) -> str:
    """One line with symbols for control characters, such as ``␛``."""
    return "".join(map(_clean, text))


def _clean(character: str) -> str:
    if character < " ":
        return chr(0x2400 + ord(character))
    if character == _JOINER or unicodedata.category(character) not in _UNPRINTABLE:
        return character
    return "\N{REPLACEMENT CHARACTER}"


def paragraph(text: str) -> list[str]:
    """Clean text, wrapped at the width of the terminal."""
    columns = width()
    return [clean(text)] if columns is None else textwrap.wrap(clean(text), columns) or [""]
