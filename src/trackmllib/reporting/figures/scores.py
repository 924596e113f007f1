"""Scores of the candidates and their folds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trackmllib.reporting.figures.context import SearchContext
from trackmllib.support import formatting

MOST = 50


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One candidate with its finite scores; ``alike``: indistinct from best."""

    candidate: int
    name: str
    average: float
    folds: tuple[float, ...]
    best: bool
    alike: bool


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Candidates to draw, best first.

    ``heading`` names the params if the names of the rows are values only.
    """

    heading: str | None
    rows: tuple[ScoreRow, ...]
    total: int
    without: int
    finding: str


def scores(context: SearchContext) -> Scores:
    """Data of the figure ``scores``.

    :raises NothingToDraw: No candidate has a score.
    """
    context.require_scores()
    heading, names = context.short_names
    total = len(context.averages)
    return Scores(
        heading=heading,
        rows=tuple(_row(context, index, names[index]) for index in context.ranked[:MOST]),
        total=total,
        without=len(context.search.description.candidates) - total,
        finding=_finding(context, total),
    )


def _row(context: SearchContext, index: int, name: str) -> ScoreRow:
    found = context.search.candidates[index]
    folds = [found.fold_score(fold) for fold in range(context.search.folds)]
    return ScoreRow(
        candidate=index,
        name=name,
        average=context.averages[index],
        folds=tuple(each for each in folds if each is not None and math.isfinite(each)),
        best=index == context.best,
        alike=index in context.comparison.indistinct,
    )


def _finding(context: SearchContext, total: int) -> str:
    averages = list(context.averages.values())
    low, high = min(averages), max(averages)
    if total == 1:
        text = f"One candidate has a score: {context.number(low)}."
    elif low == high:
        text = f"All {total:,} candidates have the same average, {context.number(low)}."
    else:
        worst, best = (low, high) if context.larger_is_better else (high, low)
        text = (
            f"The averages of {total:,} candidates range from {context.number(best)} (best) to "
            f"{context.number(worst)}."
        )
    if total > MOST:
        text += f" The best {MOST} are shown."
    without = len(context.search.description.candidates) - total
    if without:
        text += f" {formatting.count(without, 'candidate has', 'candidates have')} no score."
    return text
