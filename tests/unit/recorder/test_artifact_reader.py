"""Reading the artifacts of a search restores its state."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.search_descriptions import describe
from trackmllib.cli import json_output
from trackmllib.cli.show import as_data, as_lines
from trackmllib.domain import further_metrics
from trackmllib.domain.descriptions import (
    Candidate,
    Component,
    Cost,
    Failure,
    FurtherMetric,
    GridParam,
    MetricAverage,
    ParentFit,
    SharedStages,
    Value,
)
from trackmllib.domain.events import (
    CandidateScored,
    FitCostMeasured,
    FitFailed,
    FitRetried,
    FitScored,
    FitStarted,
    RefitStarted,
    SearchCostMeasured,
    SearchFailed,
    SearchFinished,
    SearchStarted,
    StagesComputed,
)
from trackmllib.domain.search_state import SearchState
from trackmllib.domain.thread_work import busy_intervals
from trackmllib.history.run_reader import StoredRun
from trackmllib.history.search_loader import LoadedSearch
from trackmllib.recorder import artifact_reader, artifacts
from trackmllib.reporting.results import Results
from trackmllib.support.formatting import visible

DAMAGED = "is damaged, or another version of trackmllib wrote it"

COST = Cost(executor_run_time=12, executor_cpu_time=3_000_000, num_jobs=2, num_complete_tasks=4)
FAILURE = Failure(type="ValueError", message="no\nline", traceback="", interrupted=False)


def state_after(*events, **changes) -> SearchState:
    started = SearchStarted(
        search_id="s",
        time_ms=1_700_000_000_123,
        description=dataclasses.replace(describe(3), **{"folds": 2, **changes}),
        parent=ParentFit(search_id="outer", candidate=1, fold=0),
    )
    result = SearchState(started)
    for event in events:
        result.apply(event)
    return result


def fold_fit(candidate, fold, score=0.5, thread=0, metrics=()):
    where = {"search_id": "s", "time_ms": 1_700_000_001_000 + fold, "candidate": candidate}
    yield FitStarted(**where, fold=fold, thread=thread)
    yield FitScored(
        **where,
        fold=fold,
        score=score,
        fit_seconds=0.1 + 0.2,
        evaluate_seconds=5e-324,
        metrics=tuple(metrics),
        metrics_seconds=0.7 if metrics else None,
    )


def finished():
    return state_after(
        *fold_fit(0, 0, 0.1),
        *fold_fit(1, 0, math.nan, thread=1),
        *fold_fit(2, 0, -math.inf),
        FitCostMeasured(search_id="s", time_ms=5, candidate=0, fold=0, cost=COST),
        *fold_fit(0, 1, 0.2),
        CandidateScored(search_id="s", time_ms=6, candidate=0, average=0.15, deviation=0.05),
        RefitStarted(search_id="s", time_ms=7, best=0),
        SearchCostMeasured(search_id="s", time_ms=8, cost=COST + COST),
        SearchFinished(
            search_id="s",
            time_ms=1_700_000_009_000,
            refit_seconds=1.5,
            averages=(0.15, math.nan, -math.inf),
            deviations=(0.05, math.nan, math.nan),
            best=0,
        ),
    )


def with_further_metrics():
    described = (
        FurtherMetric(name="f1", larger_is_better=True),
        FurtherMetric(name="train_mine"),
        FurtherMetric(name="logLoss", larger_is_better=False),
    )
    averages = (
        ("f1", MetricAverage(average=0.1 + 0.2, deviation=0.0)),
        ("train_mine", MetricAverage(average=math.nan, deviation=math.nan)),
        ("logLoss", MetricAverage(average=math.inf)),
    )
    return state_after(
        *fold_fit(0, 0, metrics=[("f1", 0.1 + 0.2), ("train_mine", math.nan), ("logLoss", 1.5)]),
        *fold_fit(1, 0, metrics=[("f1", -math.inf)]),
        *fold_fit(0, 1, metrics=[("f1", 0.1 + 0.2), ("train_mine", 5e-324), ("logLoss", math.inf)]),
        CandidateScored(
            search_id="s",
            time_ms=6,
            candidate=0,
            average=0.5,
            deviation=0.0,
            metric_averages=averages,
        ),
        RefitStarted(search_id="s", time_ms=7, best=0),
        further_metrics=described,
    )


def failed():
    return state_after(
        *fold_fit(0, 0),
        FitStarted(search_id="s", time_ms=3, candidate=1, fold=0),
        FitFailed(search_id="s", time_ms=4, candidate=1, fold=0, failure=FAILURE),
        SearchFailed(search_id="s", time_ms=1_700_000_009_000, failure=FAILURE),
    )


def as_text(result: SearchState) -> str:
    """The whole state as text, in which NaN equals NaN."""
    hidden = ("description", "closed_at_end", "changed_at_end", "best_at_refit", "_threads")
    kept = {name: value for name, value in vars(result).items() if name not in hidden}
    return repr({**kept, "candidates": sorted(kept["candidates"].items())})


def restored(result: SearchState) -> SearchState:
    return artifact_reader.read_state(
        artifacts.search_json(result), "".join(artifacts.outcome_json(result))
    )


def with_shared_work():
    nested = SharedStages(stages=("DecisionTreeClassifier",), candidates=(0, 1))
    where = {"search_id": "s", "candidate": 2, "fold": 0}
    return state_after(
        StagesComputed(
            search_id="s",
            time_ms=1_700_000_000_900,
            fold=0,
            shared=nested,
            seconds=0.1 + 0.2,
            start_ms=1_700_000_000_500,
            thread=7,
        ),
        FitStarted(**where, time_ms=1_700_000_000_200, thread=9),
        FitRetried(**where, time_ms=1_700_000_000_300, tries=1, failure=FAILURE),
        FitScored(
            **where,
            time_ms=1_700_000_000_900,
            start_ms=1_700_000_000_600,
            score=0.5,
            fit_seconds=0.2,
            evaluate_seconds=0.1,
            shares_work=True,
        ),
        nested_fits=(nested,),
        parallel_folds=True,
    )


def test_busy_threads_are_restored():
    result = with_shared_work()
    found = restored(result)
    assert list(busy_intervals(found)) == list(busy_intervals(result))
    assert len(list(busy_intervals(found))) == 3
    assert found.shared_seconds == 0.1 + 0.2
    assert not found.candidates[2].has_own_cost
    assert found.description.nested_fits == result.description.nested_fits
    assert found.description.parallel_folds


@pytest.mark.parametrize("made", [finished, with_further_metrics, failed])
def test_state_is_restored_to_the_last_bit(made):
    assert as_text(restored(made())) == as_text(made())


def test_search_json_alone_restores_the_state_at_the_start():
    result = finished()
    begun = artifact_reader.read_state(artifacts.search_json(result))
    assert begun.candidates == {}
    assert begun.end_ms is None
    assert begun.start_ms == result.start_ms


def test_description_is_restored_with_its_grid():
    stage = Component(class_name="Tokenizer", module="m", uid="T_1")
    settings = [
        GridParam(
            name="x",
            owner=owner,
            owner_class="Stub",
            owner_position=position,
            value=value,
        )
        for owner, position, value in (
            ("a", "0", Value(text="Tokenizer", data=stage.to_json())),
            ("b", "1", Value(text="0.1", data=0.1)),
            ("b", "1", Value(text="True", data=True)),
            ("b", "1", Value(text="one [two]", data="one [two]")),
        )
    ]
    candidates = tuple(
        Candidate(index=index, params=(settings[0], varied))
        for index, varied in enumerate(settings[1:])
    )
    further = (FurtherMetric(name="f1", larger_is_better=True), FurtherMetric(name="mine"))
    result = state_after(candidates=candidates, larger_is_better=None, further_metrics=further)
    found = restored(result).description
    assert found.further_metrics == further
    assert found.candidates == candidates
    for field in ("metric", "larger_is_better", "averaged", "folds", "schema", "versions"):
        assert getattr(found, field) == getattr(result.description, field)
    for part in ("tuner", "estimator", "evaluator"):
        assert getattr(found, part).label == getattr(result.description, part).label


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{}", rf"search.json {DAMAGED}: grid is missing"),
        ("[]", rf"search.json {DAMAGED}: it is \[\], but must be an object"),
        ("not JSON", rf"search.json {DAMAGED}: it is not JSON"),
        ('{"grid": 1}', rf"search.json {DAMAGED}: grid is 1, but must be an object"),
        ("[" * 100_000, rf"search.json {DAMAGED}: it is nested too deeply"),
        ("1" * 5000, rf"search.json {DAMAGED}: it is not JSON"),
    ],
)
def test_foreign_file_is_rejected_with_reason(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        artifact_reader.read_state(text)


def artifacts_of(result: SearchState) -> tuple[Any, Any]:
    """Both artifacts of a search, parsed."""
    outcome = "".join(artifacts.outcome_json(result))
    return json.loads(artifacts.search_json(result)), json.loads(outcome)


DEEP = "[" * 400 + "]" * 400


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (("folds",), "3", "folds is '3', but must be a whole number from 0 to 10,000"),
        (("folds",), 10**9, "folds is 1000000000, but must be a whole number"),
        (("folds",), True, "folds is True, but must be a whole number"),
        (("averaged",), 1, "averaged is 1, but must be true or false"),
        (("started",), "0001-01-01", "started is '0001-01-01', but must be an ISO 8601 time"),
        (("grid", "candidates", 1, "candidate"), 10**9, r"candidates\[1\].candidate is 1000000000"),
        (
            ("grid", "candidates", 1, "candidate"),
            2,
            r"].candidate is 2, but must be 1",
        ),
        (
            ("grid", "candidates", 1, "params"),
            {"x": 1},
            r"candidates\[1\].params.x is not a param of the grid",
        ),
        (("grid", "candidates", 1, "params"), None, "params is None, but must be an object"),
        (("tuner", "params"), {"x": json.loads(DEEP)}, "tuner.params.x is nested too deeply"),
    ],
)
def test_message_locates_damage_in_search_json(place, value, sentence):
    search, _ = artifacts_of(finished())
    put(search, place, value)
    with pytest.raises(ValueError, match=f"^its search.json {DAMAGED}: .*{sentence}"):
        artifact_reader.read_state(json.dumps(search))


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (("best",), 10**9, "best is 1000000000, but must be a whole number from 0 to 2"),
        (("started_ms",), 10**20, "started_ms is 1000.*, but must be a time"),
        (("refit_seconds",), 1e300, r"refit_seconds is 1e\+300, but must be a number of seconds"),
        (("error",), "no", "error is 'no', but must be an object"),
        (
            ("candidates", 0, "status"),
            "odd",
            "status is 'odd', but must be one of",
        ),
        (
            ("candidates", 0, "average"),
            10**400,
            "average is 1000.*, but must be a number",
        ),
        (
            ("candidates", 0, "fits", 1, "fold"),
            10**9,
            r"fits\[1\].fold is 1000000000, but",
        ),
        (
            ("candidates", 0, "fits", 0, "thread"),
            -1,
            r"fits\[0\].thread is -1, but must be",
        ),
        (
            ("candidates", 0, "fits", 0, "cost"),
            {"numJobs": 1.5},
            "cost.numJobs is 1.5, but must",
        ),
        (("candidates", 0, "metrics"), {"f1": [0.5]}, "an average and a deviation"),
        (("candidates", 0, "fits", 0, "metrics"), {"f1": None}, "metrics.f1 is None, but must be"),
    ],
)
def test_message_locates_damage_in_outcome_json(place, value, sentence):
    search, outcome = artifacts_of(finished())
    put(outcome, place, value)
    with pytest.raises(ValueError, match=f"^its outcome.json {DAMAGED}: .*{sentence}"):
        artifact_reader.read_state(json.dumps(search), json.dumps(outcome))


def test_number_of_fits_is_bounded():
    """Reports iterate over all fits, with or without data."""
    search, _ = artifacts_of(state_after(**{"candidates": tuple(describe(5_000).candidates)}))
    search["folds"] = 9_000
    with pytest.raises(ValueError, match="folds is 9000, but must be a whole number from 0 to 200"):
        artifact_reader.read_state(json.dumps(search))


def test_averages_beyond_the_grid_are_ignored():
    search, outcome = artifacts_of(finished())
    outcome["candidates"].append({**outcome["candidates"][0], "candidate": 3})
    result = artifact_reader.read_state(json.dumps(search), json.dumps(outcome))
    assert sorted(result.candidates) == [0, 1, 2]


def put(data: Any, place: tuple[str | int, ...], value: Any) -> None:
    for part in place[:-1]:
        data = data[part]
    data[place[-1]] = value


def places(data: Any) -> Iterator[tuple[str | int, ...]]:
    """The place of every value in a parsed file."""
    inner = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in inner:
        yield (key,)
        if isinstance(value, (dict, list)):
            yield from ((key, *place) for place in places(value))


WRITTEN = [artifacts_of(made()) for made in (finished, with_further_metrics, failed)]
PLACES = [
    (number, file, place)
    for number, pair in enumerate(WRITTEN)
    for file, data in enumerate(pair)
    for place in places(data)
]
GONE = object()
HUGE = st.sampled_from([10**9, 10**15, 10**30, -1, 10**400, 1e300, math.inf, math.nan, "9" * 400])
NESTED = st.sampled_from([DEEP, "[" * 90 + "]" * 90]).map(json.loads)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | HUGE | NESTED,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PLACES), anything | st.just(GONE))
@example((0, 0, ("grid", "candidates", 1, "texts")), {"\n\x1b[31m": None})
@example((0, 0, ("grid", "candidates", 1, "params")), {"\n\x1b[31m": 1})
def test_damaged_search_is_rejected_or_shown(where, value):
    number, file, place = where
    pair = copy.deepcopy(WRITTEN[number])
    put(pair[file], place, value)
    if value is GONE:
        inside = pair[file]
        for part in place[:-1]:
            inside = inside[part]
        del inside[place[-1]]
    for texts in (map(json.dumps, pair), [json.dumps(pair[0])]):
        try:
            result = artifact_reader.read_state(*texts)
        except ValueError as error:
            sentence = str(error)
        else:
            show(result)
            sentence = ""
        expected = rf"(its (search|outcome)\.json {DAMAGED}: .{{1,300}})?"
        assert re.fullmatch(expected, sentence), sentence
        assert sentence == visible(sentence, len(sentence))


def show(result: SearchState) -> None:
    """Show a result in every form that needs neither a server nor matplotlib."""
    results = Results(result)
    assert results.answer
    assert repr(results)
    loaded = LoadedSearch(parent_run=RUN, results=results)
    for metric in (None, *further_metrics.names(result.description)):
        assert len(as_lines(loaded, 50, metric)) >= len(result.description.candidates)
        json.loads(json_output.dumps(as_data(loaded, metric)))
    artifacts.results_csv(result)
    artifacts.search_json(result)
    "".join(artifacts.outcome_json(result))


RUN = StoredRun(
    run_id="r",
    name="n",
    experiment_id="0",
    status="FINISHED",
    start_ms=1,
    end_ms=2,
    artifact_uri="",
)
