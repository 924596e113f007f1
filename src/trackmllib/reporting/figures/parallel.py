"""Parallel coordinates: a line over params and score per candidate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trackmllib.reporting.figures.context import MAX_KEY, MAX_VALUE, NothingToDraw, SearchContext
from trackmllib.reporting.figures.levels import Param
from trackmllib.reporting.figures.params import axis_positions, by_importance
from trackmllib.support import formatting

MOST = 8
LEAST = 3
MAX_TICKS = 8
# More highlighted lines would hide all others.
MAX_ALIKE = 20


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One param, with ticks from 0 (bottom) to 1 (top)."""

    key: str
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, kw_only=True)
class CandidateLine:
    """One candidate, with its place on each axis from 0 to 1, score last.

    ``alike``: highlighted, because it is not significantly different from the best.
    """

    candidate: int
    places: tuple[float, ...]
    best: bool
    alike: bool


@dataclass(frozen=True, kw_only=True)
class Parallel:
    """Lines in drawing order, the best one last.

    Scores range from ``low`` to ``high``. ``indistinct`` counts the candidates that are not
    significantly different from the best, of which at most ``MAX_ALIKE`` are highlighted.
    """

    axes: tuple[Axis, ...]
    lines: tuple[CandidateLine, ...]
    low: float
    high: float
    indistinct: int
    finding: str


def parallel(context: SearchContext) -> Parallel:
    """Data of the figure ``parallel``.

    :raises NothingToDraw: Fewer than three params vary.
    """
    context.require_differences()
    if len(context.params) < LEAST:
        raise NothingToDraw("Parallel coordinates take three params that vary.")
    shown = by_importance(context)[:MOST]
    low, high = min(context.averages.values()), max(context.averages.values())
    places = [_places(param) for param in shown]
    alike = [index for index in context.ranked if index in context.comparison.indistinct]
    highlighted = set(alike[:MAX_ALIKE])

    def line(index: int) -> CandidateLine:
        on_axes = (
            each[param.level_index[index]] for param, each in zip(shown, places, strict=True)
        )
        score = (context.averages[index] - low) / (high - low) if high > low else 0.5
        return CandidateLine(
            candidate=index,
            places=(*on_axes, score),
            best=index == context.best,
            alike=index in highlighted,
        )

    return Parallel(
        axes=tuple(_axis(param, each) for param, each in zip(shown, places, strict=True)),
        lines=tuple(line(index) for index in reversed(context.ranked)),
        low=low,
        high=high,
        indistinct=len(alike),
        finding=_finding(context, shown),
    )


def _places(param: Param) -> list[float]:
    """Place of each level on the axis, from 0 to 1."""
    where = list(axis_positions(param))
    if param.kind == "log":
        where = [math.log(each) for each in where]
    low, high = min(where), max(where)
    return [(each - low) / (high - low) for each in where]


def _axis(param: Param, places: list[float]) -> Axis:
    """Axis with as many ticks as fit."""
    step = max(1, math.ceil((len(places) - 1) / (MAX_TICKS - 1)))
    ticks = [*range(0, len(places) - 1, step), len(places) - 1]
    if len(ticks) > 2 and ticks[-1] - ticks[-2] < step:
        del ticks[-2]
    readable: list[int] = []
    for at in ticks:
        if not readable or places[at] - places[readable[-1]] >= 0.07:
            readable.append(at)
    return Axis(
        key=formatting.visible(param.key, 16),
        ticks=tuple((places[i], formatting.visible(param.levels[i].short, 12)) for i in readable),
    )


def _finding(context: SearchContext, shown: list[Param]) -> str:
    """Values that the best tenth of the candidates share."""
    best = context.ranked[: max(2, len(context.ranked) // 10)]
    common = []
    for param in shown:
        levels = {param.level_index[index] for index in best}
        if len(levels) == 1:
            value = formatting.visible(param.levels[levels.pop()].short, MAX_VALUE)
            common.append(f"{formatting.visible(param.key, MAX_KEY)}={value}")
    if not common:
        return f"The best {len(best)} candidates share no value."
    text = f"The best {len(best)} candidates share {', '.join(common[:4])}."
    left_out = len(context.params) - len(shown)
    hidden = formatting.count(left_out, "param is", "params are")
    return text + (f" {hidden} not shown." if left_out else "")
