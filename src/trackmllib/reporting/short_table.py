"""Short table of the best candidates, for terminals and notebooks."""

from __future__ import annotations

from dataclasses import dataclass

from trackmllib.domain import ranking
from trackmllib.domain.significance import LEGEND
from trackmllib.reporting.figures.context import SearchContext
from trackmllib.reporting.table import status_text
from trackmllib.support import formatting


@dataclass(frozen=True, kw_only=True)
class ShortTableRow:
    """One candidate; without an average, ``score`` is its status."""

    candidate: int
    rank: str
    mark: str
    params: tuple[str, ...]
    score: str


@dataclass(frozen=True, kw_only=True)
class ShortTable:
    """The table, with notes to put below it."""

    heads: tuple[str, ...]
    rows: tuple[ShortTableRow, ...]
    notes: tuple[str, ...]


def short_table(
    context: SearchContext, most: int, *, limit: int, max_params: int | None = None
) -> ShortTable:
    """The ``most`` best candidates, with texts of ``limit`` characters."""
    search = context.search
    params = context.params[:max_params]
    labels = ranking.rank_labels(search)
    rows = []
    for index in ranking.ranked(search)[:most]:
        found = search.candidates[index]
        score = formatting.score(found.average, found.deviation)
        rows.append(
            ShortTableRow(
                candidate=index,
                rank=labels.get(index, ""),
                mark=context.comparison.mark(index),
                params=tuple(formatting.visible(p.level(index).text, limit) for p in params),
                score=status_text(found.status) if found.average is None else score,
            )
        )
    more = len(search.description.candidates) - len(rows)
    notes = [f"and {formatting.count(more, 'more candidate')}"] if more else []
    if any(row.mark for row in rows):
        notes.append(LEGEND)
    heads = (*(formatting.visible(param.key, limit) for param in params), context.metric)
    return ShortTable(heads=heads, rows=tuple(rows), notes=tuple(notes))
