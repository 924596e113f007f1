"""Events of searches that never ran, at the present time."""

from __future__ import annotations

import dataclasses
import itertools
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from support.search_descriptions import FOLDS, describe, one_param
from support.search_states import with_metrics
from trackmllib.domain.descriptions import (
    Cost,
    Failure,
    FurtherMetric,
    MetricAverage,
    ParentFit,
    SearchDescription,
)
from trackmllib.domain.events import (
    CandidateScored,
    Event,
    FitCostMeasured,
    FitFailed,
    FitScored,
    FitStarted,
    RefitStarted,
    SearchFailed,
    SearchFinished,
    SearchStarted,
)

FAILURE = Failure(type="ValueError", message="no\nline", traceback="trace", interrupted=False)
COST = Cost(executor_run_time=12, executor_cpu_time=3_000_000, num_jobs=2, num_complete_tasks=4)


# Scores of four candidates on two folds, and their averages; candidates 1 and 2 are the best.
SCORES = [[0.1, 0.2], [0.8, 0.9], [0.8, 0.9], [0.3, 0.3]]
AVERAGES = [0.15, 0.85, 0.85, 0.3]
# Values of params that are hard to show.
ODD_TEXTS = ("<b>&", "😀", "\x1b[31m\x00\n", "x" * 5000, "\u202eright to left")


def now() -> int:
    return time.time_ns() // 1_000_000


def started(
    description: SearchDescription, search_id: str = "", parent: ParentFit | None = None
) -> SearchStarted:
    return SearchStarted(
        search_id=search_id or str(uuid.uuid4()),
        time_ms=now(),
        description=description,
        parent=parent,
    )


def fold_fit(
    search_id: str,
    candidate: int,
    fold: int,
    score: float,
    cost: bool = True,
    metrics: Sequence[FurtherMetric] = (),
):
    """The events of one fit, with different seconds for each fit."""
    where: dict[str, Any] = {"search_id": search_id, "candidate": candidate, "fold": fold}
    yield FitStarted(**where, time_ms=now())
    yield FitScored(
        **where,
        time_ms=now(),
        score=score,
        fit_seconds=0.1 + candidate / 3,
        evaluate_seconds=0.2 + fold / 7,
        metrics=tuple((each.name, score / (2 + at)) for at, each in enumerate(metrics)),
        metrics_seconds=0.5 if metrics else None,
    )
    if cost:
        costs = dataclasses.replace(COST, executor_run_time=7 * candidate + fold)
        yield FitCostMeasured(**where, time_ms=now(), cost=costs)


def search(
    scores: Sequence[Sequence[float]],
    averages: Sequence[float],
    best: int,
    *,
    search_id: str = "",
    parent: ParentFit | None = None,
    stop: int | None = None,
    further: Mapping[str, Sequence[Sequence[float | None]]] | None = None,
    **changes: Any,
) -> Iterator[Event]:
    """The events of a search with these scores by candidate and fold, or the first ``stop``.

    ``further`` has a table like ``scores`` for each of ``further_metrics``.
    """
    candidates = changes.pop("candidates", one_param(*range(len(scores))))
    begin = started(describe(candidates, len(scores[0]), **changes), search_id, parent)
    events = _events(begin, scores, averages, best)
    if further is not None:
        events = (with_metrics(event, further) for event in events)
    return itertools.islice(events, stop)


def further_average(average: float, averaged: bool) -> MetricAverage:
    return MetricAverage(average=average, deviation=0.125 if averaged else None)


def _events(
    begin: SearchStarted, scores: Sequence[Sequence[float]], averages: Sequence[float], best: int
) -> Iterator[Event]:
    search_id, averaged = begin.search_id, begin.description.averaged
    deviations = [0.01 * (index + 1) for index in range(len(scores))]
    yield begin
    folds = len(scores[0])
    for fold in range(folds):
        for index, of_candidate in enumerate(scores):
            metrics = begin.description.further_metrics
            yield from fold_fit(search_id, index, fold, of_candidate[fold], metrics=metrics)
            if fold == folds - 1:
                yield CandidateScored(
                    search_id=search_id,
                    time_ms=now(),
                    candidate=index,
                    average=averages[index],
                    deviation=deviations[index] if averaged else None,
                    metric_averages=tuple(
                        (each.name, further_average(averages[index] / (2 + at), averaged))
                        for at, each in enumerate(metrics)
                    ),
                )
    yield RefitStarted(search_id=search_id, time_ms=now(), best=best)
    yield SearchFinished(
        search_id=search_id,
        time_ms=now(),
        refit_seconds=1.5,
        averages=tuple(averages),
        deviations=tuple(deviations) if averaged else None,
        best=best,
    )


def failing(search_id: str = "", **changes: Any) -> Iterator[Event]:
    """The events of three candidates: one scored, one failed, one not started."""
    begin = started(describe(one_param(1, 2, 3), 2, **changes), search_id)
    where: dict[str, Any] = {"search_id": begin.search_id}
    yield begin
    yield from fold_fit(begin.search_id, 0, 0, 0.5)
    yield FitStarted(**where, time_ms=now(), candidate=1, fold=0)
    yield FitFailed(**where, time_ms=now(), candidate=1, fold=0, failure=FAILURE)
    yield SearchFailed(**where, time_ms=now(), failure=FAILURE)


def numbered_search(search_id: str, candidates: int) -> Iterator[Event]:
    """The events of a search in the order of Spark's loop."""

    def now() -> int:
        return time.time_ns() // 1_000_000

    yield SearchStarted(search_id=search_id, time_ms=now(), description=describe(candidates))
    scores = [(i * 7919 % candidates) / candidates for i in range(candidates)]
    for fold in range(FOLDS):
        for i in range(candidates):
            where = {"search_id": search_id, "candidate": i}
            yield FitStarted(**where, time_ms=now(), fold=fold)
            yield FitScored(
                **where,
                time_ms=now(),
                fold=fold,
                score=scores[i],
                fit_seconds=0.123456789,
                evaluate_seconds=0.0123456789,
            )
            if fold == FOLDS - 1:
                yield CandidateScored(**where, time_ms=now(), average=scores[i], deviation=0.0)
    yield SearchFinished(
        search_id=search_id,
        time_ms=now(),
        refit_seconds=1.0,
        averages=tuple(scores),
        deviations=(0.0,) * candidates,
        best=scores.index(max(scores)),
    )
