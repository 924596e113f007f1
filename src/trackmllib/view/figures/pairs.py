"""Heatmaps: the mean score over two params at a time, for the pairs that tell most."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from trackmllib.view import words
from trackmllib.view.figures.basis import MAX_KEY, Basis, NothingToDraw
from trackmllib.view.figures.importance import importance, label
from trackmllib.view.figures.levels import Param, binned
from trackmllib.view.figures.params import by_importance

MOST = 6
MOST_LEVELS = 10
# Into so many fields go the values of a param that has more levels than that.
GROUPS = 5


@dataclass(frozen=True, kw_only=True)
class Heatmap:
    """``means[row][column]`` is the mean over all candidates with these two levels, None where none
    of them has a score. ``best``: row and column of the best candidate.
    """

    x: str
    y: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    means: tuple[tuple[float | None, ...], ...]
    best: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class Heatmaps:
    """The maps that tell most, first the one that tells most; all on the scale ``low`` to ``high``.

    ``left_out`` pairs are not shown.
    """

    maps: tuple[Heatmap, ...]
    low: float
    high: float
    left_out: int
    finding: str


def heatmaps(basis: Basis, most: int = MOST) -> Heatmaps:
    """NothingToDraw where no two params vary together."""
    basis.need_differences()
    if len(basis.params) < 2:
        raise NothingToDraw("A heatmap takes two params that vary.")
    pairs = _by_what_they_tell(basis)
    made = [found for pair in pairs if (found := _heatmap(basis, *pair)) is not None]
    if not made:
        raise NothingToDraw("No two params vary together, so there is no heatmap.")
    shown = tuple(made[:most])
    means = [mean for each in shown for row in each.means for mean in row if mean is not None]
    return Heatmaps(
        maps=shown,
        low=min(means),
        high=max(means),
        left_out=len(made) - len(shown),
        finding=_finding(basis, shown[0], len(made)),
    )


def _by_what_they_tell(basis: Basis) -> list[tuple[Param, Param]]:
    """By the share of the variance that both stand for, alone and together."""
    order = by_importance(basis)
    pairs = list(itertools.combinations(order, 2))
    try:
        shares = {each.params: each.share for each in importance(basis).shares}
    except NothingToDraw:
        return pairs

    def told(pair: tuple[Param, Param]) -> float:
        one, other = pair[0].key, pair[1].key
        together = shares.get((one, other), shares.get((other, one), 0.0))
        return shares.get((one,), 0.0) + shares.get((other,), 0.0) + together

    return sorted(pairs, key=told, reverse=True)


def _heatmap(basis: Basis, one: Param, other: Param) -> Heatmap | None:
    """None where hardly two candidates share a level, so that most fields would be empty."""
    one, other = _grouped(one), _grouped(other)
    across, up = (one, other) if len(one.levels) >= len(other.levels) else (other, one)
    if len(across.levels) > 4 * MOST_LEVELS:
        return None
    scores: dict[tuple[int, int], list[float]] = {}
    for index, average in basis.averages.items():
        scores.setdefault((up.of[index], across.of[index]), []).append(average)
    if 2 * len(scores) < len(up.levels) * len(across.levels):
        return None
    means = {where: math.fsum(each) / len(each) for where, each in scores.items()}
    return Heatmap(
        x=words.visible(across.key, MAX_KEY),
        y=words.visible(up.key, MAX_KEY),
        columns=tuple(words.visible(level.short, 18) for level in across.levels),
        rows=tuple(words.visible(level.short, 18) for level in up.levels),
        means=tuple(
            tuple(means.get((row, column)) for column in range(len(across.levels)))
            for row in range(len(up.levels))
        ),
        best=(up.of[basis.best], across.of[basis.best]) if basis.best in basis.averages else None,
    )


def _grouped(param: Param) -> Param:
    return binned(param, GROUPS) if len(param.levels) > MOST_LEVELS else param


def _finding(basis: Basis, first: Heatmap, made: int) -> str:
    fields = [
        (mean, row, column)
        for row, means in enumerate(first.means)
        for column, mean in enumerate(means)
        if mean is not None
    ]
    mean, row, column = (max if basis.larger_is_better else min)(fields, key=lambda each: each[0])
    text = (
        f"{label((first.x, first.y))}: the mean is best, {basis.number(mean)}, at "
        f"{first.x}={first.columns[column]}, {first.y}={first.rows[row]}."
    )
    return text + (f" The {MOST} pairs of {made} that tell most are shown." if made > MOST else "")
