"""Ranking of candidates: the winner, the leader, and the order.

Spark ranks NaN above all numbers, and chooses the first of equal scores. So a candidate with a NaN
average may be the best one, by Spark's choice, but is never the leader.

Functions with an argument ``metric`` rank by that further metric; None means the tuner's own. Only
in the ranking by the tuner's own metric is the winner first, whatever its average.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from trackmllib.domain.further_metrics import average_of, larger_is_better
from trackmllib.domain.search_state import CandidateResult, SearchState


@dataclass(frozen=True, kw_only=True)
class RankedCandidate:
    """Candidate with its average over ``folds`` folds.

    ``average`` is None without a score, ``deviation`` for one fold or an incomplete candidate.
    """

    candidate: int
    average: float | None
    deviation: float | None
    folds: int


def best(search: SearchState) -> int | None:
    """Winner, or the best complete candidate of an unfinished search.

    None if the search is finished, but its model does not show the winner.
    """
    finished = search.end_ms is not None and search.failure is None
    return search.best if finished or search.best is not None else best_average(search)


def nan_winner(search: SearchState) -> int | None:
    """Winner of the search if its average is NaN."""
    found = None if search.best is None else search.candidates.get(search.best)
    return search.best if found is not None and _is_nan(found.average) else None


def averages(search: SearchState, metric: str | None = None) -> dict[int, float]:
    """Averages by candidate, without those that are NaN."""
    return {
        index: average
        for index, found in sorted(search.candidates.items())
        if (average := average_of(found, metric)) is not None and not _is_nan(average)
    }


def best_average(search: SearchState, metric: str | None = None) -> int | None:
    """First candidate with the best average.

    None without an average, or if the direction of the metric is unknown.
    """
    larger = larger_is_better(search.description, metric)
    if larger is None:
        return None
    found = averages(search, metric)
    return min(found, key=lambda index: sort_key(found[index], larger), default=None)


def choice_of_spark(
    averages: Mapping[int, float], larger_is_better: bool | None, cannot_win: Collection[int] = ()
) -> int | None:
    """First candidate with the best average; for Spark, NaN is best.

    Candidates in ``cannot_win`` are ignored unless no other is left. None without an average, or if
    the direction of the metric is unknown.
    """
    if larger_is_better is None:
        return None
    allowed = [index for index in sorted(averages) if index not in cannot_win]

    def key(index: int) -> tuple[bool, float]:
        return (not _is_nan(averages[index]), sort_key(averages[index], larger_is_better)[1])

    return min(allowed or sorted(averages), key=key, default=None)


def better_than(search: SearchState, candidate: int) -> int | None:
    """Candidate with the best average, if ``candidate`` has a worse one.

    This happens if a subclass of a tuner has its own rule for the best candidate.
    """
    found = averages(search)
    first = best_average(search)
    if first is None or candidate not in found or found[first] == found[candidate]:
        return None
    return first


def sort_key(average: float | None, larger_is_better: bool | None) -> tuple[int, float]:
    """Key that sorts averages best first, then NaN, then None.

    With an unknown direction, larger averages come first.
    """
    if average is None:
        return (2, 0.0)
    if _is_nan(average):
        return (1, 0.0)
    return (0, average if larger_is_better is False else -average)


def ranked(search: SearchState, metric: str | None = None) -> list[int]:
    """Candidates that have started: the best one, then the others by average.

    Equal averages keep the order of the grid.
    """
    first, larger = _first(search, metric), larger_is_better(search.description, metric)

    def key(index: int) -> tuple[bool, int, float, int]:
        average = average_of(search.candidates[index], metric)
        return (index != first, *sort_key(average, larger), index)

    return sorted(search.candidates, key=key)


def ranks(search: SearchState, metric: str | None = None) -> dict[int, int]:
    """Rank by candidate, from 1; equal averages have the same rank.

    A candidate whose average is NaN has no rank, unless it is the best one.
    """
    if larger_is_better(search.description, metric) is None:
        return {}
    first, having = _first(search, metric), averages(search, metric)
    # By repr, two NaN are equal.
    shown = {
        index: repr(average_of(search.candidates[index], metric))
        for index in ranked(search, metric)
        if index in having or index == first
    }
    first_place: dict[str, int] = {}
    for number, average in enumerate(shown.values(), 1):
        first_place.setdefault(average, number)
    return {index: first_place[average] for index, average in shown.items()}


def rank_labels(search: SearchState, metric: str | None = None) -> dict[int, str]:
    """Rank by candidate: ``2``, or ``2=`` for equal averages."""
    found = ranks(search, metric)
    count = Counter(found.values())
    return {index: f"{rank}{'=' if count[rank] > 1 else ''}" for index, rank in found.items()}


def leaderboard(search: SearchState) -> list[RankedCandidate]:
    """Candidates that have started, best score first.

    Spark computes fold after fold, so candidates of a running search are incomplete. They are
    compared on the folds that all of them have, or else on their first fold. When the winner is
    known or the search has ended, complete candidates come first.
    """
    if not _is_settled(search):
        begun = sorted(search.candidates)
        all_begun = len(begun) == len(search.description.candidates)
        scored = min((search.candidates[index].scored for index in begun), default=0)
        return _by_first_folds(search, begun, max(1, scored) if all_begun else 1)
    order = ranked(search)
    incomplete = {
        index
        for index in order
        if search.candidates[index].average is None and index != search.best
    }
    complete = [_complete(search, index) for index in order if index not in incomplete]
    scored = min(filter(None, (search.candidates[index].scored for index in incomplete)), default=1)
    # A stable sort that moves candidates without a score to the end.
    return sorted(
        [*complete, *_by_first_folds(search, incomplete, scored)],
        key=lambda each: sort_key(each.average, None)[0],
    )


def leader(search: SearchState) -> RankedCandidate | None:
    """Winner, or the candidate that leads so far; None without a score.

    If the winner's average is NaN, the best candidate with a score leads.
    """
    if search.best is not None and nan_winner(search) is None:
        return _complete(search, search.best) if search.best in search.candidates else None
    if search.description.larger_is_better is None:
        return None
    if search.best is None and search.status == "FINISHED":
        # A subclass chose by its own rule.
        return None
    first = next(iter(leaderboard(search)), None)
    if first is None or first.average is None or _is_nan(first.average):
        return None
    return first


def _first(search: SearchState, metric: str | None) -> int | None:
    """Candidate that ranks first, whatever its average."""
    return best(search) if metric is None else None


def _is_nan(average: float | None) -> bool:
    return average is not None and math.isnan(average)


def _is_settled(search: SearchState) -> bool:
    """Whether no average can improve any more."""
    if search.best is not None:
        return True
    complete = (found.average is not None for found in search.candidates.values())
    return search.end_ms is not None and any(complete)


def _by_first_folds(
    search: SearchState, candidates: Iterable[int], folds: int
) -> list[RankedCandidate]:
    """Candidates by the average of their first ``folds`` scores, best first.

    With an unknown direction, those with a score keep the order of the grid.
    """
    larger = search.description.larger_is_better

    def key(each: RankedCandidate) -> tuple[int, float, int]:
        group, order = sort_key(each.average, larger)
        return (group, 0.0 if larger is None else order, each.candidate)

    found = (_first_folds(index, search.candidates[index], folds) for index in candidates)
    return sorted(found, key=key)


def _complete(search: SearchState, index: int) -> RankedCandidate:
    found = search.candidates[index]
    if found.average is None:
        return _first_folds(index, found, found.scored)
    folds = found.scored or search.description.folds
    return RankedCandidate(
        candidate=index,
        average=found.average,
        deviation=found.deviation if folds > 1 else None,
        folds=folds,
    )


def _first_folds(index: int, found: CandidateResult, folds: int) -> RankedCandidate:
    fits = [fold_fit for _, fold_fit in sorted(found.fits.items())[:folds]]
    scores = [fold_fit.score for fold_fit in fits if fold_fit.score is not None]
    if not scores or len(scores) < folds:
        return RankedCandidate(candidate=index, average=None, deviation=None, folds=0)
    # Spark's own average, where there is one. math.fsum raises on infinities of both signs.
    whole = found.average is not None and folds == found.scored
    return RankedCandidate(
        candidate=index,
        average=found.average if whole else sum(scores) / len(scores),
        deviation=found.deviation if whole and folds > 1 else None,
        folds=folds,
    )
