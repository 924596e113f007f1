"""The files of a search become its table again, equal to the one that they were written from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trackmllib.events import (
    Candidate,
    Component,
    Cost,
    Failure,
    GridSetting,
    ParamSetting,
    Place,
    SearchDescription,
    SearchStarted,
    Value,
)
from trackmllib.options.children import ALL
from trackmllib.search_result import CandidateResult, Cell, SearchResult


def search_result(search_json: str, outcome_json: str | None = None) -> SearchResult:
    """The table of a search from the texts of its files; without ``outcome.json``, which comes with
    its end, as it stood before its first fit.

    The params of its components are back as far as they are not default; tracebacks are not.
    ValueError where a file is not what we write.
    """
    try:
        result = SearchResult(_started(json.loads(search_json)))
        if outcome_json is not None:
            _fill(result, json.loads(outcome_json))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"these are not the files of a search: {error!r}") from error
    return result


def _started(data: Mapping[str, Any]) -> SearchStarted:
    place = data.get("inside_of")
    params = {param["key"]: param for param in data["grid"]["params"]}
    return SearchStarted(
        search_id=data["search_id"],
        time_ms=round(datetime.fromisoformat(data["started"]).timestamp() * 1000),
        parent=None if place is None else Place(**place),
        # Not there before there was a choice.
        children=data.get("children", ALL),
        description=SearchDescription(
            tuner=_component(data["tuner"]),
            estimator=None if data["estimator"] is None else _component(data["estimator"]),
            evaluator=None if data["evaluator"] is None else _component(data["evaluator"]),
            metric=data["metric"],
            larger_is_better=data["larger_is_better"],
            averaged=data["averaged"],
            folds=data["folds"],
            candidates=tuple(
                _candidate(candidate, params) for candidate in data["grid"]["candidates"]
            ),
            schema=tuple((column["name"], column["type"]) for column in data["schema"]),
            versions=tuple(data["versions"].items()),
            application_id=data["application_id"],
        ),
    )


def _candidate(data: Mapping[str, Any], params: Mapping[str, Mapping[str, Any]]) -> Candidate:
    texts = data.get("texts", {})
    return Candidate(
        index=data["candidate"],
        settings=tuple(
            GridSetting(
                name=params[key]["name"],
                owner=params[key]["stage"],
                owner_class=params[key]["stage_class"],
                owner_position=params[key]["stage_position"],
                value=Value(text=texts.get(key, str(value)), data=value),
            )
            for key, value in data["params"].items()
        ),
    )


def _component(data: Mapping[str, Any]) -> Component:
    module, _, class_name = data["class"].rpartition(".")
    return Component(
        class_name=class_name,
        module=module,
        uid=data["uid"],
        params=tuple(
            ParamSetting(
                name=name,
                value=Value(text=str(value), data=value),
                is_default=name not in data["not_default"],
            )
            for name, value in data["params"].items()
        ),
        stages=tuple(_component(stage) for stage in data.get("stages", ())),
    )


def _fill(result: SearchResult, data: Mapping[str, Any]) -> None:
    result.start_ms = data["started_ms"]
    result.end_ms = data["ended_ms"]
    result.failure = _failure(data["error"])
    result.best = data["best"]
    result.refit_seconds = data["refit_seconds"]
    result.cost = _cost(data["cost"])
    for entry in data["candidates"]:
        result.candidates[entry["candidate"]] = CandidateResult(
            cells={cell["fold"]: _cell(cell) for cell in entry["cells"]},
            average=_number(entry["average"]),
            deviation=_number(entry["deviation"]),
            status=entry["status"],
            measured=entry["measured"],
        )
    result.count()


def _cell(data: Mapping[str, Any]) -> Cell:
    return Cell(
        start_ms=data["started_ms"],
        thread=data["thread"],
        end_ms=data["ended_ms"],
        score=_number(data["score"]),
        fit_seconds=data["fit_seconds"],
        evaluate_seconds=data["evaluate_seconds"],
        failure=_failure(data["error"]),
        cost=_cost(data["cost"]),
        # Of cells that were taken up.
        taken_ms=data.get("taken_up_ms"),
        taken_from=data.get("taken_from"),
        taken_from_run=data.get("taken_from_run"),
    )


def _failure(data: Mapping[str, Any] | None) -> Failure | None:
    return None if data is None else Failure(traceback="", **data)


def _cost(data: Mapping[str, int] | None) -> Cost | None:
    return None if data is None else Cost.of_names(data)


def _number(number: float | str | None) -> float | None:
    return None if number is None else float(number)
