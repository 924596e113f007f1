"""The score over each hyperparameter."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trackmllib import plural
from trackmllib.view import words
from trackmllib.view.figures.basis import MAX_KEY, Basis, NothingToDraw
from trackmllib.view.figures.importance import importance
from trackmllib.view.figures.levels import Kind, Level, Param, binned

MOST = 12
# Of more levels than this, means are taken over so many groups of neighbours.
MOST_LEVELS = 10
GROUPS = 6


@dataclass(frozen=True, kw_only=True)
class Point:
    """One candidate at a level. ``x`` is its place on the axis: the number of a numeric level, the
    position of any other.
    """

    candidate: int
    level: int
    x: float
    score: float
    best: bool


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One param: the points of all candidates, and the mean score at each level (None where no
    candidate there has a score). ``trend`` are the means of the numbers as points of a line, of
    many numbers those of groups of neighbours.
    """

    key: str
    kind: Kind
    levels: tuple[Level, ...]
    positions: tuple[float, ...]
    means: tuple[float | None, ...]
    trend: tuple[tuple[float, float], ...]
    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class Params:
    """One panel for each param that varies; ``left_out`` more of them are not shown."""

    panels: tuple[Panel, ...]
    left_out: int
    finding: str


def params(basis: Basis, most: int = MOST) -> Params:
    """The params that tell most about the score first. NothingToDraw where none varies."""
    basis.need_differences()
    if not basis.params:
        raise NothingToDraw("No param varies.")
    shown = by_importance(basis)[:most]
    panels = tuple(_panel(basis, param) for param in shown)
    left_out = len(basis.params) - len(shown)
    finding = _finding(basis, shown[0], only=len(basis.params) == 1)
    if left_out:
        hidden = plural.count(left_out, "param that matters less is", "params that matter less are")
        finding += f" {hidden} not shown."
    return Params(panels=panels, left_out=left_out, finding=finding)


def by_importance(basis: Basis) -> list[Param]:
    """The params that vary, the one that drives the score most first; else by the range of the
    means of their levels.
    """
    try:
        shares = {
            each.params[0]: each.share for each in importance(basis).shares if len(each.params) == 1
        }
    except NothingToDraw:
        shares = {param.key: _range(basis, param) for param in basis.params}
    return sorted(basis.params, key=lambda param: -shares.get(param.key, 0.0))


def positions(param: Param) -> tuple[float, ...]:
    """Where its levels lie on an axis; ``not set`` lies beyond the largest number."""
    if param.kind not in ("numeric", "log"):
        return tuple(float(position) for position in range(len(param.levels)))
    numbers = [level.number for level in param.levels if level.number is not None]
    if param.unset is None:
        return tuple(numbers)
    low, high = min(numbers), max(numbers)
    if param.kind == "log":
        return (*numbers, high * (high / low) ** 0.2)
    return (*numbers, high + ((high - low) * 0.2 or max(1.0, abs(high) * 0.2)))


def _panel(basis: Basis, param: Param) -> Panel:
    where = positions(param)
    points = tuple(
        Point(
            candidate=index,
            level=param.of[index],
            x=where[param.of[index]],
            score=average,
            best=index == basis.best,
        )
        for index, average in basis.averages.items()
    )
    return Panel(
        key=words.visible(param.key, MAX_KEY),
        kind=param.kind,
        levels=param.levels,
        positions=where,
        means=_means(basis, param),
        trend=_trend(basis, _grouped(param)),
        points=points,
    )


def _means(basis: Basis, param: Param) -> tuple[float | None, ...]:
    scores: list[list[float]] = [[] for _ in param.levels]
    for index, average in basis.averages.items():
        scores[param.of[index]].append(average)
    return tuple(math.fsum(each) / len(each) if each else None for each in scores)


def _grouped(param: Param) -> Param:
    return binned(param, GROUPS) if len(param.levels) > MOST_LEVELS else param


def _trend(basis: Basis, param: Param) -> tuple[tuple[float, float], ...]:
    means = zip(param.levels, _means(basis, param), strict=True)
    return tuple(
        (level.number, mean)
        for level, mean in means
        if level.number is not None and mean is not None
    )


def _range(basis: Basis, param: Param) -> float:
    means = [mean for mean in _means(basis, param) if mean is not None]
    return max(means) - min(means)


def _finding(basis: Basis, param: Param, only: bool) -> str:
    param = _grouped(param)
    key = words.visible(param.key, MAX_KEY)
    means = _means(basis, param)
    known = [
        (mean, level) for mean, level in zip(means, param.levels, strict=True) if mean is not None
    ]
    sign = 1 if basis.larger_is_better else -1
    mean, level = max(known, key=lambda each: sign * each[0])
    worst, at = min(known, key=lambda each: sign * each[0])
    if basis.number(mean) == basis.number(worst):
        return f"The mean score is the same at every {key}, {basis.number(mean)}."
    matters = "" if only else " matters most"
    return (
        f"{key}{matters}: at {words.visible(level.short, 30)} the mean is "
        f"{basis.number(mean)}, at {words.visible(at.short, 30)} it is {basis.number(worst)}."
    )
