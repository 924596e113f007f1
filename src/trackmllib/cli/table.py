"""Plain-text table that truncates values and omits columns to fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trackmllib.cli import terminal
from trackmllib.support import formatting

MAX_WIDTH = 40
# Minimum widths of columns, before and after other columns are omitted.
ROOMY_WIDTH = 16
MIN_WIDTH = 4
GAP = 2


@dataclass(frozen=True, kw_only=True)
class TextColumn:
    """A column of a table.

    :ivar omit_order: Columns with the highest number are omitted first; 0 means never.
    :ivar shrinks: Its values may be truncated.
    """

    title: str
    values: list[str]
    omit_order: int = 0
    shrinks: bool = False
    align_right: bool = False

    @property
    def preferred_width(self) -> int:
        widest = max(map(formatting.display_width, (self.title, *self.values)))
        return min(widest, MAX_WIDTH) if self.shrinks else widest


def lines(
    columns: Sequence[TextColumn],
    room: int | None,
    styles: Sequence[Mapping[str, Any]] | None = None,
) -> tuple[list[str], list[str]]:
    """Lines of a table, titles first, and the titles of omitted columns.

    :param room: Maximum length of a line; None for no limit.
    :param styles: Styles of each row, as for ``terminal.styled``.
    """
    shown = [_clean(column) for column in columns]
    widths = [column.preferred_width for column in shown]
    omitted: list[str] = []
    if room is not None:
        _shrink(shown, widths, room, ROOMY_WIDTH)
        omitted = _omit(shown, widths, room)
        _shrink(shown, widths, room, MIN_WIDTH)
    titles = _line([column.title for column in shown], shown, widths)
    made: list[str] = [terminal.styled(titles, bold=True)]
    for number in range(len(shown[0].values)):
        line = _line([column.values[number] for column in shown], shown, widths)
        made.append(terminal.styled(line, **styles[number]) if styles else line)
    return made, omitted


def omitted_note(omitted: Sequence[str]) -> str:
    """Note below a table with the titles of omitted columns."""
    return f"omitted, too wide for the terminal: {', '.join(omitted)}"


def _clean(column: TextColumn) -> TextColumn:
    title, *values = map(terminal.clean, (column.title, *column.values))
    return replace(column, title=title, values=values)


def _shrink(columns: list[TextColumn], widths: list[int], room: int, minimum: int) -> None:
    """Narrow the widest columns that shrink until the table fits."""
    while _length(widths) > room:
        wide = [n for n, each in enumerate(columns) if each.shrinks and widths[n] > minimum]
        if not wide:
            return
        widths[max(wide, key=lambda n: widths[n])] -= 1


def _omit(columns: list[TextColumn], widths: list[int], room: int) -> list[str]:
    """Remove columns until the table fits, and return their titles."""
    omitted = []
    while _length(widths) > room:
        place = max(range(len(columns)), key=lambda n: (columns[n].omit_order, n))
        if columns[place].omit_order == 0:
            break
        omitted.append(columns.pop(place).title)
        widths.pop(place)
    return omitted


def _length(widths: list[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _line(values: list[str], columns: list[TextColumn], widths: list[int]) -> str:
    fitted = [
        _fit(value, width, column.align_right)
        for value, column, width in zip(values, columns, widths, strict=True)
    ]
    return (" " * GAP).join(fitted).rstrip()


def _fit(text: str, width: int, align_right: bool) -> str:
    """Text of exactly this width, padded or truncated."""
    text = formatting.fit_width(text, width)
    padding = " " * (width - formatting.display_width(text))
    return padding + text if align_right else text + padding
