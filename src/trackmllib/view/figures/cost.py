"""What each setting costs against its score, and which are both cheaper and as good."""

from __future__ import annotations

from dataclasses import dataclass

from trackmllib.view import words
from trackmllib.view.compared import PHRASE
from trackmllib.view.figures.basis import Basis, NothingToDraw


@dataclass(frozen=True, kw_only=True)
class Point:
    """One setting. ``front``: none is both cheaper and better. ``instead``: it is on the front,
    cheaper than the best one, and as good or cannot be told apart from it.
    """

    candidate: int
    name: str
    seconds: float
    score: float
    best: bool
    front: bool
    instead: bool


@dataclass(frozen=True, kw_only=True)
class Cost:
    """``unit`` says what the seconds of the points are."""

    points: tuple[Point, ...]
    unit: str
    finding: str


def cost(basis: Basis) -> Cost:
    """NothingToDraw where less than two settings have both a cost and a score."""
    basis.need_scores()
    spent, unit = _spent(basis)
    if len(spent) < 2:
        raise NothingToDraw("Fewer than two settings were both timed and scored.")
    front = _front(basis, spent)
    points = tuple(
        Point(
            candidate=index,
            name=basis.name(index, 100),
            seconds=seconds,
            score=basis.averages[index],
            best=index == basis.best,
            front=index in front,
            instead=index in front and _instead(basis, spent, index),
        )
        for index, seconds in sorted(spent.items(), key=lambda each: each[1])
    )
    return Cost(points=points, unit=unit, finding=_finding(points))


def _spent(basis: Basis) -> tuple[dict[int, float], str]:
    """Spark's own count of what its executors ran, if it is known of all; else the seconds that
    fits and evaluations took.
    """
    found = {index: basis.search.candidates[index] for index in basis.averages}
    run = {
        index: each.cost.executor_run_time / 1000
        for index, each in found.items()
        if each.cost is not None and not each.taken_up
    }
    if run and len(run) == len(found) and any(run.values()):
        return run, "seconds of executors, all folds"
    return {
        index: each.seconds for index, each in found.items() if each.seconds is not None
    }, "seconds of fits and evaluations, all folds"


def _front(basis: Basis, spent: dict[int, float]) -> set[int]:
    sign = -1.0 if basis.larger_is_better else 1.0
    order = sorted(spent, key=lambda index: (spent[index], sign * basis.averages[index], index))
    front: set[int] = set()
    best = float("inf")
    for index in order:
        if sign * basis.averages[index] < best:
            best = sign * basis.averages[index]
            front.add(index)
    return front


def _instead(basis: Basis, spent: dict[int, float], index: int) -> bool:
    best = basis.best
    if best is None or best not in spent or index == best or spent[index] >= spent[best]:
        return False
    sign = 1.0 if basis.larger_is_better else -1.0
    as_good = sign * basis.averages[index] >= sign * basis.averages[best]
    return as_good or index in basis.comparison.indistinct


def _finding(points: tuple[Point, ...]) -> str:
    best = next((point for point in points if point.best), None)
    cheaper = [point for point in points if point.instead]
    if best is None:
        return f"Settings cost {words.seconds(points[0].seconds)} to {_most(points)}."
    if not cheaper:
        return (
            f"The best setting cost {words.seconds(best.seconds)}; none that is cheaper is as good."
        )
    first = cheaper[0]
    share = first.seconds / best.seconds if best.seconds else 1.0
    text = (
        f"{first.name} cost {words.seconds(first.seconds)}, {words.percent(share)} of the best "
        f"one's, and is as good or {PHRASE}."
    )
    others = len(cheaper) - 1
    return text + (f" So {'is' if others == 1 else 'are'} {others:,} more." if others else "")


def _most(points: tuple[Point, ...]) -> str:
    return words.seconds(points[-1].seconds)
