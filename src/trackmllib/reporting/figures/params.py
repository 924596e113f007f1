"""Score over each param."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trackmllib.reporting.figures.context import MAX_KEY, NothingToDraw, SearchContext
from trackmllib.reporting.figures.importance import importance
from trackmllib.reporting.figures.levels import Kind, Level, Param, binned
from trackmllib.support import formatting

MOST = 12
# The trend of a param with more levels is computed over bins.
MAX_LEVELS = 10
BINS = 6


@dataclass(frozen=True, kw_only=True)
class ParamPoint:
    """One candidate; ``x`` is the position of its level."""

    candidate: int
    x: float
    score: float
    best: bool


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One param, with all candidates.

    ``means`` has the mean score at each level, or None; ``positions`` the place of each level on
    the axis. ``trend`` has the means of numeric levels, or of bins, as points of a line.
    """

    key: str
    kind: Kind
    levels: tuple[Level, ...]
    positions: tuple[float, ...]
    means: tuple[float | None, ...]
    trend: tuple[tuple[float, float], ...]
    points: tuple[ParamPoint, ...]


@dataclass(frozen=True, kw_only=True)
class Params:
    """A panel for each param, most important first."""

    panels: tuple[Panel, ...]
    finding: str


def params(context: SearchContext) -> Params:
    """Data of the figure ``params``.

    :raises NothingToDraw: No param varies.
    """
    context.require_differences()
    if not context.params:
        raise NothingToDraw("No param varies.")
    shown = by_importance(context)[:MOST]
    left_out = len(context.params) - len(shown)
    finding = _finding(context, shown[0])
    if left_out:
        hidden = formatting.count(left_out, "less important param is", "less important params are")
        finding += f" {hidden} not shown."
    return Params(panels=tuple(_panel(context, param) for param in shown), finding=finding)


def by_importance(context: SearchContext) -> list[Param]:
    """Params by share of the variance, or else by range of their means."""
    try:
        shares = {
            each.params[0]: each.share
            for each in importance(context).shares
            if len(each.params) == 1
        }
    except NothingToDraw:
        shares = {param.key: _range(context, param) for param in context.params}
    return sorted(context.params, key=lambda param: -shares.get(param.key, 0.0))


def axis_positions(param: Param) -> tuple[float, ...]:
    """Places of the levels on an axis; ``not set`` is the last one."""
    if not param.is_numeric:
        return tuple(float(at) for at in range(len(param.levels)))
    numbers = [level.number for level in param.levels if level.number is not None]
    if param.unset is None:
        return tuple(numbers)
    low, high = min(numbers), max(numbers)
    if param.kind == "log":
        return (*numbers, high * (high / low) ** 0.2)
    return (*numbers, high + ((high - low) * 0.2 or max(1.0, abs(high) * 0.2)))


def _panel(context: SearchContext, param: Param) -> Panel:
    positions = axis_positions(param)
    points = tuple(
        ParamPoint(
            candidate=index,
            x=positions[param.level_index[index]],
            score=average,
            best=index == context.best,
        )
        for index, average in context.averages.items()
    )
    grouped = binned(param, BINS, above=MAX_LEVELS)
    return Panel(
        key=formatting.visible(param.key, MAX_KEY),
        kind=param.kind,
        levels=param.levels,
        positions=positions,
        means=_means(context, param),
        trend=tuple(
            (level.number, mean)
            for level, mean in zip(grouped.levels, _means(context, grouped), strict=True)
            if level.number is not None and mean is not None
        ),
        points=points,
    )


def _means(context: SearchContext, param: Param) -> tuple[float | None, ...]:
    scores: list[list[float]] = [[] for _ in param.levels]
    for index, average in context.averages.items():
        scores[param.level_index[index]].append(average)
    return tuple(math.fsum(each) / len(each) if each else None for each in scores)


def _range(context: SearchContext, param: Param) -> float:
    means = [mean for mean in _means(context, param) if mean is not None]
    return max(means) - min(means)


def _finding(context: SearchContext, param: Param) -> str:
    grouped = binned(param, BINS, above=MAX_LEVELS)
    key = formatting.visible(param.key, MAX_KEY)
    means = zip(_means(context, grouped), grouped.levels, strict=True)
    known = [(mean, level) for mean, level in means if mean is not None]
    pick_best, pick_worst = (max, min) if context.larger_is_better else (min, max)
    best, best_level = pick_best(known, key=lambda each: each[0])
    worst, worst_level = pick_worst(known, key=lambda each: each[0])
    if context.number(best) == context.number(worst):
        return f"The mean score is the same at every {key}, {context.number(best)}."
    matters = " matters most" if len(context.params) > 1 else ""
    return (
        f"{key}{matters}: at {formatting.visible(best_level.short, 30)} the mean is "
        f"{context.number(best)}, at {formatting.visible(worst_level.short, 30)} it is "
        f"{context.number(worst)}."
    )
