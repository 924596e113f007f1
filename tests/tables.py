"""Searches from a table of scores: their events are played into a SearchResult."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from trackmllib.events import (
    Candidate,
    CandidateScored,
    CellCosted,
    CellFailed,
    CellScored,
    CellStarted,
    Component,
    Cost,
    Event,
    Failure,
    GridSetting,
    ParamSetting,
    RefitStarted,
    SearchDescription,
    SearchFailed,
    SearchFinished,
    SearchStarted,
    Value,
)
from trackmllib.search_result import SearchResult

START = 1_700_000_000_000
FAILURE = Failure(type="ValueError", message="no\nline", traceback="", interrupted=False)
INTERRUPTED = Failure(type="KeyboardInterrupt", message="", traceback="", interrupted=True)


def grid(**values: Sequence[Any]) -> list[dict[str, Any]]:
    """The param maps of a full grid, in the order of Spark's ParamGridBuilder."""
    return [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]


def value(data: Any) -> Value:
    if isinstance(data, Value):
        return data
    return Value(text=str(data), data=data)


def stage(name: str, uid: str = "1") -> Value:
    """A stage as the value of a param."""
    component = Component(class_name=name, module="m", uid=f"{name}_{uid}")
    return Value(text=component.text, data=component.to_json())


def described(
    maps: Sequence[Mapping[str, Any]], *, folds: int, parallelism: int = 1, **changes: Any
) -> SearchDescription:
    averaged = changes.get("averaged", True)

    def component(name: str, *params: ParamSetting) -> Component:
        return Component(class_name=name, module="pyspark.ml", uid=f"{name}_1", params=params)

    tuner = component(
        "CrossValidator" if averaged else "TrainValidationSplit",
        ParamSetting(name="parallelism", value=value(parallelism), is_default=parallelism == 1),
    )
    given: dict[str, Any] = {
        "tuner": tuner,
        "estimator": component("DecisionTreeClassifier"),
        "evaluator": component("MulticlassClassificationEvaluator"),
        "metric": "weightedPrecision",
        "larger_is_better": True,
        "averaged": True,
        "folds": folds,
        "candidates": tuple(
            Candidate(
                index=index,
                settings=tuple(
                    GridSetting(
                        name=name,
                        owner="DecisionTreeClassifier_1",
                        owner_class="DecisionTreeClassifier",
                        owner_position=None,
                        value=value(data),
                    )
                    for name, data in each.items()
                ),
            )
            for index, each in enumerate(maps)
        ),
        "schema": (("features", "vector"), ("label", "double")),
        "versions": (("version", "0"),),
        "application_id": None,
    }
    return SearchDescription(**{**given, **changes})


def searched(
    maps: Sequence[Mapping[str, Any]],
    scores: Sequence[Sequence[float | None]],
    *,
    seconds: Sequence[float] | float = 1.0,
    parallelism: int = 1,
    run_times: Sequence[int] = (),
    end: Failure | str | None = "finished",
    best: int | str | None = "first best",
    **changes: Any,
) -> SearchResult:
    """A search whose candidates have these scores, a row of folds each; None: not scored.

    ``seconds`` is how long a cell of each candidate takes; ``end`` is how it ended, a failure, or
    None while it still runs; ``run_times`` are the executor run times of a cell, by candidate.
    """
    folds = max((len(row) for row in scores), default=changes.get("folds", 3))
    changes.setdefault("folds", folds)
    description = described(maps, parallelism=parallelism, **changes)
    result = SearchResult(SearchStarted(search_id="s", time_ms=START, description=description))
    takes = [seconds] * len(maps) if isinstance(seconds, float) else list(seconds)
    for event in _events(scores, folds, takes, parallelism, run_times, description, end, best):
        result.apply(event)
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
            made.append(CellStarted(**where, time_ms=clock[thread], thread=thread))
            clock[thread] += round(1000 * takes[index])
            fit, evaluate = takes[index] * 0.8, takes[index] * 0.2
            made.append(
                CellScored(
                    **where,
                    time_ms=clock[thread],
                    score=row[fold],
                    fit_seconds=fit,
                    evaluate_seconds=evaluate,
                )
            )
            if run_times:
                cost = Cost(executor_run_time=run_times[index], num_jobs=3)
                made.append(CellCosted(**where, time_ms=clock[thread], cost=cost))
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
            made.append(CellStarted(**where, time_ms=now))
            made.append(CellFailed(**where, time_ms=now + 10, failure=end))
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


def _average(row: Sequence[float], averaged: bool) -> tuple[float, float | None]:
    if not averaged:
        return row[0], None
    mean = math.fsum(row) / len(row)
    return mean, math.sqrt(math.fsum((each - mean) ** 2 for each in row) / len(row))


def _winner(averages: Mapping[int, tuple[float, float | None]], larger: bool | None) -> int | None:
    """As numpy's argmax and argmin take it: the first NaN, else the first of the best."""
    found = [average for average, _ in averages.values()]
    for index, average in enumerate(found):
        if math.isnan(average):
            return index
    return found.index(max(found) if larger is not False else min(found)) if found else None
