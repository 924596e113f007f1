"""States of searches, made from a table of scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from support.search_descriptions import component, describe, grid_param, value
from trackmllib.domain.descriptions import (
    Candidate,
    Cost,
    Failure,
    FurtherMetric,
    MetricAverage,
    ParamValue,
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
from trackmllib.domain.search_state import SearchState

START = 1_700_000_000_000
FAILURE = Failure(type="ValueError", message="no\nline", traceback="", interrupted=False)
INTERRUPTED = Failure(type="KeyboardInterrupt", message="", traceback="", interrupted=True)


def describe_maps(
    maps: Sequence[Mapping[str, Any]], *, parallelism: int = 1, **changes: Any
) -> SearchDescription:
    """A description of a search by a tuner of a decision tree over these param maps."""
    candidates = [
        Candidate(
            index=index,
            params=tuple(grid_param(name, data, position=None) for name, data in each.items()),
        )
        for index, each in enumerate(maps)
    ]
    tuner = component(
        "CrossValidator" if changes.get("averaged", True) else "TrainValidationSplit",
        ParamValue(name="parallelism", value=value(parallelism), is_default=parallelism == 1),
    )
    estimator = component("DecisionTreeClassifier")
    return describe(candidates, **{"tuner": tuner, "estimator": estimator, **changes})


def searched(
    maps: Sequence[Mapping[str, Any]],
    scores: Sequence[Sequence[float | None]],
    *,
    seconds: Sequence[float] | float = 1.0,
    parallelism: int = 1,
    run_times: Sequence[int] = (),
    end: Failure | str | None = "finished",
    best: int | str | None = "first best",
    further: Mapping[str, Sequence[Sequence[float | None]]] | None = None,
    **changes: Any,
) -> SearchState:
    """Return the state of a search with these scores, a row of folds per candidate.

    A score of None is missing. ``seconds`` are the seconds of a fit and ``run_times`` its executor
    run times, by candidate. ``end`` is "finished", a failure, or None for a running search.
    ``further`` has a table like ``scores`` for each further metric; for those, larger is better
    unless ``further_metrics`` describes them.
    """
    folds = max((len(row) for row in scores), default=changes.get("folds", 3))
    changes.setdefault("folds", folds)
    further = further or {}
    changes.setdefault(
        "further_metrics",
        tuple(FurtherMetric(name=name, larger_is_better=True) for name in further),
    )
    description = describe_maps(maps, parallelism=parallelism, **changes)
    result = SearchState(SearchStarted(search_id="s", time_ms=START, description=description))
    takes = [seconds] * len(maps) if isinstance(seconds, float) else list(seconds)
    for event in _events(scores, folds, takes, parallelism, run_times, description, end, best):
        result.apply(with_metrics(event, further, averaged=description.averaged))
    return result


def _events(scores, folds, takes, parallelism, run_times, description, end, best) -> list[Event]:
    made: list[Event] = []
    clock = [START] * parallelism
    averages: dict[int, tuple[float, float | None]] = {}
    for fold in range(folds):
        clock = [max(clock)] * parallelism
        for index, row in enumerate(scores):
            if fold >= len(row) or row[fold] is None:
                continue
            thread = clock.index(min(clock))
            where = {"search_id": "s", "candidate": index, "fold": fold}
            made.append(FitStarted(**where, time_ms=clock[thread], thread=thread))
            clock[thread] += round(1000 * takes[index])
            fit, evaluate = takes[index] * 0.8, takes[index] * 0.2
            made.append(
                FitScored(
                    **where,
                    time_ms=clock[thread],
                    score=row[fold],
                    fit_seconds=fit,
                    evaluate_seconds=evaluate,
                )
            )
            if run_times:
                cost = Cost(executor_run_time=run_times[index], num_jobs=3)
                made.append(FitCostMeasured(**where, time_ms=clock[thread], cost=cost))
            if fold == folds - 1 and None not in row:
                averages[index] = _average(row, description.averaged)
                average, deviation = averages[index]
                made.append(
                    CandidateScored(
                        search_id="s",
                        time_ms=clock[thread],
                        candidate=index,
                        average=average,
                        deviation=deviation,
                    )
                )
    now = max(clock)
    if isinstance(end, Failure):
        missing = next((i for i, row in enumerate(scores) if None in row), None)
        if missing is not None and not end.interrupted:
            where = {"search_id": "s", "candidate": missing, "fold": scores[missing].index(None)}
            made.append(FitStarted(**where, time_ms=now))
            made.append(FitFailed(**where, time_ms=now + 10, failure=end))
        made.append(SearchFailed(search_id="s", time_ms=now + 20, failure=end))
    elif end is not None:
        won = _winner(averages, description.larger_is_better) if best == "first best" else best
        if won is not None:
            made.append(RefitStarted(search_id="s", time_ms=now, best=won))
        spread = tuple(deviation for _, deviation in averages.values())
        made.append(
            SearchFinished(
                search_id="s",
                time_ms=now + 1000,
                refit_seconds=1.0,
                averages=tuple(average for average, _ in averages.values()),
                deviations=spread if description.averaged else None,
                best=won,
            )
        )
    return made


def with_metrics(
    event: Event, further: Mapping[str, Sequence[Sequence[float | None]]], *, averaged: bool = True
) -> Event:
    """The event of a score or an average with the further metrics."""
    if isinstance(event, FitScored):
        values = {name: table[event.candidate][event.fold] for name, table in further.items()}
        metrics = tuple((name, value) for name, value in values.items() if value is not None)
        return replace(event, metrics=metrics, metrics_seconds=0.5 if further else None)
    if isinstance(event, CandidateScored):
        rows = {name: table[event.candidate] for name, table in further.items()}
        averages = {name: _average(row, averaged) for name, row in rows.items() if None not in row}
        metrics = tuple(
            (name, MetricAverage(average=mean, deviation=spread))
            for name, (mean, spread) in averages.items()
        )
        return replace(event, metric_averages=metrics)
    return event


def _average(row: Sequence[float], averaged: bool) -> tuple[float, float | None]:
    if not averaged:
        return row[0], None
    mean = math.fsum(row) / len(row)
    return mean, math.sqrt(math.fsum((each - mean) ** 2 for each in row) / len(row))


def _winner(averages: Mapping[int, tuple[float, float | None]], larger: bool | None) -> int | None:
    """Choose as numpy's argmax and argmin do: the first NaN, else the first of the best."""
    found = [average for average, _ in averages.values()]
    for index, average in enumerate(found):
        if math.isnan(average):
            return index
    return found.index(max(found) if larger is not False else min(found)) if found else None
