"""How long a search still takes, from what its cells have taken so far."""

from __future__ import annotations

import heapq
import math

from trackmllib.search_result import SearchResult
from trackmllib.standing import leader


def seconds_left(result: SearchResult, now_ms: int) -> float | None:
    """Seconds until a running search ends; None as long as nothing is measured, and after its end.

    A cell takes what its candidate took on earlier folds, or else the mean of all. Folds follow
    each other, and ``parallelism`` cells of a fold run at a time, as Spark does it; or cells of all
    folds do. Stages that candidates share are computed once a fold besides, as long as they took so
    far. Then comes the refit.
    """
    if result.end_ms is not None:
        return None
    taken = _seconds_by_candidate(result)
    if not taken:
        return None
    if result.best_at_refit is not None:
        begun_ms = max((found.end_ms or 0 for found in result.candidates.values()), default=now_ms)
        return max(0.0, _refit_seconds(result) - max(0.0, (now_ms - begun_ms) / 1000.0))
    mean = math.fsum(taken.values()) / len(taken)
    folds = [[fold] for fold in range(result.folds)]
    if result.description.parallel_folds:
        folds = [list(range(result.folds))]
    left = sum(_seconds_of(result, some, taken, mean, now_ms) for some in folds)
    shared = max(0, len(result.description.shared) * result.folds - result.shared_times)
    return left + shared * _mean_of_shared(result) + _refit_seconds(result)


def in_words(seconds: float) -> str:
    """``12 s``, ``3 min``, ``1 h 20 min``, ``2 d 3 h``."""
    whole = max(1, round(seconds))
    if whole < 90:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def left_in_words(seconds: float | None) -> str:
    """``about 3 min left``, or nothing where that is not known."""
    return "" if seconds is None else f"about {in_words(seconds)} left"


def _seconds_by_candidate(result: SearchResult) -> dict[int, float]:
    """The mean seconds of a cell, of each candidate that has been measured."""
    found = {}
    for index, candidate in result.candidates.items():
        seconds = candidate.seconds
        if seconds is not None:
            found[index] = seconds / candidate.scored
    return found


def _seconds_of(
    result: SearchResult, folds: list[int], taken: dict[int, float], mean: float, now_ms: int
) -> float:
    """When the last cell of these folds ends, with each cell given to the first thread that is
    free.
    """
    running, waiting = [], []
    for fold in folds:
        for candidate in result.description.candidates:
            expected = taken.get(candidate.index, mean)
            begun = result.candidates.get(candidate.index)
            cell = None if begun is None else begun.cells.get(fold)
            if cell is None:
                waiting.append(expected)
            elif cell.end_ms is None:
                running.append(max(0.0, expected - (now_ms - cell.start_ms) / 1000.0))
    cells = len(folds) * len(result.description.candidates)
    threads = running + [0.0] * (min(_parallelism(result), cells) - len(running))
    heapq.heapify(threads)
    for expected in waiting:
        heapq.heapreplace(threads, threads[0] + expected)
    return max(threads)


def _parallelism(result: SearchResult) -> int:
    """How many cells run at a time: the tuner's param."""
    for param in result.description.tuner.params:
        if param.name == "parallelism" and isinstance(param.value.data, int):
            return max(1, param.value.data)
    return 1


def _refit_seconds(result: SearchResult) -> float:
    """The fit of the best one, or a mean fit, on all the data instead of on its part for training.

    Taken to grow as the data does.
    """
    leading = leader(result)
    best = result.best if leading is None or result.best is not None else leading.candidate
    of = [best] if best in result.candidates else list(result.candidates)
    cells = [cell for index in of for cell in result.candidates[index].cells.values()]
    fits = [cell.fit_seconds for cell in cells if cell.fit_seconds]
    if not fits:
        return 0.0
    # It fits all stages, also those that are in no fit of a cell.
    begun = sum(index in shared.candidates for shared in result.description.shared for index in of)
    stages = _mean_of_shared(result) * begun / len(of)
    return (math.fsum(fits) / len(fits) + stages) / _part_for_training(result)


def _mean_of_shared(result: SearchResult) -> float:
    """The mean seconds of stages that were computed for several candidates at once."""
    return result.shared_seconds / result.shared_times if result.shared_times else 0.0


def _part_for_training(result: SearchResult) -> float:
    if result.description.averaged:
        folds = result.description.folds
        return (folds - 1) / folds if folds > 1 else 1.0
    for param in result.description.tuner.params:
        ratio = param.value.data
        if param.name == "trainRatio" and isinstance(ratio, (int, float)) and 0 < ratio <= 1:
            return float(ratio)
    return 1.0
