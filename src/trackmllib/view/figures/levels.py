"""The params that a grid varies, and the levels of each: numbers, booleans, categories, stages."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trackmllib.events import GridSetting, SearchDescription
from trackmllib.names import GridNames

Kind = Literal["numeric", "log", "boolean", "category", "stage"]

UNSET = "not set"
# From two powers of ten on, values are read on a logarithmic scale.
LOG_SPAN = 100.0
# The distance of two numbers, and some room beside them, is a double too.
_LARGEST = 1e307
MAX_NUMBER = 7
RANGE = " – "


@dataclass(frozen=True, kw_only=True)
class Level:
    """One value of a param: as people read it, and as a number where it is one.

    ``number`` of a level that stands for several values is their middle.
    """

    text: str
    number: float | None = None

    @property
    def short(self) -> str:
        """For axes and labels: a long number with four figures, anything else as it reads."""
        if self.number is None or len(self.text) <= MAX_NUMBER or RANGE in self.text:
            return self.text
        return f"{self.number:.4g}"


@dataclass(frozen=True, kw_only=True)
class Param:
    """A param that takes two levels or more. ``of`` gives the level of each candidate by position;
    those that do not set the param are at the last level, ``unset``.
    """

    key: str
    kind: Kind
    levels: tuple[Level, ...]
    of: dict[int, int]

    unset: Level | None = None

    def number(self, candidate: int) -> float | None:
        """The candidate's value as a number, None where it is none."""
        return self.levels[self.of[candidate]].number


def varied(description: SearchDescription, grid: GridNames) -> tuple[Param, ...]:
    """The params of a grid with two levels or more, in the order of the grid."""
    made = []
    for where, setting in grid.settings.items():
        values: dict[int, GridSetting | None] = {}
        for candidate in description.candidates:
            found = [each for each in candidate.settings if (each.owner, each.name) == where]
            values[candidate.index] = found[0] if found else None
        param = _param(grid.key(setting), values)
        if len(param.levels) > 1:
            made.append(param)
    return tuple(made)


def binned(param: Param, most: int) -> Param:
    """The param with at most so many levels where it is numeric: neighbours are put together, an
    equal number of levels in each bin.
    """
    numeric = [level for level in param.levels if level.number is not None]
    if len(numeric) <= most or param.kind not in ("numeric", "log"):
        return param
    bins = [numeric[len(numeric) * i // most : len(numeric) * (i + 1) // most] for i in range(most)]
    place = {id(level): i for i, group in enumerate(bins) for level in group}
    levels = [_merged(group) for group in bins]
    if param.unset is not None:
        levels.append(param.unset)
    return Param(
        key=param.key,
        kind=param.kind,
        levels=tuple(levels),
        of={
            index: place.get(id(param.levels[position]), most)
            for index, position in param.of.items()
        },
        unset=param.unset,
    )


def scored(param: Param, candidates: Container[int]) -> Param:
    """The param with those of its levels only that one of the candidates has."""
    kept = sorted({position for index, position in param.of.items() if index in candidates})
    place = {position: new for new, position in enumerate(kept)}
    levels = tuple(param.levels[position] for position in kept)
    return Param(
        key=param.key,
        kind=param.kind,
        levels=levels,
        of={index: place[position] for index, position in param.of.items() if position in place},
        unset=param.unset if param.unset in levels else None,
    )


def _merged(group: Sequence[Level]) -> Level:
    if len(group) == 1:
        return group[0]
    numbers = [level.number for level in group if level.number is not None]
    return Level(
        text=f"{group[0].short}{RANGE}{group[-1].short}", number=numbers[len(numbers) // 2]
    )


def _param(key: str, values: dict[int, GridSetting | None]) -> Param:
    identities: dict[int, Hashable] = {}
    first: dict[Hashable, GridSetting] = {}
    known: dict[int, Hashable] = {}
    for index, setting in values.items():
        if setting is None:
            continue
        # The same value object stands in many candidates, and may be a whole pipeline.
        identity = known.setdefault(id(setting.value), _identity(setting.value.data))
        identities[index] = identity
        first.setdefault(identity, setting)
    kind = _kind([setting.value.data for setting in first.values()])
    order = list(first)
    if kind in ("numeric", "log", "boolean"):
        order.sort(key=lambda identity: float(first[identity].value.data))  # type: ignore[arg-type]
    levels = [_level(first[identity], kind) for identity in order]
    levels = _told_apart(levels)
    place = {identity: position for position, identity in enumerate(order)}
    unset = Level(text=UNSET) if len(identities) < len(values) else None
    if unset is not None:
        levels.append(unset)
    return Param(
        key=key,
        kind=kind,
        levels=tuple(levels),
        of={
            index: place[identities[index]] if index in identities else len(order)
            for index in values
        },
        unset=unset,
    )


def _level(setting: GridSetting, kind: Kind) -> Level:
    data = setting.value.data
    is_number = kind in ("numeric", "log") and isinstance(data, (int, float))
    return Level(text=setting.value.text, number=float(data) if is_number else None)  # type: ignore[arg-type]


def _told_apart(levels: list[Level]) -> list[Level]:
    """Two values may read the same, such as two stages that differ in a default: then numbered."""
    seen: dict[str, int] = {}
    made = []
    for level in levels:
        seen[level.text] = count = seen.get(level.text, 0) + 1
        text = level.text if count == 1 else f"{level.text} ({count})"
        made.append(Level(text=text, number=level.number))
    return made


def _identity(data: Any) -> Hashable:
    if isinstance(data, bool) or not isinstance(data, (int, float)):
        return json.dumps(data, sort_keys=True, default=str)
    return float(data) if abs(data) < 2**53 else str(data)


def _kind(values: list[Any]) -> Kind:
    if values and all(isinstance(value, bool) for value in values):
        return "boolean"
    if values and all(_is_number(value) for value in values):
        numbers = [float(value) for value in values]
        if len(set(numbers)) < len(numbers) or max(map(abs, numbers)) > _LARGEST:
            # No axis of doubles tells them apart.
            return "category"
        if min(numbers) > 0 and max(numbers) >= LOG_SPAN * min(numbers) and len(numbers) > 2:
            return "log"
        return "numeric"
    return "stage" if any(_is_stage(value) for value in values) else "category"


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _is_stage(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_is_stage(each) for each in value)
    return isinstance(value, dict) and "class" in value and "uid" in value
