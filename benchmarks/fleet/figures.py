"""What the log of a fleet's gateway says: how long it took, who waited, who came back when."""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from benchmarks.fleet.gateway import BAD_GATEWAY, TOO_MANY, Seen

WINDOW_SECONDS = 0.1


class Away(NamedTuple):
    """When the server was killed, and when it answered again to whoever had started it."""

    since: float
    until: float


def figures_of(log: Sequence[Seen], rate: float, away: Away | None = None) -> dict[str, float]:
    """What a gateway's log says. How late drivers come back counts as theirs, not as ``away``."""
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


def _answers(passed: Sequence[Seen]) -> dict[str, list[float]]:
    """When each driver got its answers."""
    times = defaultdict(list)
    for seen in passed:
        times[seen.who].append(seen.answered)
    return times


def _came_back(log: Sequence[Seen], first: float) -> list[float]:
    """When each driver sent its first request to a server that was there again from ``first``."""
    times: dict[str, float] = {}
    for seen in log:
        if seen.came >= first and seen.status != BAD_GATEWAY:
            times[seen.who] = min(seen.came, times.get(seen.who, seen.came))
    return sorted(times.values())


def _longest_gap(answered: Sequence[float], back: float | None) -> float:
    """The longest time without an answer, but for the one in which the server came back."""
    return max(
        after - before
        for before, after in pairwise(answered)
        if back is None or not before < back <= after
    )


def _first_after(answered: Sequence[float], back: float) -> float:
    """How long after the server a driver was back; 0 for one that had ended before."""
    return next((it - back for it in answered if it >= back), 0.0)


def most_within(times: Sequence[float], window: float) -> int:
    """The most of sorted times that lie in any stretch of this length."""
    ends = (bisect_left(times, time + window) for time in times)
    return max((end - place for place, end in enumerate(ends)), default=0)
