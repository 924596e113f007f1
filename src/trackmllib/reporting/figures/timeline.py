"""Timeline of the threads' work, and a forecast for more threads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trackmllib.domain import eta
from trackmllib.domain.search_state import SearchState
from trackmllib.domain.thread_work import (
    Kind,
    busy_intervals,
    finished_tasks,
    pool_seconds,
    pools,
    union,
)
from trackmllib.reporting.figures.context import NothingToDraw, SearchContext
from trackmllib.support import formatting

# Shorter gaps, as a share of the duration, are not marked.
_MIN_GAP = 0.01
# A recommended parallelism saves at least this share of the time.
_MIN_GAIN = 0.1


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Work of a thread, in seconds since the start of the search.

    ``candidate`` is None for work that several candidates share.
    """

    kind: Kind
    candidate: int | None
    fold: int
    thread: int
    start: float
    end: float
    failed: bool


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Idle time of a thread, from the start of all work to its end."""

    thread: int
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Work by thread, in seconds since the start of the search.

    ``folds`` are (fold, start, end); ``refit`` is (start, end), or None. ``idle`` is the share of
    the threads' time without work, from the first start to the last end. ``forecast`` pairs values
    of ``parallelism`` with the seconds of all fits.
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


def timeline(context: SearchContext) -> Timeline:
    """Data of the figure ``timeline``.

    :raises NothingToDraw: No fit has ended.
    """
    search = context.search
    bars = sorted(_bars(search), key=lambda bar: (bar.start, bar.end))
    fits = sum(
        bool(fit.attempts) for each in search.candidates.values() for fit in each.fits.values()
    )
    if not fits:
        raise NothingToDraw("No fit of this search was timed.")
    threads = max(bar.thread for bar in bars) + 1
    first, last = bars[0].start, max(bar.end for bar in bars)
    gaps = [gap for thread in range(threads) for gap in _gaps(bars, thread, first, last)]
    seconds = last - first
    idle = sum(gap.end - gap.start for gap in gaps) / (threads * seconds) if seconds > 0 else 0.0
    refit = None if search.refit_seconds is None else (last, last + search.refit_seconds)
    total = refit[1] if refit else last
    parallelism = eta.parallelism(search.description)
    forecast = _forecast(search, parallelism, seconds)
    return Timeline(
        bars=tuple(bars),
        threads=threads,
        folds=tuple(_folds(bars)),
        gaps=tuple(gap for gap in gaps if gap.end - gap.start > _MIN_GAP * total),
        refit=refit,
        total=total,
        idle=idle,
        parallelism=parallelism,
        forecast=forecast,
        finding=_finding(fits, idle, parallelism, seconds, dict(forecast)),
    )


def _bars(search: SearchState) -> Iterable[Bar]:
    for busy in busy_intervals(search):
        yield Bar(
            kind=busy.kind,
            candidate=busy.candidate,
            fold=busy.fold,
            thread=busy.thread,
            start=(busy.start_ms - search.start_ms) / 1000,
            end=(busy.end_ms - search.start_ms) / 1000,
            failed=busy.failed,
        )


def _folds(bars: Sequence[Bar]) -> Iterable[tuple[int, float, float]]:
    for fold in sorted({bar.fold for bar in bars}):
        of_fold = [bar for bar in bars if bar.fold == fold]
        yield fold, min(bar.start for bar in of_fold), max(bar.end for bar in of_fold)


def _gaps(bars: Sequence[Bar], thread: int, first: float, last: float) -> Iterable[Gap]:
    """Intervals in which a thread was idle."""
    free = first
    for start, end in [
        *union((bar.start, bar.end) for bar in bars if bar.thread == thread),
        (last, last),
    ]:
        if start > free:
            yield Gap(thread=thread, start=free, end=start)
        free = end


def _forecast(
    search: SearchState, parallelism: int, seconds: float
) -> tuple[tuple[int, float], ...]:
    """Simulate the seconds of all fits by parallelism.

    The time by which the actual fits exceed their simulation is added to each forecast.
    """
    each_pool = [
        [task for fold in pool for task in finished_tasks(search, fold)]
        for pool in pools(search, range(search.folds))
    ]
    each_pool = [tasks for tasks in each_pool if tasks]

    def simulated(threads: int) -> float:
        return sum(pool_seconds(tasks, [0.0] * threads) for tasks in each_pool)

    overhead = max(0.0, seconds - simulated(parallelism))
    most = max(parallelism, *map(len, each_pool))
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
