"""Reader that restores the state of a search from its artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from trackmllib.config.children import ALL
from trackmllib.domain.descriptions import (
    Candidate,
    Component,
    Cost,
    Failure,
    FurtherMetric,
    GridParam,
    MetricAverage,
    ParamValue,
    ParentFit,
    SearchDescription,
    SharedStages,
    Value,
)
from trackmllib.domain.events import SearchStarted, StagesComputed
from trackmllib.domain.search_state import CandidateResult, FoldFit, SearchState, Status
from trackmllib.recorder import artifacts
from trackmllib.support import json_validation as kinds
from trackmllib.support.json_validation import InvalidValue, Kind, member, optional_member

T = TypeVar("T")

# More than any search has. Limits of damaged files, because reports iterate over all folds.
MOST_FOLDS = 10_000
MAX_FITS = 1_000_000

_INDEX = kinds.integer(0, MAX_FITS)
_FOLD = kinds.integer(0, MOST_FOLDS - 1)
_AMOUNT = kinds.integer(0, 2**63)
_STATUS: Kind[Status] = kinds.one_of("RUNNING", "FINISHED", "FAILED", "KILLED")


def read_state(search_json: str, outcome_json: str | None = None) -> SearchState:
    """Read the state of a search, without default params and tracebacks.

    Without ``outcome.json``, which is logged at the end, it is the state before the first fit.

    :raises ValueError: An artifact is damaged; the message says which one, where and why.
    """
    state = SearchState(_read_file(artifacts.SEARCH, search_json, _started))
    if outcome_json is not None:
        _read_file(artifacts.OUTCOME, outcome_json, lambda data: _fill(state, data))
    return state


def most_folds(candidates: int) -> int:
    """Highest number of folds for a number of candidates."""
    return min(MOST_FOLDS, MAX_FITS // max(candidates, 1))


def _read_file(name: str, text: str, read: Kind[T]) -> T:
    try:
        return read(kinds.parse(text))
    except InvalidValue as damage:
        raise ValueError(
            f"its {name} is damaged, or another version of trackmllib wrote it: {damage}"
        ) from damage


def _started(data: Any) -> SearchStarted:
    candidates = member(data, "grid", _candidates)
    description = SearchDescription(
        tuner=member(data, "tuner", _component),
        estimator=member(data, "estimator", kinds.or_null(_component)),
        evaluator=member(data, "evaluator", kinds.or_null(_component)),
        metric=member(data, "metric", kinds.string),
        larger_is_better=member(data, "larger_is_better", kinds.or_null(kinds.boolean)),
        averaged=member(data, "averaged", kinds.boolean),
        folds=member(data, "folds", kinds.integer(0, most_folds(len(candidates)))),
        candidates=candidates,
        schema=tuple(member(data, "schema", kinds.list_of(_column))),
        versions=tuple(member(data, "versions", kinds.mapping_of(kinds.string)).items()),
        application_id=member(data, "application_id", kinds.or_null(kinds.string)),
        further_metrics=tuple(
            optional_member(data, "further_metrics", kinds.list_of(_further_metric), [])
        ),
        parallel_folds=member(data, "parallel_folds", kinds.boolean),
        shared=tuple(member(data, "shared_stages", kinds.list_of(_shared))),
        nested_fits=tuple(member(data, "nested_fits", kinds.list_of(_shared))),
    )
    return SearchStarted(
        search_id=member(data, "search_id", kinds.string),
        time_ms=member(data, "started", kinds.iso_time_ms),
        parent=optional_member(data, "inside_of", kinds.or_null(_parent), None),
        # Missing in files of older versions.
        children=optional_member(data, "children", kinds.string, ALL),
        description=description,
    )


def _parent(data: Any) -> ParentFit:
    return ParentFit(
        search_id=member(data, "search_id", kinds.string),
        candidate=optional_member(data, "candidate", kinds.or_null(_INDEX), None),
        fold=optional_member(data, "fold", kinds.or_null(_FOLD), None),
        refit=optional_member(data, "refit", kinds.boolean, False),
    )


def _further_metric(data: Any) -> FurtherMetric:
    return FurtherMetric(
        name=member(data, "name", kinds.string),
        larger_is_better=member(data, "larger_is_better", kinds.or_null(kinds.boolean)),
    )


def _shared(data: Any) -> SharedStages:
    return SharedStages(
        stages=tuple(member(data, "stages", kinds.list_of(kinds.string))),
        candidates=tuple(member(data, "candidates", kinds.list_of(_INDEX))),
    )


def _column(data: Any) -> tuple[str, str]:
    return member(data, "name", kinds.string), member(data, "type", kinds.string)


def _candidates(data: Any) -> tuple[Candidate, ...]:
    params = dict(member(data, "params", kinds.list_of(_param)))
    found = member(data, "candidates", kinds.list_of(lambda each: _candidate(each, params)))
    for place, candidate in enumerate(found):
        if candidate.index != place:
            raise InvalidValue(f"is {candidate.index}, but must be {place}").inside(
                f".candidates[{place}].candidate"
            )
    return tuple(found)


def _param(data: Any) -> tuple[str, dict[str, Any]]:
    """Key of a param of the grid, and the fields that its values share."""
    return member(data, "key", kinds.string), {
        "name": member(data, "name", kinds.string),
        "owner": member(data, "stage", kinds.string),
        "owner_class": member(data, "stage_class", kinds.string),
        "owner_position": member(data, "stage_position", kinds.or_null(kinds.string)),
    }


def _candidate(data: Any, params: Mapping[str, Mapping[str, Any]]) -> Candidate:
    no_texts: dict[str, str] = {}
    texts = optional_member(data, "texts", kinds.mapping_of(kinds.string), no_texts)
    values = member(data, "params", kinds.mapping_of(kinds.anything))
    for key in values:
        if key not in params:
            invalid = InvalidValue("is not a param of the grid").inside_member(key)
            raise invalid.inside(".params")
    return Candidate(
        index=member(data, "candidate", _INDEX),
        params=tuple(
            GridParam(**params[key], value=Value(text=texts.get(key, str(value)), data=value))
            for key, value in values.items()
        ),
    )


def _component(data: Any, depth: int = 0) -> Component:
    if depth > kinds.MAX_DEPTH:
        raise InvalidValue("is nested too deeply")
    module, _, class_name = member(data, "class", kinds.string).rpartition(".")
    not_default = set(member(data, "not_default", kinds.list_of(kinds.string)))
    return Component(
        class_name=class_name,
        module=module,
        uid=member(data, "uid", kinds.string),
        params=tuple(
            ParamValue(
                name=name,
                value=Value(text=str(value), data=value),
                is_default=name not in not_default,
            )
            for name, value in member(data, "params", kinds.mapping_of(kinds.anything)).items()
        ),
        stages=tuple(
            optional_member(
                data, "stages", kinds.list_of(lambda each: _component(each, depth + 1)), []
            )
        ),
    )


def _fill(state: SearchState, data: Any) -> None:
    grid = len(state.description.candidates)
    state.start_ms = member(data, "started_ms", kinds.time_ms)
    state.end_ms = member(data, "ended_ms", kinds.or_null(kinds.time_ms))
    state.failure = member(data, "error", kinds.or_null(_failure))
    state.best = member(data, "best", kinds.or_null(kinds.integer(0, grid - 1)))
    state.refit_seconds = member(data, "refit_seconds", kinds.or_null(kinds.seconds))
    state.cost = member(data, "cost", kinds.or_null(_cost))
    work = kinds.list_of(lambda each: _work(each, state.search_id))
    state.shared_work = member(data, "shared_work", work)
    found = dict(member(data, "candidates", kinds.list_of(_result)))
    # A subclass may have averages of more candidates than are in its grid.
    state.candidates.update((index, one) for index, one in found.items() if index < grid)
    state.count()
    if state.folds > most_folds(grid):
        raise InvalidValue(f"has {state.folds:,} folds for {grid:,} candidates")


def _work(data: Any, search_id: str) -> StagesComputed:
    return StagesComputed(
        search_id=search_id,
        time_ms=member(data, "ended_ms", kinds.time_ms),
        fold=member(data, "fold", _FOLD),
        shared=_shared(data),
        seconds=member(data, "seconds", kinds.seconds),
        start_ms=member(data, "started_ms", kinds.time_ms),
        thread=member(data, "thread", _INDEX),
    )


def _result(data: Any) -> tuple[int, CandidateResult]:
    return member(data, "candidate", _INDEX), CandidateResult(
        fits=dict(member(data, "fits", _FITS)),
        average=member(data, "average", _NUMBER),
        deviation=member(data, "deviation", _NUMBER),
        status=member(data, "status", _STATUS),
        measured=member(data, "measured", kinds.boolean),
        metrics=optional_member(data, "metrics", kinds.mapping_of(_metric_average), {}),
    )


def _metric_average(data: Any) -> MetricAverage:
    numbers = kinds.list_of(_NUMBER)(data)
    if len(numbers) != 2 or numbers[0] is None:
        raise InvalidValue.of(data, "an average and a deviation")
    return MetricAverage(average=numbers[0], deviation=numbers[1])


def _fit(data: Any) -> tuple[int, FoldFit]:
    start_ms = member(data, "started_ms", kinds.time_ms)
    end_ms = member(data, "ended_ms", _TIME)
    reused_ms = optional_member(data, "reused_ms", _TIME, None)
    whole = [] if end_ms is None or reused_ms is not None else [(start_ms, end_ms)]
    return member(data, "fold", _FOLD), FoldFit(
        start_ms=start_ms,
        thread=member(data, "thread", _INDEX),
        end_ms=end_ms,
        attempts=tuple(optional_member(data, "attempts", kinds.list_of(_attempt), whole)),
        shares_work=optional_member(data, "shares_work", kinds.boolean, False),
        score=member(data, "score", _NUMBER),
        fit_seconds=member(data, "fit_seconds", _SECONDS),
        evaluate_seconds=member(data, "evaluate_seconds", _SECONDS),
        failure=member(data, "error", _FAILURE),
        cost=member(data, "cost", _COST),
        metrics=optional_member(data, "metrics", kinds.mapping_of(kinds.number), {}),
        metrics_seconds=optional_member(data, "metrics_seconds", _SECONDS, None),
        derived_from=optional_member(data, "derived_from", kinds.or_null(_INDEX), None),
        reused_ms=reused_ms,
        reused_from=optional_member(data, "reused_from", _TEXT, None),
        reused_from_run=optional_member(data, "reused_from_run", _TEXT, None),
    )


def _attempt(data: Any) -> tuple[int, int]:
    times = kinds.list_of(kinds.time_ms)(data)
    if len(times) != 2 or times[0] > times[1]:
        raise InvalidValue.of(data, "a start and an end")
    return times[0], times[1]


def _failure(data: Any) -> Failure:
    return Failure(
        type=member(data, "type", kinds.string),
        message=member(data, "message", kinds.string),
        traceback="",
        interrupted=member(data, "interrupted", kinds.boolean),
    )


def _cost(data: Any) -> Cost:
    return Cost.of_names(kinds.mapping_of(_AMOUNT)(data))


# Created once, because a large search has tens of thousands of fits.
_NUMBER = kinds.or_null(kinds.number)
_SECONDS = kinds.or_null(kinds.seconds)
_TEXT = kinds.or_null(kinds.string)
_TIME = kinds.or_null(kinds.time_ms)
_FAILURE = kinds.or_null(_failure)
_COST = kinds.or_null(_cost)
_FITS = kinds.list_of(_fit)
