"""Text of a search: the answer, and a table of the best candidates."""

from __future__ import annotations

import shutil
import textwrap

from trackmllib.reporting.figures.context import SearchContext
from trackmllib.reporting.short_table import short_table
from trackmllib.support import formatting

MOST = 5
MAX_PARAMS = 6


def text(context: SearchContext) -> str:
    """The answer and the table, at most as wide as the terminal."""
    width = max(60, min(shutil.get_terminal_size().columns, 120))
    lines = textwrap.wrap(context.answer.sentence, width) or [""]
    if context.further_metrics:
        lines += textwrap.wrap(context.further_metrics, width)
    table = short_table(context, MOST, limit=20, max_params=MAX_PARAMS)
    if table.rows:
        body = [(row.rank, *row.params, f"{row.score} {row.mark}".rstrip()) for row in table.rows]
        columns = formatting.table([("", *table.heads), *body])
        lines += ["", *(line[:width].rstrip() for line in columns)]
        for note in table.notes:
            lines += textwrap.wrap(note, width)
    return "\n".join(lines)
