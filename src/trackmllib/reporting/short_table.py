"""Short table of the best candidates, for terminals and notebooks."""

from __future__ import annotations

from dataclasses import dataclass

from trackmllib.domain import ranking
from trackmllib.domain.standard_error import PLUS_MINUS, score_text, standard_error
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
    shown = ranking.ranked(search)[:most]
    rows = []
    for index in shown:
        found = search.candidates[index]
        score = score_text(search, found.average, found.deviation)
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
    deviations = (search.candidates[index].deviation for index in shown)
    if any(standard_error(search, each) is not None for each in deviations):
        notes.append(PLUS_MINUS)
    notes += context.comparison.notes(shown)
    heads = (*(formatting.visible(param.key, limit) for param in params), context.metric)
    return ShortTable(heads=heads, rows=tuple(rows), notes=tuple(notes))
