"""The files of a search become its table again, equal to the one that they were written from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from trackmllib import json_kinds as kinds
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
from trackmllib.json_kinds import Damaged, Kind, member, member_or
from trackmllib.options.children import ALL
from trackmllib.recorder import files
from trackmllib.search_result import CandidateResult, Cell, SearchResult, Status

T = TypeVar("T")

# More than any search has. The code that shows a search iterates over all folds and cells, whether
# they have data or not.
MOST_FOLDS = 10_000
MOST_CELLS = 1_000_000

_INDEX = kinds.whole(0, MOST_CELLS)
_FOLD = kinds.whole(0, MOST_FOLDS - 1)
_AMOUNT = kinds.whole(0, 2**63)
_STATUS: Kind[Status] = kinds.one_of("RUNNING", "FINISHED", "FAILED", "KILLED")


def search_result(search_json: str, outcome_json: str | None = None) -> SearchResult:
    """The table of a search from the texts of its files; without ``outcome.json``, which comes with
    its end, as it stood before its first fit.

    The params of its components are back as far as they are not default; tracebacks are not.
    ValueError if a file is not one that trackmllib writes; its text names the file, the place and
    the reason.
    """
    result = SearchResult(_of_file(files.SEARCH, search_json, _started))
    if outcome_json is not None:
        _of_file(files.OUTCOME, outcome_json, lambda data: _fill(result, data))
    return result


def most_folds(candidates: int) -> int:
    """The most folds that a search with this number of candidates may have."""
    return min(MOST_FOLDS, MOST_CELLS // max(candidates, 1))


def _of_file(name: str, text: str, read: Kind[T]) -> T:
    try:
        return read(kinds.parsed(text))
    except Damaged as damage:
        raise ValueError(f"its {name} is damaged: {damage}") from damage


def _started(data: Any) -> SearchStarted:
    candidates = member(data, "grid", _candidates)
    description = SearchDescription(
        tuner=member(data, "tuner", _component),
        estimator=member(data, "estimator", kinds.or_null(_component)),
        evaluator=member(data, "evaluator", kinds.or_null(_component)),
        metric=member(data, "metric", kinds.text),
        larger_is_better=member(data, "larger_is_better", kinds.or_null(kinds.flag)),
        averaged=member(data, "averaged", kinds.flag),
        folds=member(data, "folds", kinds.whole(0, most_folds(len(candidates)))),
        candidates=candidates,
        schema=tuple(member(data, "schema", kinds.list_of(_column))),
        versions=tuple(member(data, "versions", kinds.mapping_of(kinds.text)).items()),
        application_id=member(data, "application_id", kinds.or_null(kinds.text)),
    )
    return SearchStarted(
        search_id=member(data, "search_id", kinds.text),
        time_ms=member(data, "started", kinds.iso_time_ms),
        parent=member_or(data, "inside_of", kinds.or_null(_place), None),
        # Not there before there was a choice.
        children=member_or(data, "children", kinds.text, ALL),
        description=description,
    )


def _place(data: Any) -> Place:
    return Place(
        search_id=member(data, "search_id", kinds.text),
        candidate=member_or(data, "candidate", kinds.or_null(_INDEX), None),
        fold=member_or(data, "fold", kinds.or_null(_FOLD), None),
        refit=member_or(data, "refit", kinds.flag, False),
    )


def _column(data: Any) -> tuple[str, str]:
    return member(data, "name", kinds.text), member(data, "type", kinds.text)


def _candidates(data: Any) -> tuple[Candidate, ...]:
    params = dict(member(data, "params", kinds.list_of(_param)))
    found = member(data, "candidates", kinds.list_of(lambda each: _candidate(each, params)))
    for place, candidate in enumerate(found):
        if candidate.index != place:
            raise Damaged(f"is {candidate.index}, but must be {place}").inside(
                f".candidates[{place}].candidate"
            )
    return tuple(found)


def _param(data: Any) -> tuple[str, dict[str, Any]]:
    """A param of the grid: its key, and the fields that all its settings share."""
    return member(data, "key", kinds.text), {
        "name": member(data, "name", kinds.text),
        "owner": member(data, "stage", kinds.text),
        "owner_class": member(data, "stage_class", kinds.text),
        "owner_position": member(data, "stage_position", kinds.or_null(kinds.text)),
    }


def _candidate(data: Any, params: Mapping[str, Mapping[str, Any]]) -> Candidate:
    no_texts: dict[str, str] = {}
    texts = member_or(data, "texts", kinds.mapping_of(kinds.text), no_texts)
    values = member(data, "params", kinds.mapping_of(kinds.anything))
    for key in values:
        if key not in params:
            raise Damaged("is not a param of the grid").inside(
                f".params.{key[: kinds.LONGEST_KEY]}"
            )
    return Candidate(
        index=member(data, "candidate", _INDEX),
        settings=tuple(
            GridSetting(**params[key], value=Value(text=texts.get(key, str(value)), data=value))
            for key, value in values.items()
        ),
    )


def _component(data: Any, depth: int = 0) -> Component:
    if depth > kinds.DEEPEST:
        raise Damaged("is nested too deeply")
    module, _, class_name = member(data, "class", kinds.text).rpartition(".")
    not_default = set(member(data, "not_default", kinds.list_of(kinds.text)))
    return Component(
        class_name=class_name,
        module=module,
        uid=member(data, "uid", kinds.text),
        params=tuple(
            ParamSetting(
                name=name,
                value=Value(text=str(value), data=value),
                is_default=name not in not_default,
            )
            for name, value in member(data, "params", kinds.mapping_of(kinds.anything)).items()
        ),
        stages=tuple(
            member_or(data, "stages", kinds.list_of(lambda each: _component(each, depth + 1)), [])
        ),
    )


def _fill(result: SearchResult, data: Any) -> None:
    grid = len(result.description.candidates)
    result.start_ms = member(data, "started_ms", kinds.time_ms)
    result.end_ms = member(data, "ended_ms", kinds.or_null(kinds.time_ms))
    result.failure = member(data, "error", kinds.or_null(_failure))
    result.best = member(data, "best", kinds.or_null(kinds.whole(0, grid - 1)))
    result.refit_seconds = member(data, "refit_seconds", kinds.or_null(kinds.seconds))
    result.cost = member(data, "cost", kinds.or_null(_cost))
    found = dict(member(data, "candidates", kinds.list_of(_became)))
    # A subclass may have averages of more candidates than its grid has.
    result.candidates.update((index, one) for index, one in found.items() if index < grid)
    result.count()
    if result.folds > most_folds(grid):
        raise Damaged(f"has {result.folds:,} folds for {grid:,} candidates")


def _became(data: Any) -> tuple[int, CandidateResult]:
    return member(data, "candidate", _INDEX), CandidateResult(
        cells=dict(member(data, "cells", _CELLS)),
        average=member(data, "average", _NUMBER),
        deviation=member(data, "deviation", _NUMBER),
        status=member(data, "status", _STATUS),
        measured=member(data, "measured", kinds.flag),
    )


def _cell(data: Any) -> tuple[int, Cell]:
    return member(data, "fold", _FOLD), Cell(
        start_ms=member(data, "started_ms", kinds.time_ms),
        thread=member(data, "thread", _INDEX),
        end_ms=member(data, "ended_ms", _TIME),
        score=member(data, "score", _NUMBER),
        fit_seconds=member(data, "fit_seconds", _SECONDS),
        evaluate_seconds=member(data, "evaluate_seconds", _SECONDS),
        failure=member(data, "error", _FAILURE),
        cost=member(data, "cost", _COST),
        # Of cells that were taken up.
        taken_ms=member_or(data, "taken_up_ms", _TIME, None),
        taken_from=member_or(data, "taken_from", _TEXT, None),
        taken_from_run=member_or(data, "taken_from_run", _TEXT, None),
    )


def _failure(data: Any) -> Failure:
    return Failure(
        type=member(data, "type", kinds.text),
        message=member(data, "message", kinds.text),
        traceback="",
        interrupted=member(data, "interrupted", kinds.flag),
    )


def _cost(data: Any) -> Cost:
    return Cost.of_names(kinds.mapping_of(_AMOUNT)(data))


# Made once, because a search of ten thousand candidates reads each of them fifty thousand times.
_NUMBER = kinds.or_null(kinds.number)
_SECONDS = kinds.or_null(kinds.seconds)
_TEXT = kinds.or_null(kinds.text)
_TIME = kinds.or_null(kinds.time_ms)
_FAILURE = kinds.or_null(_failure)
_COST = kinds.or_null(_cost)
_CELLS = kinds.list_of(_cell)
