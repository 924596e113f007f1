"""When each cell ran, in which thread, where the search waited, what more threads could give."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from trackmllib import plural
from trackmllib.search_result import SearchResult
from trackmllib.view import words
from trackmllib.view.figures.basis import Basis, NothingToDraw

# Waiting that takes less than this share of the whole is no gap worth a mark.
_GAP = 0.01
# Twice the threads that save less than this are not worth it.
_WORTH = 0.1


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One cell, in seconds since the search began."""

    candidate: int
    fold: int
    thread: int
    start: float
    end: float
    failed: bool


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A thread that had nothing to do while others of its fold still ran."""

    thread: int
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """``folds`` are (fold, start, end); ``refit`` is (start, end) if it was measured.

    ``idle`` is the share of the threads' time, within the folds, in which they had nothing to do.
    ``forecast`` are pairs of a parallelism and the seconds that all cells would take with it,
    ``parallelism`` the one that was used.
    """

    bars: tuple[Bar, ...]
    threads: int
    folds: tuple[tuple[int, float, float], ...]
    gaps: tuple[Gap, ...]
    refit: tuple[float, float] | None
    total: float
    idle: float
    parallelism: int
    forecast: tuple[tuple[int, float], ...]
    finding: str


def timeline(basis: Basis) -> Timeline:
    """NothingToDraw where no cell has ended."""
    search = basis.search
    bars = tuple(sorted(_bars(search), key=lambda bar: (bar.start, bar.candidate)))
    if not bars:
        raise NothingToDraw("No cell of this search was timed.")
    threads = max(bar.thread for bar in bars) + 1
    folds = tuple(_folds(bars))
    gaps = [gap for fold in folds for gap in _gaps(bars, fold, threads)]
    wall = sum(end - start for _, start, end in folds)
    waited = sum(gap.end - gap.start for gap in gaps)
    last = max(bar.end for bar in bars)
    refit = None if search.refit_seconds is None else (last, last + search.refit_seconds)
    total = refit[1] if refit else last
    parallelism = _parallelism(search)
    forecast = _forecast(bars, parallelism, wall)
    idle = waited / (threads * wall) if wall > 0 else 0.0
    return Timeline(
        bars=bars,
        threads=threads,
        folds=folds,
        gaps=tuple(gap for gap in gaps if gap.end - gap.start > _GAP * total),
        refit=refit,
        total=total,
        idle=idle,
        parallelism=parallelism,
        forecast=forecast,
        finding=_finding(bars, idle, parallelism, wall, forecast),
    )


def simulate(cells: Iterable[float], parallelism: int) -> float:
    """Seconds until the last of these cells of one fold ends, if each takes the first of so many
    threads that is free, as Spark's pool does.
    """
    free = [0.0] * max(1, parallelism)
    for seconds in cells:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)


def _bars(search: SearchResult) -> Iterable[Bar]:
    for index, found in search.candidates.items():
        for fold, cell in found.cells.items():
            if cell.end_ms is not None and cell.taken_ms is None:
                yield Bar(
                    candidate=index,
                    fold=fold,
                    thread=cell.thread,
                    start=(cell.start_ms - search.start_ms) / 1000,
                    end=(cell.end_ms - search.start_ms) / 1000,
                    failed=cell.failure is not None,
                )


def _folds(bars: tuple[Bar, ...]) -> Iterable[tuple[int, float, float]]:
    for fold in sorted({bar.fold for bar in bars}):
        of_fold = [bar for bar in bars if bar.fold == fold]
        yield fold, min(bar.start for bar in of_fold), max(bar.end for bar in of_fold)


def _gaps(bars: tuple[Bar, ...], fold: tuple[int, float, float], threads: int) -> Iterable[Gap]:
    number, start, end = fold
    for thread in range(threads):
        free = start
        for bar in bars:
            if bar.fold == number and bar.thread == thread:
                if bar.start > free:
                    yield Gap(thread=thread, start=free, end=bar.start)
                free = max(free, bar.end)
        if end > free:
            yield Gap(thread=thread, start=free, end=end)


def _parallelism(search: SearchResult) -> int:
    for param in search.description.tuner.params:
        if param.name == "parallelism" and isinstance(param.value.data, int):
            return max(1, param.value.data)
    return 1


def _forecast(
    bars: tuple[Bar, ...], parallelism: int, wall: float
) -> tuple[tuple[int, float], ...]:
    """By Spark's schedule: the candidates of a fold at the same time and in their order, one fold
    after the other. What the folds took beyond that schedule is added to all.
    """
    folds = [
        [
            bar.end - bar.start
            for bar in sorted(bars, key=lambda bar: bar.candidate)
            if bar.fold == n
        ]
        for n in sorted({bar.fold for bar in bars})
    ]
    most = max(len(cells) for cells in folds)
    overhead = max(0.0, wall - sum(simulate(cells, parallelism) for cells in folds))
    tried = sorted({1, parallelism, *(2**n for n in range(1, 7))})
    return tuple(
        (each, overhead + sum(simulate(cells, each) for cells in folds))
        for each in tried
        if each <= max(most, parallelism)
    )


def _finding(
    bars: tuple[Bar, ...],
    idle: float,
    parallelism: int,
    wall: float,
    forecast: tuple[tuple[int, float], ...],
) -> str:
    cells = plural.count(len(bars), "cell") + " (a setting on a fold)"
    text = f"{cells} took {words.seconds(wall)} with parallelism={parallelism}"
    text += f"; its threads waited {words.percent(idle)} of that time." if idle >= 0.01 else "."
    better, seconds = parallelism, dict(forecast)[parallelism]
    for each, forecasted in forecast:
        if each > better and forecasted < (1 - _WORTH) * seconds:
            better, seconds = each, forecasted
    if better == parallelism:
        return text + " A higher parallelism would give little."
    return text + (
        f" parallelism={better} could do it in {words.seconds(seconds)}, where the cluster has "
        "room for that many jobs at a time."
    )
