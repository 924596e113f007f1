"""Mean score over pairs of params."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from trackmllib.reporting.figures.context import MAX_KEY, NothingToDraw, SearchContext
from trackmllib.reporting.figures.importance import importance, label
from trackmllib.reporting.figures.levels import Param, binned
from trackmllib.reporting.figures.params import by_importance
from trackmllib.support import formatting

MOST = 6
# Params with more levels are grouped into bins.
MAX_LEVELS = 10
BINS = 5


@dataclass(frozen=True, kw_only=True)
class Heatmap:
    """One pair of params.

    ``means[row][column]`` is the mean over all candidates with these levels, or None. ``best`` is
    the row and column of the best candidate.
    """

    x: str
    y: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    means: tuple[tuple[float | None, ...], ...]
    best: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class Heatmaps:
    """Heatmaps on one scale, most telling first."""

    maps: tuple[Heatmap, ...]
    low: float
    high: float
    left_out: int
    finding: str


def heatmaps(context: SearchContext) -> Heatmaps:
    """Data of the figure ``heatmaps``.

    :raises NothingToDraw: No two params vary together.
    """
    context.require_differences()
    if len(context.params) < 2:
        raise NothingToDraw("A heatmap takes two params that vary.")
    found = [_heatmap(context, *pair) for pair in _most_telling(context)]
    maps = [each for each in found if each is not None]
    if not maps:
        raise NothingToDraw("No two params vary together, so there is no heatmap.")
    shown = tuple(maps[:MOST])
    means = [mean for each in shown for row in each.means for mean in row if mean is not None]
    return Heatmaps(
        maps=shown,
        low=min(means),
        high=max(means),
        left_out=len(maps) - len(shown),
        finding=_finding(context, shown[0], len(maps)),
    )


def _most_telling(context: SearchContext) -> list[tuple[Param, Param]]:
    """Pairs by their share of the variance, including those of their params."""
    pairs = list(itertools.combinations(by_importance(context), 2))
    try:
        shares = {each.params: each.share for each in importance(context).shares}
    except NothingToDraw:
        return pairs

    def share(pair: tuple[Param, Param]) -> float:
        one, other = pair[0].key, pair[1].key
        together = shares.get((one, other), shares.get((other, one), 0.0))
        return shares.get((one,), 0.0) + shares.get((other,), 0.0) + together

    return sorted(pairs, key=share, reverse=True)


def _heatmap(context: SearchContext, one: Param, other: Param) -> Heatmap | None:
    """Heatmap of two params; None if it would be too wide, or mostly empty."""
    one, other = (binned(param, BINS, above=MAX_LEVELS) for param in (one, other))
    across, up = (one, other) if len(one.levels) >= len(other.levels) else (other, one)
    if len(across.levels) > 4 * MAX_LEVELS:
        return None
    scores: dict[tuple[int, int], list[float]] = {}
    for index, average in context.averages.items():
        scores.setdefault((up.level_index[index], across.level_index[index]), []).append(average)
    if 2 * len(scores) < len(up.levels) * len(across.levels):
        return None
    means = {place: math.fsum(each) / len(each) for place, each in scores.items()}
    best = None
    if context.best is not None and context.best in context.averages:
        best = (up.level_index[context.best], across.level_index[context.best])
    return Heatmap(
        x=formatting.visible(across.key, MAX_KEY),
        y=formatting.visible(up.key, MAX_KEY),
        columns=tuple(formatting.visible(level.short, 18) for level in across.levels),
        rows=tuple(formatting.visible(level.short, 18) for level in up.levels),
        means=tuple(
            tuple(means.get((row, column)) for column in range(len(across.levels)))
            for row in range(len(up.levels))
        ),
        best=best,
    )


def _finding(context: SearchContext, first: Heatmap, pairs: int) -> str:
    fields = [
        (mean, row, column)
        for row, means in enumerate(first.means)
        for column, mean in enumerate(means)
        if mean is not None
    ]
    pick = max if context.larger_is_better else min
    mean, row, column = pick(fields, key=lambda each: each[0])
    text = (
        f"{label((first.x, first.y))}: the best mean, {context.number(mean)}, is at "
        f"{first.x}={first.columns[column]}, {first.y}={first.rows[row]}."
    )
    return text + (f" The {MOST} most telling of {pairs} pairs are shown." if pairs > MOST else "")
