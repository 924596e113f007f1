"""A search in a few lines of text: the answer, and a small table of the best."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

from trackmllib import plural
from trackmllib.view import words
from trackmllib.view.compared import LEGEND
from trackmllib.view.figures.basis import Basis
from trackmllib.view.ranks import ranks

MOST = 5
_MOST_PARAMS = 6


def summary(basis: Basis, most: int = MOST) -> str:
    """The answer, then the best settings as a table as wide as the terminal at most."""
    width = max(60, min(shutil.get_terminal_size().columns, 120))
    lines = textwrap.wrap(basis.answer.sentence, width) or [""]
    rows = basis.search.ranked()[:most]
    if not rows:
        return "\n".join(lines)
    params = basis.params[:_MOST_PARAMS]
    head = ["", *(words.visible(param.key, 20) for param in params), basis.metric]
    body = []
    marks = ranks(basis.search)
    for index in rows:
        found = basis.search.candidates[index]
        values = [words.visible(param.levels[param.of[index]].text, 20) for param in params]
        score = words.score(found.average, found.deviation)
        if found.average is None:
            score = words.state(found.status)
        score = f"{score} {basis.comparison.mark(index)}".rstrip()
        body.append([marks.get(index, ""), *values, score])
    lines += ["", *(line[:width].rstrip() for line in _columns([head, *body]))]
    more = len(basis.search.description.candidates) - len(rows)
    if more:
        lines.append(f"and {plural.count(more, 'more setting')}")
    if any(index in basis.comparison.indistinct for index in rows):
        lines.append(LEGEND)
    return "\n".join(lines)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
