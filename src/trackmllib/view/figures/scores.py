"""Every candidate with the scores of its folds, best first."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trackmllib import plural
from trackmllib.view import table
from trackmllib.view.figures.basis import Basis

MOST = 50


@dataclass(frozen=True, kw_only=True)
class Row:
    """One candidate. ``folds`` holds its finite scores; ``alike``: it cannot be told apart from the
    best one.
    """

    candidate: int
    name: str
    average: float
    folds: tuple[float, ...]
    best: bool
    alike: bool


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The candidates that are shown, best first; ``total`` have a score, ``without`` have none.
    ``head`` has the names of the params where those of the rows are values only.
    """

    head: str | None
    rows: tuple[Row, ...]
    total: int
    without: int
    finding: str


def scores(basis: Basis, most: int = MOST) -> Scores:
    """The ``most`` best candidates. NothingToDraw where none has a score."""
    basis.need_scores()
    folds = basis.search.folds
    rows = tuple(_row(basis, index, folds) for index in basis.ranked[:most])
    total = len(basis.averages)
    return Scores(
        head=basis.short_names[0],
        rows=rows,
        total=total,
        without=len(basis.search.description.candidates) - total,
        finding=_finding(basis, total, most),
    )


def _row(basis: Basis, index: int, among: int) -> Row:
    search = basis.search
    found = search.candidates[index]
    folds = [table.score(found, fold) for fold in range(among)]
    return Row(
        candidate=index,
        name=basis.short_names[1][index],
        average=basis.averages[index],
        folds=tuple(each for each in folds if each is not None and math.isfinite(each)),
        best=index == basis.best,
        alike=index in basis.comparison.indistinct,
    )


def _finding(basis: Basis, total: int, most: int) -> str:
    averages = list(basis.averages.values())
    low, high = min(averages), max(averages)
    if total == 1:
        text = f"One setting has a score: {basis.number(averages[0])}."
    elif low == high:
        text = f"All {total:,} settings have the same average, {basis.number(low)}."
    else:
        worst, best = (low, high) if basis.larger_is_better else (high, low)
        text = (
            f"Averages of {total:,} settings reach from {basis.number(best)} (best) "
            f"to {basis.number(worst)}"
        )
        clause = basis.comparison.clause
        text += "." if clause is None else f"; {clause}."
    if total > most:
        text += f" The best {most} are shown."
    without = len(basis.search.description.candidates) - total
    if without:
        text += f" {plural.count(without, 'setting has', 'settings have')} no score."
    return text
