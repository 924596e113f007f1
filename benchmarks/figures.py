"""What measured times say: the order of the variants, medians, spreads, ratios and bounds."""

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
    """The variants in turn, A B A B, and whether a run counts: the warm-up does not.

    ``is_time`` is asked, with the number of rounds that were run, whether there is time for one
    more; ``least`` are run in any case.
    """
    for number in range(warm_ups + repeats):
        if number >= warm_ups + least and not is_time(number):
            return
        for variant in variants:
            yield variant, number >= warm_ups


class Spread(NamedTuple):
    """The median of some values, the smallest and the largest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """ValueError for no values."""
        if not values:
            raise ValueError("nothing was measured")
        return cls(statistics.median(values), min(values), max(values))


def ratio(values: Sequence[float], base: Sequence[float]) -> Spread:
    """The ratio of the medians, and the smallest and largest ratio of a pair: the values that were
    measured one after the other.
    """
    pairs = [value / beside for value, beside in zip(values, base, strict=True)]
    return Spread(statistics.median(values) / statistics.median(base), min(pairs), max(pairs))


def difference(values: Sequence[float], base: Sequence[float]) -> Spread:
    """As ``ratio``, of what one is more than the other."""
    pairs = [value - beside for value, beside in zip(values, base, strict=True)]
    return Spread(statistics.median(values) - statistics.median(base), min(pairs), max(pairs))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    ``value`` is what is held against the ``bound``, both in ``unit`` ("x" for a ratio); where
    ``below`` is set, it must lie below it. ``rounds`` is how often it was measured, the warm-up not
    counted. ``measured`` has what it is made of, in
    ``measured_unit``: by variant, as far as the question has them. ``meaning`` is a sentence for
    the page. ``without`` says of a variant that was not measured why there is none.

    ValueError for untracked or the peer with neither.
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
    """A row whose value is the ratio of ours to untracked."""
    return Row(
        value=ratio(took[OURS], took[UNTRACKED]),
        rounds=len(took[OURS]),
        measured={variant: Spread.of(values) for variant, values in took.items()},
        **about,  # type: ignore[arg-type]
    )
