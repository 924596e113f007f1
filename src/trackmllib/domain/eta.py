"""Estimate of a search's remaining time, from the durations of its fits."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

from trackmllib.domain.descriptions import SearchDescription, SharedStages
from trackmllib.domain.ranking import leader
from trackmllib.domain.search_state import CandidateResult, SearchState
from trackmllib.domain.thread_work import Task, pool_seconds, pools


def seconds_left(search: SearchState, now_ms: int) -> float | None:
    """Seconds until a running search ends.

    None before its first score and after its end. Each fit is assumed to take as long as earlier
    fits of its candidate, or else as the mean fit, and shared work as long as on earlier folds.
    Reused scores and later folds of failed candidates take no time.
    """
    if search.end_ms is not None:
        return None
    by_candidate = _seconds_by_candidate(search)
    if not by_candidate:
        return None
    shared = _shared_seconds(search)
    refit = _refit_seconds(search, shared)
    if search.best_at_refit is not None:
        ends = (found.end_ms or 0 for found in search.candidates.values())
        spent = (now_ms - max(ends, default=now_ms)) / 1000.0
        return max(0.0, refit - max(0.0, spent))
    folds = pools(search, range(search.folds))
    fits = (_fits_seconds(search, pool, by_candidate, shared, now_ms) for pool in folds)
    return sum(fits) + refit


def parallelism(description: SearchDescription) -> int:
    """Number of fits that the tuner runs at a time."""
    for param in description.tuner.params:
        if param.name == "parallelism" and isinstance(param.value.data, int):
            return max(1, param.value.data)
    return 1


def _seconds_by_candidate(search: SearchState) -> dict[int, float]:
    """Mean seconds of a fit with its further metrics, by scored candidate."""
    return {
        index: (seconds + _metrics_seconds(candidate)) / candidate.scored
        for index, candidate in search.candidates.items()
        if (seconds := candidate.seconds) is not None
    }


def _metrics_seconds(candidate: CandidateResult) -> float:
    """Seconds of the further metrics of all fits."""
    return math.fsum(fit.metrics_seconds or 0.0 for fit in candidate.fits.values())


def _fits_seconds(
    search: SearchState,
    folds: Sequence[int],
    by_candidate: Mapping[int, float],
    shared_seconds: Mapping[SharedStages, float],
    now_ms: int,
) -> float:
    """Seconds until the last fit of these folds, which share a pool, ends."""
    mean = math.fsum(by_candidate.values()) / len(by_candidate)
    running: list[float] = []
    waiting: list[Task] = []
    for fold in folds:
        shared = _work_left(search, fold, shared_seconds)
        for candidate in search.description.candidates:
            expected = by_candidate.get(candidate.index, mean)
            begun = search.candidates.get(candidate.index)
            fold_fit = None if begun is None else begun.fits.get(fold)
            if fold_fit is not None and fold_fit.end_ms is None:
                running.append(max(0.0, expected - (now_ms - fold_fit.start_ms) / 1000.0))
            elif fold_fit is None and (begun is None or begun.status != "FAILED"):
                waiting.append(Task(expected, tuple(shared.get(candidate.index, ()))))
    fits = len(folds) * len(search.description.candidates)
    idle = min(parallelism(search.description), fits) - len(running)
    return pool_seconds(waiting, running + [0.0] * idle)


def _work_left(
    search: SearchState, fold: int, seconds: Mapping[SharedStages, float]
) -> dict[int, list[tuple[Hashable, float]]]:
    """Shared work left on a fold, with its seconds, by candidate."""
    done = {work.shared for work in search.shared_work if work.fold == fold}
    left: dict[int, list[tuple[Hashable, float]]] = {}
    for shared in seconds:
        if shared not in done:
            work = (fold, shared), seconds[shared]
            for candidate in shared.candidates:
                left.setdefault(candidate, []).append(work)
    return left


def _refit_seconds(search: SearchState, shared_seconds: Mapping[SharedStages, float]) -> float:
    """Seconds of the refit.

    The mean fit of the best candidate, or of all, scaled linearly from a training split to all the
    data.
    """
    leading = leader(search)
    best = search.best if leading is None or search.best is not None else leading.candidate
    indexes = [best] if best in search.candidates else list(search.candidates)
    fits = [fold_fit for index in indexes for fold_fit in search.candidates[index].fits.values()]
    seconds = [fold_fit.fit_seconds for fold_fit in fits if fold_fit.fit_seconds]
    if not seconds:
        return 0.0
    # The refit also computes shared stages, which no fit's duration includes.
    refitted = set(indexes)
    stages = math.fsum(
        each * len(refitted.intersection(shared.candidates)) / len(refitted)
        for shared, each in shared_seconds.items()
    )
    return (math.fsum(seconds) / len(seconds) + stages) / _training_share(search.description)


def _shared_seconds(search: SearchState) -> dict[SharedStages, float]:
    """Seconds per fold of each piece of shared work.

    The mean over the folds that have done it, or else over all shared work.
    """
    measured: dict[SharedStages, list[float]] = {}
    for work in search.shared_work:
        measured.setdefault(work.shared, []).append(work.seconds)
    of_all = [each for seconds in measured.values() for each in seconds] or [0.0]
    planned = search.description.shared + search.description.nested_fits
    return {
        shared: math.fsum(found) / len(found)
        for shared in planned
        for found in (measured.get(shared, of_all),)
    }


def _training_share(description: SearchDescription) -> float:
    if description.averaged:
        folds = description.folds
        return (folds - 1) / folds if folds > 1 else 1.0
    for param in description.tuner.params:
        ratio = param.value.data
        if param.name == "trainRatio" and isinstance(ratio, (int, float)) and 0 < ratio <= 1:
            return float(ratio)
    return 1.0
