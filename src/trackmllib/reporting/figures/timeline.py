"""Timeline of the fits, and a forecast for more threads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trackmllib.domain import eta
from trackmllib.domain.search_state import SearchState
from trackmllib.reporting.figures.context import NothingToDraw, SearchContext
from trackmllib.support import formatting

# Shorter gaps, as a share of the duration, are not marked.
_MIN_GAP = 0.01
# A recommended parallelism saves at least this share of the time.
_MIN_GAIN = 0.1


@dataclass(frozen=True, kw_only=True)
class FitBar:
    """One fit, in seconds since the start of the search."""

    candidate: int
    fold: int
    thread: int
    start: float
    end: float
    failed: bool


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Idle time of a thread while others worked on the same fold."""

    thread: int
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Fits by thread, in seconds since the start of the search.

    ``folds`` are (fold, start, end); ``refit`` is (start, end), or None. ``idle`` is the idle share
    of the threads' time. ``forecast`` pairs values of ``parallelism`` with the seconds of all fits.
    """

    bars: tuple[FitBar, ...]
    threads: int
    folds: tuple[tuple[int, float, float], ...]
    gaps: tuple[Gap, ...]
    refit: tuple[float, float] | None
    total: float
    idle: float
    parallelism: int
    forecast: tuple[tuple[int, float], ...]
    finding: str


def timeline(context: SearchContext) -> Timeline:
    """Data of the figure ``timeline``.

    :raises NothingToDraw: No fit has ended.
    """
    search = context.search
    bars = tuple(sorted(_bars(search), key=lambda bar: (bar.start, bar.candidate)))
    if not bars:
        raise NothingToDraw("No fit of this search was timed.")
    threads = max(bar.thread for bar in bars) + 1
    folds = tuple(_folds(bars))
    gaps = [gap for fold in folds for gap in _gaps(bars, fold, threads)]
    seconds = sum(end - start for _, start, end in folds)
    idle_seconds = sum(gap.end - gap.start for gap in gaps)
    idle = idle_seconds / (threads * seconds) if seconds > 0 else 0.0
    last = max(bar.end for bar in bars)
    refit = None if search.refit_seconds is None else (last, last + search.refit_seconds)
    total = refit[1] if refit else last
    parallelism = eta.parallelism(search.description)
    forecast = _forecast(bars, parallelism, seconds)
    return Timeline(
        bars=bars,
        threads=threads,
        folds=folds,
        gaps=tuple(gap for gap in gaps if gap.end - gap.start > _MIN_GAP * total),
        refit=refit,
        total=total,
        idle=idle,
        parallelism=parallelism,
        forecast=forecast,
        finding=_finding(len(bars), idle, parallelism, seconds, dict(forecast)),
    )


def _bars(search: SearchState) -> Iterable[FitBar]:
    for index, found in search.candidates.items():
        for fold, fold_fit in found.fits.items():
            if fold_fit.end_ms is not None and fold_fit.reused_ms is None:
                yield FitBar(
                    candidate=index,
                    fold=fold,
                    thread=fold_fit.thread,
                    start=(fold_fit.start_ms - search.start_ms) / 1000,
                    end=(fold_fit.end_ms - search.start_ms) / 1000,
                    failed=fold_fit.failure is not None,
                )


def _folds(bars: tuple[FitBar, ...]) -> Iterable[tuple[int, float, float]]:
    for fold in sorted({bar.fold for bar in bars}):
        of_fold = [bar for bar in bars if bar.fold == fold]
        yield fold, min(bar.start for bar in of_fold), max(bar.end for bar in of_fold)


def _gaps(bars: tuple[FitBar, ...], fold: tuple[int, float, float], threads: int) -> Iterable[Gap]:
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


def _forecast(
    bars: tuple[FitBar, ...], parallelism: int, seconds: float
) -> tuple[tuple[int, float], ...]:
    """Simulate the seconds of all fits by parallelism.

    Spark computes fold after fold, and candidates in their order. The time by which the actual fits
    exceed that schedule is added to each forecast.
    """
    folds = [
        [
            bar.end - bar.start
            for bar in sorted(bars, key=lambda bar: bar.candidate)
            if bar.fold == n
        ]
        for n in sorted({bar.fold for bar in bars})
    ]

    def simulated(threads: int) -> float:
        return sum(eta.pool_seconds(fits, [0.0] * threads) for fits in folds)

    overhead = max(0.0, seconds - simulated(parallelism))
    most = max(parallelism, *(len(fits) for fits in folds))
    tried = sorted({1, parallelism, *(2**n for n in range(1, 7))})
    return tuple((each, overhead + simulated(each)) for each in tried if each <= most)


def _finding(
    fits: int, idle: float, parallelism: int, seconds: float, forecast: dict[int, float]
) -> str:
    text = (
        f"{formatting.count(fits, 'fit')} (one candidate on one fold) took "
        f"{formatting.duration(seconds)} with parallelism={parallelism}"
    )
    text += f"; threads were idle for {formatting.percent(idle)} of it." if idle >= 0.01 else "."
    better = parallelism
    for each, forecasted in forecast.items():
        if each > better and forecasted < (1 - _MIN_GAIN) * forecast[better]:
            better = each
    if better == parallelism:
        return text + " A higher parallelism would gain little."
    return text + (
        f" parallelism={better} could take {formatting.duration(forecast[better])}, if the cluster "
        "has room for that many jobs at a time."
    )
