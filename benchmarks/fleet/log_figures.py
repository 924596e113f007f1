"""Figures from a gateway's log: durations, waits, and returns after an outage."""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from benchmarks.fleet.gateway import BAD_GATEWAY, TOO_MANY, LoggedRequest

WINDOW_SECONDS = 0.1


class Outage(NamedTuple):
    """When the server was killed, and when it answered again."""

    since: float
    until: float


def figures_of(
    log: Sequence[LoggedRequest], rate: float, away: Outage | None = None
) -> dict[str, float]:
    """Return the figures of a log; a late return of a driver does not count as outage."""
    passed = sorted(
        (it for it in log if it.status not in (TOO_MANY, BAD_GATEWAY)), key=lambda it: it.answered
    )
    came = sorted(it.came for it in log)
    figures: dict[str, float] = {}
    back = None
    if away is not None:
        first = min((it for it in passed if it.came > away.since), key=lambda it: it.came)
        back = first.answered
        returned = _came_back(log, first.came)
        figures["away_seconds"] = away.until - away.since
        figures["herd"] = most_within(returned, WINDOW_SECONDS)
        figures["back_in_first_second"] = sum(it < first.came + 1.0 for it in returned)
        figures["most_in_100_ms"] = most_within(
            [it for it in came if first.came <= it <= back + 5.0], WINDOW_SECONDS
        )
    seconds = passed[-1].answered - came[0] - figures.get("away_seconds", 0.0)
    times = {
        who: [min(it.came for it in log if it.who == who), *answered]
        for who, answered in _answers(passed).items()
    }
    took = [answered[-1] - came[0] for answered in times.values()]
    gaps = [_longest_gap(answered, back) for answered in times.values()]
    if away is not None:
        returns = [_first_after(answered, away.until) for answered in times.values()]
        figures["return_seconds"] = max(returns)
        figures["late_seconds"] = max(returns) - figures["away_seconds"]
    return {
        "requests": len(passed),
        "refused": sum(it.status == TOO_MANY for it in log),
        "not_passed_on": sum(it.status == BAD_GATEWAY for it in log),
        "seconds": seconds,
        "time_ratio": seconds * rate / len(passed),
        "at_server": sum(it.served for it in passed) / seconds,
        "longest_gap_seconds": max(gaps),
        "median_gap_seconds": statistics.median(gaps),
        "last_over_median": max(took) / statistics.median(took),
        "last_over_first": max(took) / min(took),
        **figures,
    }


def _answers(passed: Sequence[LoggedRequest]) -> dict[str, list[float]]:
    """Return the times of the answers by driver."""
    times = defaultdict(list)
    for seen in passed:
        times[seen.who].append(seen.answered)
    return times


def _came_back(log: Sequence[LoggedRequest], first: float) -> list[float]:
    """Return the time of each driver's first request after the server's return at ``first``."""
    times: dict[str, float] = {}
    for seen in log:
        if seen.came >= first and seen.status != BAD_GATEWAY:
            times[seen.who] = min(seen.came, times.get(seen.who, seen.came))
    return sorted(times.values())


def _longest_gap(answered: Sequence[float], back: float | None) -> float:
    """Return the longest time without an answer, except during the outage."""
    return max(
        after - before
        for before, after in pairwise(answered)
        if back is None or not before < back <= after
    )


def _first_after(answered: Sequence[float], back: float) -> float:
    """Return the seconds from the server's return to a driver's; 0 if the driver had ended."""
    return next((it - back for it in answered if it >= back), 0.0)


def most_within(times: Sequence[float], window: float) -> int:
    """Return the maximum number of sorted times in a window of this length."""
    ends = (bisect_left(times, time + window) for time in times)
    return max((end - place for place, end in enumerate(ends)), default=0)
