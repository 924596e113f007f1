"""Who leads a search, while it runs and after it, and how a score reads."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from trackmllib.search_result import CandidateResult, SearchResult


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A candidate with the average of its scores over ``folds`` folds, None if it has no score.

    ``deviation`` is that of a candidate that is complete, where Spark computes one.
    """

    candidate: int
    average: float | None
    deviation: float | None
    folds: int

    @property
    def score(self) -> str:
        """``0.8421 ± 0.006``, or nothing where there is no score; one fold has no deviation."""
        deviation = self.deviation if self.folds > 1 else None
        return "" if self.average is None else score_in_words(self.average, deviation)


def standings(result: SearchResult) -> list[Standing]:
    """The candidates that have begun, best first.

    Spark takes fold after fold, so while a search runs no candidate is complete for most of the
    time. Then they are compared by the folds that all of them have, or by the first one. So are,
    behind the complete ones, those that a search has left incomplete.
    """
    if _is_settled(result):
        return _settled(result)
    begun = sorted(result.candidates)
    scored = [result.candidates[index].scored for index in begun]
    all_begun = len(begun) == len(result.description.candidates)
    return _compared(result, begun, max(1, min(scored, default=0)) if all_begun else 1)


def leader(result: SearchResult) -> Standing | None:
    """The winner, or who leads so far; None where there is no score to go by.

    Of a search that was cut short after a candidate was complete, the best complete one. Where the
    winner's average is NaN, the best of those that have a score.
    """
    if result.best is not None and won_with_nan(result) is None:
        found = result.candidates.get(result.best)
        return None if found is None else _whole(result, result.best)
    is_open = result.best is not None or result.status != "FINISHED"
    if result.description.larger_is_better is None or not is_open:
        # It chooses by a rule of its own.
        return None
    first = next(iter(standings(result)), None)
    if first is None or first.average is None or math.isnan(first.average):
        return None
    return first


def won_with_nan(result: SearchResult) -> int | None:
    """The winner where its average is NaN, which Spark takes for better than every number."""
    found = None if result.best is None else result.candidates.get(result.best)
    if found is None or found.average is None or not math.isnan(found.average):
        return None
    return result.best


def score_in_words(average: float, deviation: float | None = None) -> str:
    """Four digits that count, and two of the deviation: ``0.8421 ± 0.006``."""
    words = _number(average, 4)
    return words if deviation is None else f"{words} ± {_number(deviation, 2)}"


def _number(number: float, digits: int) -> str:
    if not math.isfinite(number):
        return str(number).replace("nan", "NaN")
    return f"{number:.{digits}g}" if abs(number) < 10**digits else f"{number:,.0f}"


def _rank(average: float | None) -> int:
    """Scores come first, then NaN, then what has none."""
    if average is None:
        return 2
    return 1 if math.isnan(average) else 0


def _is_settled(result: SearchResult) -> bool:
    """Whether there will be no better averages than those that stand."""
    if result.best is not None:
        return True
    averages = (found.average for found in result.candidates.values())
    return result.end_ms is not None and any(average is not None for average in averages)


def _settled(result: SearchResult) -> list[Standing]:
    """The winner and the complete ones, and then the others by the folds that those of them have
    that have any.
    """
    ranked = result.ranked()
    others = [
        index
        for index in ranked
        if result.candidates[index].average is None and index != result.best
    ]
    incomplete = set(others)
    complete = [_whole(result, index) for index in ranked if index not in incomplete]
    scored = [result.candidates[index].scored for index in others]
    level = min(filter(None, scored), default=1)
    # Also a winner whose average is NaN comes after all that have a score.
    return sorted(
        [*complete, *_compared(result, others, level)], key=lambda each: _rank(each.average)
    )


def _compared(result: SearchResult, indexes: Iterable[int], level: int) -> list[Standing]:
    """Some candidates by the average of their first scores, so many of each, best first."""
    sign = {True: -1.0, False: 1.0, None: 0.0}[result.description.larger_is_better]

    def place(standing: Standing) -> tuple[int, float, int]:
        average, rank = standing.average, _rank(standing.average)
        return (rank, 0.0 if average is None or rank else sign * average, standing.candidate)

    found = (_over_first_folds(index, result.candidates[index], level) for index in indexes)
    return sorted(found, key=place)


def _whole(result: SearchResult, index: int) -> Standing:
    found = result.candidates[index]
    if found.average is None:
        return _over_first_folds(index, found, found.scored)
    return Standing(
        candidate=index,
        average=found.average,
        deviation=found.deviation,
        folds=found.scored or result.description.folds,
    )


def _over_first_folds(index: int, found: CandidateResult, level: int) -> Standing:
    scores = [
        cell.score for _, cell in sorted(found.cells.items())[:level] if cell.score is not None
    ]
    if not scores or len(scores) < level:
        return Standing(candidate=index, average=None, deviation=None, folds=0)
    whole = found.average is not None and level == found.scored
    return Standing(
        candidate=index,
        average=found.average if whole else _mean(scores),
        deviation=found.deviation if whole else None,
        folds=len(scores),
    )


def _mean(scores: Iterable[float]) -> float:
    numbers = list(scores)
    # math.fsum raises on infinities of both signs.
    return sum(numbers) / len(numbers)
