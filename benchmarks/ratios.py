"""Order of variants, medians, spreads, ratios and bounds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

UNTRACKED, OURS, PEER = "untracked", "ours", "peer"
LEAST_ROUNDS = 2


def in_turn(
    variants: Sequence[str],
    repeats: int,
    warm_ups: int = 1,
    is_time: Callable[[int], bool] = lambda _: True,
    least: int = LEAST_ROUNDS,
) -> Iterator[tuple[str, bool]]:
    """Yield the variants in turn, A B A B, and whether a run counts; warm-ups do not.

    ``is_time`` gets the number of finished rounds, and returns whether another one may start;
    ``least`` rounds run in any case.
    """
    for number in range(warm_ups + repeats):
        if number >= warm_ups + least and not is_time(number):
            return
        for variant in variants:
            yield variant, number >= warm_ups


class Spread(NamedTuple):
    """Median, minimum and maximum of values."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raise ValueError without values."""
        if not values:
            raise ValueError("nothing was measured")
        return cls(statistics.median(values), min(values), max(values))


def ratio(values: Sequence[float], base: Sequence[float]) -> Spread:
    """Return the ratio of the medians, and its range over pairs of consecutive values."""
    pairs = [value / beside for value, beside in zip(values, base, strict=True)]
    return Spread(statistics.median(values) / statistics.median(base), min(pairs), max(pairs))


def difference(values: Sequence[float], base: Sequence[float]) -> Spread:
    """Return the difference of the medians, and its range over pairs."""
    pairs = [value - beside for value, beside in zip(values, base, strict=True)]
    return Spread(statistics.median(values) - statistics.median(base), min(pairs), max(pairs))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that ``percent`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    ``value`` and its ``bound`` are in ``unit`` ("x" for a ratio). The bound is inclusive, unless
    ``below`` is set. ``rounds`` excludes the warm-up. ``measured`` has the values by variant, in
    ``measured_unit``. ``meaning`` is a sentence for the page. ``without`` has the reasons for
    unmeasured variants.

    Raises ValueError if untracked or the peer is in neither.
    """

    name: str
    question: str
    meaning: str
    bound: float
    value: Spread
    rounds: int
    unit: str = "x"
    below: bool = False
    measured: Mapping[str, Spread] = field(default_factory=dict)
    measured_unit: str = "s"
    peer: Spread | None = None
    without: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        has = {*self.measured, *self.without} | ({PEER} if self.peer is not None else set())
        if lacking := [variant for variant in (UNTRACKED, PEER) if variant not in has]:
            raise ValueError(f"{self.name}: neither measured nor said why not: {lacking}")

    @property
    def holds(self) -> bool:
        return self.value.median < self.bound if self.below else self.value.median <= self.bound


def compared(took: Mapping[str, Sequence[float]], **about: object) -> Row:
    """Return a row whose value is the ratio of ours to untracked."""
    return Row(
        value=ratio(took[OURS], took[UNTRACKED]),
        rounds=len(took[OURS]),
        measured={variant: Spread.of(values) for variant, values in took.items()},
        **about,  # type: ignore[arg-type]
    )
