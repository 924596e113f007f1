"""Estimate of a search's remaining time, from the durations of its fits."""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Iterable

from trackmllib.domain.descriptions import SearchDescription, SharedStages
from trackmllib.domain.ranking import leader
from trackmllib.domain.search_state import CandidateResult, SearchState


def seconds_left(search: SearchState, now_ms: int) -> float | None:
    """Seconds until a running search ends.

    None before its first score and after its end. Each fit is assumed to take as long as earlier
    fits of its candidate, or else as the mean fit.
    """
    if search.end_ms is not None:
        return None
    by_candidate = _seconds_by_candidate(search)
    if not by_candidate:
        return None
    refit = _refit_seconds(search)
    if search.best_at_refit is not None:
        ends = (found.end_ms or 0 for found in search.candidates.values())
        spent = (now_ms - max(ends, default=now_ms)) / 1000.0
        return max(0.0, refit - max(0.0, spent))
    folds = [[fold] for fold in range(search.folds)]
    if search.description.parallel_folds:
        folds = [list(range(search.folds))]
    fits = sum(_fits_seconds(search, pool, by_candidate, now_ms) for pool in folds)
    stages = max(0, len(_computed_once(search)) * search.folds - search.shared_times)
    return fits + stages * _shared_stage_seconds(search) + refit


def parallelism(description: SearchDescription) -> int:
    """Number of fits that the tuner runs at a time."""
    for param in description.tuner.params:
        if param.name == "parallelism" and isinstance(param.value.data, int):
            return max(1, param.value.data)
    return 1


def pool_seconds(fits: Iterable[float], threads: Collection[float]) -> float:
    """Seconds until a pool of threads has finished all fits, in this order.

    ``threads`` has the seconds after which each thread becomes free.
    """
    free = list(threads)
    heapq.heapify(free)
    for seconds in fits:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def _seconds_by_candidate(search: SearchState) -> dict[int, float]:
    """Mean seconds of a fit with its further metrics, by candidate with a score."""
    return {
        index: (seconds + _metrics_seconds(candidate)) / candidate.scored
        for index, candidate in search.candidates.items()
        if (seconds := candidate.seconds) is not None
    }


def _metrics_seconds(candidate: CandidateResult) -> float:
    """Seconds of the further metrics of all fits."""
    return math.fsum(fit.metrics_seconds or 0.0 for fit in candidate.fits.values())


def _fits_seconds(
    search: SearchState, folds: list[int], by_candidate: dict[int, float], now_ms: int
) -> float:
    """Seconds until the last fit of these folds, which share a pool, ends."""
    mean = math.fsum(by_candidate.values()) / len(by_candidate)
    running, waiting = [], []
    for fold in folds:
        for candidate in search.description.candidates:
            expected = by_candidate.get(candidate.index, mean)
            begun = search.candidates.get(candidate.index)
            fold_fit = None if begun is None else begun.fits.get(fold)
            if fold_fit is None:
                waiting.append(expected)
            elif fold_fit.end_ms is None:
                running.append(max(0.0, expected - (now_ms - fold_fit.start_ms) / 1000.0))
    fits = len(folds) * len(search.description.candidates)
    idle = min(parallelism(search.description), fits) - len(running)
    return pool_seconds(waiting, running + [0.0] * idle)


def _refit_seconds(search: SearchState) -> float:
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
    shared = sum(
        index in stages.candidates for stages in _computed_once(search) for index in indexes
    )
    stages = _shared_stage_seconds(search) * shared / len(indexes)
    return (math.fsum(seconds) / len(seconds) + stages) / _training_share(search.description)


def _computed_once(search: SearchState) -> tuple[SharedStages, ...]:
    """Shared stages and nested fits, which each fold computes once."""
    return search.description.shared + search.description.nested_fits


def _shared_stage_seconds(search: SearchState) -> float:
    """Mean seconds of computing shared stages."""
    return search.shared_seconds / search.shared_times if search.shared_times else 0.0


def _training_share(description: SearchDescription) -> float:
    if description.averaged:
        folds = description.folds
        return (folds - 1) / folds if folds > 1 else 1.0
    for param in description.tuner.params:
        ratio = param.value.data
        if param.name == "trainRatio" and isinstance(ratio, (int, float)) and 0 < ratio <= 1:
            return float(ratio)
    return 1.0
