"""Recorded work of a search's threads, and simulations of other threads.

Idle time, bars, forecasts and the time left are all computed from these intervals.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from trackmllib.domain.search_state import FoldFit, SearchState

Kind = Literal["fit", "metrics", "shared"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Busy:
    """An interval in which a thread worked, in milliseconds since the epoch.

    Kinds: ``fit`` is an attempt at a fit, with its evaluation; ``metrics`` are its further metrics;
    ``shared`` is work for several candidates, which may lie within a fit. ``failed``: the attempt
    failed.
    """

    thread: int
    kind: Kind
    start_ms: int
    end_ms: int
    fold: int
    candidate: int | None = None
    failed: bool = False


def busy_intervals(search: SearchState) -> Iterator[Busy]:
    """All intervals that have ended, in no particular order."""
    for index, found in search.candidates.items():
        for fold, fit in found.fits.items():
            yield from _of_fit(fit, index, fold)
    for work in search.shared_work:
        yield Busy(
            thread=work.thread,
            kind="shared",
            start_ms=work.start_ms,
            end_ms=max(work.start_ms, work.time_ms),
            fold=work.fold,
        )


def _of_fit(fit: FoldFit, candidate: int, fold: int) -> Iterator[Busy]:
    def busy(kind: Kind, start_ms: int, end_ms: int, failed: bool = False) -> Busy:
        return Busy(
            thread=fit.thread,
            kind=kind,
            start_ms=start_ms,
            end_ms=end_ms,
            fold=fold,
            candidate=candidate,
            failed=failed,
        )

    for number, (start_ms, end_ms) in enumerate(fit.attempts, 1):
        is_last = number == len(fit.attempts)
        yield busy("fit", start_ms, end_ms, failed=not is_last or fit.failure is not None)
        if is_last and fit.metrics_seconds:
            yield busy("metrics", end_ms, end_ms + round(1000 * fit.metrics_seconds))


def union(intervals: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Sorted intervals without overlaps that cover the same time."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


@dataclass(frozen=True, slots=True)
class Task:
    """A fit to schedule: its own seconds, and the shared work that it needs.

    ``shared`` pairs the key of each piece of shared work with its seconds. The first thread that
    needs the work does it, and the others wait.
    """

    seconds: float
    shared: tuple[tuple[Hashable, float], ...] = ()


def pool_seconds(tasks: Iterable[Task], threads: Collection[float]) -> float:
    """Seconds until a pool of threads has finished all tasks, in this order.

    ``threads`` has the seconds after which each thread becomes free.
    """
    free = list(threads)
    heapq.heapify(free)
    done: dict[Hashable, float] = {}
    for task in tasks:
        now = free[0]
        for key, seconds in task.shared:
            now = max(now, done[key]) if key in done else now + seconds
            done.setdefault(key, now)
        heapq.heapreplace(free, now + task.seconds)
    return max(free)


def pools(search: SearchState, folds: Sequence[int]) -> list[list[int]]:
    """Groups of folds whose fits share a pool of threads.

    Spark finishes the fits of a group before it starts the next.
    """
    if search.description.parallel_folds:
        return [list(folds)] if folds else []
    return [[fold] for fold in folds]


def finished_tasks(search: SearchState, fold: int) -> list[Task]:
    """Fits that were computed on a fold, in the order of their start."""
    work = [each for each in search.shared_work if each.fold == fold]
    fits = [
        (found.fits[fold].start_ms, index, found.fits[fold])
        for index, found in search.candidates.items()
        if fold in found.fits and found.fits[fold].attempts
    ]
    return [
        Task(
            _own_seconds(fit),
            tuple(
                ((fold, at), each.seconds)
                for at, each in enumerate(work)
                if index in each.shared.candidates
            ),
        )
        for _, index, fit in sorted(fits, key=lambda each: each[:2])
    ]


def _own_seconds(fit: FoldFit) -> float:
    """Seconds of a fit, its metrics and its failed attempts, unshared."""
    failed, last = fit.attempts, 0.0
    if fit.score is not None:
        last = (fit.fit_seconds or 0.0) + (fit.evaluate_seconds or 0.0)
        failed = failed[:-1]
    earlier = sum(end_ms - start_ms for start_ms, end_ms in failed) / 1000.0
    return earlier + last + (fit.metrics_seconds or 0.0)
