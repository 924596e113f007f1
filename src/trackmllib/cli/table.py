"""A table in plain text, as wide as the terminal: what matters least is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trackmllib.cli import terminal

WIDEST = 40
# As narrow as a column gets before others are left out for it, and after that.
ROOMY = 16
NARROWEST = 4
GAP = 2


@dataclass(kw_only=True)
class Column:
    """A column with its cells. ``left_out``: 0 never, else the higher the sooner. ``gives_way``:
    its cells may be cut.
    """

    title: str
    cells: list[str]
    left_out: int = 0
    gives_way: bool = False
    right: bool = False

    @property
    def wanted(self) -> int:
        """The cells that it takes if there is room."""
        widest = max(map(terminal.cells, (self.title, *self.cells)))
        return min(widest, WIDEST) if self.gives_way else widest


def lines(
    columns: Sequence[Column], room: int | None, styles: Sequence[Sequence[str]] = ()
) -> tuple[list[str], list[str]]:
    """The lines of a table, the titles first, and the titles of what was left out for want of room.

    ``room`` is None where a line may have any length. ``styles`` has those of each row.
    """
    shown = [
        Column(
            title=terminal.clean(column.title),
            cells=[terminal.clean(cell) for cell in column.cells],
            left_out=column.left_out,
            gives_way=column.gives_way,
            right=column.right,
        )
        for column in columns
    ]
    widths = {id(column): column.wanted for column in shown}
    left_out = []
    if room is not None:
        _narrow(shown, widths, room, ROOMY)
        too_long = _length(shown, widths) - room
        numbered = [(column.left_out, place) for place, column in enumerate(shown)]
        soonest = [place for rank, place in sorted(numbered, reverse=True) if rank]
        gone = set()
        for place in soonest:
            if too_long <= 0:
                break
            too_long -= widths[id(shown[place])] + GAP
            left_out.append(shown[place].title)
            gone.add(place)
        shown = [column for place, column in enumerate(shown) if place not in gone]
        _narrow(shown, widths, room, NARROWEST)
    titles = [terminal.fit(c.title, widths[id(c)], right=c.right) for c in shown]
    made = [terminal.styled(_line(titles), "bold")]
    for number in range(len(shown[0].cells)):
        row = [terminal.fit(c.cells[number], widths[id(c)], right=c.right) for c in shown]
        made.append(terminal.styled(_line(row), *(styles[number] if styles else ())))
    return made, left_out


def _narrow(columns: list[Column], widths: dict[int, int], room: int, narrowest: int) -> None:
    """Take cells from the widest of those that give way, until all fits or none has any left."""
    while _length(columns, widths) > room:
        wide = [c for c in columns if c.gives_way and widths[id(c)] > narrowest]
        if not wide:
            return
        widest = max(wide, key=lambda column: widths[id(column)])
        widths[id(widest)] -= 1


def _length(columns: list[Column], widths: dict[int, int]) -> int:
    return sum(widths[id(column)] for column in columns) + GAP * (len(columns) - 1)


def _line(parts: list[str]) -> str:
    return (" " * GAP).join(parts).rstrip()
