"""Cost of each candidate against its score."""

from __future__ import annotations

from dataclasses import dataclass

from trackmllib.domain.ranking import sort_key
from trackmllib.reporting.figures.context import NothingToDraw, SearchContext
from trackmllib.support import formatting


@dataclass(frozen=True, kw_only=True)
class CostPoint:
    """One candidate.

    ``front``: no other is both cheaper and better. ``instead``: on the front, cheaper than the best
    candidate, and as good or indistinct from it.
    """

    candidate: int
    name: str
    seconds: float
    score: float
    best: bool
    front: bool
    instead: bool


@dataclass(frozen=True, kw_only=True)
class CostFigure:
    """Candidates by cost; ``unit`` says what their seconds measure.

    It has the candidates that were fitted on their own; ``finding`` says how many were not.
    """

    points: tuple[CostPoint, ...]
    unit: str
    finding: str


def cost(context: SearchContext) -> CostFigure:
    """Data of the figure ``cost``.

    :raises NothingToDraw: Fewer than two candidates have both a cost and a score.
    """
    context.require_scores()
    seconds, unit = _seconds(context)
    left_out = _left_out(len(context.averages) - len(seconds))
    if len(seconds) < 2:
        reason = "Fewer than two candidates have both a cost of their own and a score."
        raise NothingToDraw(f"{reason} {left_out}".rstrip())
    front = _front(context, seconds)
    points = tuple(
        CostPoint(
            candidate=index,
            name=context.name(index, 100),
            seconds=seconds[index],
            score=context.averages[index],
            best=index == context.best,
            front=index in front,
            instead=index in front and _is_alternative(context, seconds, index),
        )
        for index in sorted(seconds, key=seconds.__getitem__)
    )
    finding = f"{_finding(context, points)} {left_out}".rstrip()
    return CostFigure(points=points, unit=unit, finding=finding)


def _seconds(context: SearchContext) -> tuple[dict[int, float], str]:
    """Seconds by candidate, and their unit: of executors, or else of fits."""
    scored = {index: context.search.candidates[index] for index in context.averages}
    found = {index: each for index, each in scored.items() if each.has_own_cost}
    executors = {
        index: each.cost.executor_run_time / 1000
        for index, each in found.items()
        if each.cost is not None
    }
    if len(executors) == len(found) and any(executors.values()):
        return executors, "seconds of executors, all folds"
    fits = {index: each.seconds for index, each in found.items() if each.seconds is not None}
    return fits, "seconds of fits and evaluations, all folds"


def _left_out(candidates: int) -> str:
    """Sentence about the candidates that are not drawn; empty if all are."""
    if not candidates:
        return ""
    counted = formatting.count(candidates, "candidate")
    are, their = ("is", "its") if candidates == 1 else ("are", "their")
    return (
        f"{counted} {are} not shown: {their} work was shared with others, or {their} scores were "
        "reused."
    )


def _front(context: SearchContext, seconds: dict[int, float]) -> set[int]:
    keys = {index: sort_key(context.averages[index], context.larger_is_better) for index in seconds}
    front: set[int] = set()
    best = None
    for index in sorted(seconds, key=lambda index: (seconds[index], keys[index], index)):
        if best is None or keys[index] < best:
            best = keys[index]
            front.add(index)
    return front


def _is_alternative(context: SearchContext, seconds: dict[int, float], index: int) -> bool:
    best = context.best
    if best is None or best not in seconds or index == best or seconds[index] >= seconds[best]:
        return False
    key, best_key = (
        sort_key(context.averages[each], context.larger_is_better) for each in (index, best)
    )
    return key <= best_key or index in context.comparison.indistinct


def _finding(context: SearchContext, points: tuple[CostPoint, ...]) -> str:
    best = next((point for point in points if point.best), None)
    if best is None:
        least, most = (formatting.duration(points[at].seconds) for at in (0, -1))
        return f"Candidates cost {least} to {most}."
    cheaper = [point for point in points if point.instead]
    if not cheaper:
        spent = formatting.duration(best.seconds)
        return f"The best candidate cost {spent}; no cheaper one is as good."
    first = cheaper[0]
    share = formatting.percent(first.seconds / best.seconds if best.seconds else 1.0)
    indistinct = first.candidate in context.comparison.indistinct
    similar = context.comparison.phrase if indistinct else "as good"
    text = (
        f"{first.name} cost {formatting.duration(first.seconds)}, {share} of the best candidate's, "
        f"and is {similar}."
    )
    others = len(cheaper) - 1
    return text + (f" So {'is' if others == 1 else 'are'} {others:,} more." if others else "")
