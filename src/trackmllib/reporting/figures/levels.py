"""Params that a grid varies, and their levels."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from trackmllib.domain.descriptions import GridParam, SearchDescription
from trackmllib.domain.naming import GridNames

Kind = Literal["numeric", "log", "boolean", "category", "stage"]

UNSET = "not set"
# Ratio of the largest to the smallest value from which an axis is logarithmic.
LOG_SPAN = 100.0
# Leaves room for the margins of an axis within a double.
_LARGEST = 1e307
MAX_NUMBER = 7
RANGE = " – "


@dataclass(frozen=True, kw_only=True)
class Level:
    """One value of a param, or a range of values.

    ``number`` is the value, or the middle of the range; None if the value is no number.
    """

    text: str
    number: float | None = None

    @property
    def short(self) -> str:
        """Text for axes and labels: long numbers have four significant digits."""
        if self.number is None or len(self.text) <= MAX_NUMBER or RANGE in self.text:
            return self.text
        return f"{self.number:.4g}"


@dataclass(frozen=True, kw_only=True)
class Param:
    """A param with two levels or more.

    ``level_index`` maps each candidate to the index of its level. Candidates that do not set the
    param have the last level, ``unset``. Names of candidates contain ``label``.
    """

    key: str
    label: str
    kind: Kind
    levels: tuple[Level, ...]
    level_index: dict[int, int]
    unset: Level | None = None

    @property
    def is_numeric(self) -> bool:
        return self.kind in ("numeric", "log")

    def level(self, candidate: int) -> Level:
        """Level of a candidate."""
        return self.levels[self.level_index[candidate]]


def varied(description: SearchDescription, grid: GridNames) -> tuple[Param, ...]:
    """Params of a grid with two levels or more, in the order of the grid."""
    found = []
    for place, first in grid.params.items():
        values: dict[int, GridParam | None] = {}
        for candidate in description.candidates:
            own = (each for each in candidate.params if (each.owner, each.name) == place)
            values[candidate.index] = next(own, None)
        param = _param(grid.key(first), grid.label(first), values)
        if len(param.levels) > 1:
            found.append(param)
    return tuple(found)


def binned(param: Param, bins: int, *, above: int) -> Param:
    """Group the numbers of a param with more than ``above`` levels into bins.

    Each bin has an equal number of neighbouring levels.
    """
    numbers = [level for level in param.levels if level.number is not None]
    if len(param.levels) <= above or len(numbers) <= bins or not param.is_numeric:
        return param
    groups = [
        numbers[len(numbers) * i // bins : len(numbers) * (i + 1) // bins] for i in range(bins)
    ]
    bin_of = {id(level): i for i, group in enumerate(groups) for level in group}
    levels = [_merged(group) for group in groups]
    if param.unset is not None:
        levels.append(param.unset)
    return replace(
        param,
        levels=tuple(levels),
        level_index={
            index: bin_of.get(id(param.level(index)), bins) for index in param.level_index
        },
    )


def scored(param: Param, candidates: Container[int]) -> Param:
    """Restrict a param to the levels of these candidates."""
    kept = sorted({at for index, at in param.level_index.items() if index in candidates})
    moved = {old: new for new, old in enumerate(kept)}
    levels = tuple(param.levels[at] for at in kept)
    return replace(
        param,
        levels=levels,
        level_index={index: moved[at] for index, at in param.level_index.items() if at in moved},
        unset=param.unset if param.unset in levels else None,
    )


def _merged(group: Sequence[Level]) -> Level:
    if len(group) == 1:
        return group[0]
    numbers = [level.number for level in group if level.number is not None]
    return Level(
        text=f"{group[0].short}{RANGE}{group[-1].short}", number=numbers[len(numbers) // 2]
    )


def _param(key: str, label: str, values: dict[int, GridParam | None]) -> Param:
    identities: dict[int, Hashable] = {}
    first: dict[Hashable, GridParam] = {}
    for index, param in values.items():
        if param is None:
            continue
        identities[index] = _identity(param.value.data)
        first.setdefault(identities[index], param)
    kind = _kind([param.value.data for param in first.values()])
    order = list(first)
    if kind in ("numeric", "log", "boolean"):
        order.sort(key=lambda identity: float(first[identity].value.data))  # type: ignore[arg-type]
    levels = _numbered_duplicates([_level(first[identity], kind) for identity in order])
    position = {identity: at for at, identity in enumerate(order)}
    unset = Level(text=UNSET) if len(identities) < len(values) else None
    if unset is not None:
        levels.append(unset)
    return Param(
        key=key,
        label=label,
        kind=kind,
        levels=tuple(levels),
        level_index={
            index: position[identities[index]] if index in identities else len(order)
            for index in values
        },
        unset=unset,
    )


def _level(param: GridParam, kind: Kind) -> Level:
    data = param.value.data
    is_number = kind in ("numeric", "log") and isinstance(data, (int, float))
    return Level(text=param.value.text, number=float(data) if is_number else None)  # type: ignore[arg-type]


def _numbered_duplicates(levels: list[Level]) -> list[Level]:
    """Number equal texts, such as those of stages that differ in a default."""
    seen: dict[str, int] = {}
    numbered = []
    for level in levels:
        seen[level.text] = count = seen.get(level.text, 0) + 1
        text = level.text if count == 1 else f"{level.text} ({count})"
        numbered.append(replace(level, text=text))
    return numbered


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
            # An axis of doubles cannot show them.
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
