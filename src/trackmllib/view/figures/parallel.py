"""Parallel coordinates: each candidate as a line over all its params to its score."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trackmllib import plural
from trackmllib.view import words
from trackmllib.view.figures.basis import MAX_KEY, Basis, NothingToDraw
from trackmllib.view.figures.levels import Param
from trackmllib.view.figures.params import by_importance, positions

MOST = 8
LEAST = 3
MOST_TICKS = 8
# More lines of their colour would hide all else.
MOST_ALIKE = 20


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One param, its ticks from 0 (bottom) to 1 (top)."""

    key: str
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One candidate: its place on each axis and, last, on that of the score, from 0 to 1.

    ``alike``: one of the best that cannot be told apart from the best one.
    """

    candidate: int
    places: tuple[float, ...]
    best: bool
    alike: bool


@dataclass(frozen=True, kw_only=True)
class Parallel:
    """Lines in the order to draw them in, the best last. The score goes ``low`` to ``high``.

    ``indistinct`` is the number of all candidates that cannot be told apart from the best one;
    only some of them may be drawn.
    """

    axes: tuple[Axis, ...]
    lines: tuple[Line, ...]
    low: float
    high: float
    indistinct: int
    finding: str


def parallel(basis: Basis, most: int = MOST) -> Parallel:
    """NothingToDraw where less than three params vary."""
    basis.need_differences()
    if len(basis.params) < LEAST:
        raise NothingToDraw("Parallel coordinates take three params that vary.")
    shown = by_importance(basis)[:most]
    low, high = min(basis.averages.values()), max(basis.averages.values())
    places = [_places(param) for param in shown]
    alike = [index for index in basis.ranked if index in basis.comparison.indistinct]
    marked = set(alike[:MOST_ALIKE])
    lines = tuple(
        Line(
            candidate=index,
            places=(
                *(each[param.of[index]] for param, each in zip(shown, places, strict=True)),
                (basis.averages[index] - low) / (high - low) if high > low else 0.5,
            ),
            best=index == basis.best,
            alike=index in marked,
        )
        for index in reversed(basis.ranked)
    )
    return Parallel(
        axes=tuple(_axis(param, each) for param, each in zip(shown, places, strict=True)),
        lines=lines,
        low=low,
        high=high,
        indistinct=len(alike),
        finding=_finding(basis, shown),
    )


def _places(param: Param) -> list[float]:
    where = list(positions(param))
    if param.kind == "log":
        where = [math.log(each) for each in where]
    low, high = min(where), max(where)
    return [(each - low) / (high - low) for each in where]


def _axis(param: Param, places: list[float]) -> Axis:
    """Its ticks, of many levels only as many as can be read."""
    step = max(1, math.ceil((len(places) - 1) / (MOST_TICKS - 1)))
    shown = [*range(0, len(places) - 1, step), len(places) - 1]
    if len(shown) > 2 and shown[-1] - shown[-2] < step:
        del shown[-2]
    kept: list[int] = []
    for position in shown:
        if not kept or places[position] - places[kept[-1]] >= 0.07:
            kept.append(position)
    return Axis(
        key=words.visible(param.key, 16),
        ticks=tuple((places[i], words.visible(param.levels[i].short, 12)) for i in kept),
    )


def _finding(basis: Basis, shown: list[Param]) -> str:
    """What the best tenth have in common."""
    best = basis.ranked[: max(2, len(basis.ranked) // 10)]
    common = []
    for param in shown:
        levels = {param.of[index] for index in best}
        if len(levels) == 1:
            text = words.visible(param.levels[levels.pop()].short, 24)
            common.append(f"{words.visible(param.key, MAX_KEY)}={text}")
    if not common:
        return f"The best {len(best)} settings have no value in common."
    text = f"The best {len(best)} settings have in common: {', '.join(common[:4])}."
    left_out = len(basis.params) - len(shown)
    return text + (
        f" {plural.count(left_out, 'param is', 'params are')} not shown." if left_out else ""
    )
