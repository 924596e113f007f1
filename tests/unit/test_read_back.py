"""The files of a search become its table again."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made import description
from trackmllib.cli import words
from trackmllib.cli.show import as_data, in_words
from trackmllib.events import (
    Candidate,
    CandidateScored,
    CellCosted,
    CellFailed,
    CellScored,
    CellStarted,
    Component,
    Cost,
    Failure,
    GridSetting,
    Place,
    RefitStarted,
    SearchCosted,
    SearchFailed,
    SearchFinished,
    SearchStarted,
    Value,
)
from trackmllib.loading import Loaded
from trackmllib.names import GridNames
from trackmllib.recorder import files, read_back
from trackmllib.search_result import SearchResult
from trackmllib.tracking.reading import StoredRun
from trackmllib.view.results import Results

COST = Cost(executor_run_time=12, executor_cpu_time=3_000_000, num_jobs=2, num_complete_tasks=4)
FAILURE = Failure(type="ValueError", message="no\nline", traceback="", interrupted=False)


def played(*events, **changes) -> SearchResult:
    started = SearchStarted(
        search_id="s",
        time_ms=1_700_000_000_123,
        description=dataclasses.replace(description(3), **{"folds": 2, **changes}),
        parent=Place(search_id="outer", candidate=1, fold=0),
    )
    result = SearchResult(started)
    for event in events:
        result.apply(event)
    return result


def cell(candidate, fold, score=0.5, thread=0):
    where = {"search_id": "s", "time_ms": 1_700_000_001_000 + fold, "candidate": candidate}
    yield CellStarted(**where, fold=fold, thread=thread)
    yield CellScored(
        **where, fold=fold, score=score, fit_seconds=0.1 + 0.2, evaluate_seconds=5e-324
    )


def finished():
    return played(
        *cell(0, 0, 0.1),
        *cell(1, 0, math.nan, thread=1),
        *cell(2, 0, -math.inf),
        CellCosted(search_id="s", time_ms=5, candidate=0, fold=0, cost=COST),
        *cell(0, 1, 0.2),
        CandidateScored(search_id="s", time_ms=6, candidate=0, average=0.15, deviation=0.05),
        RefitStarted(search_id="s", time_ms=7, best=0),
        SearchCosted(search_id="s", time_ms=8, cost=COST + COST),
        SearchFinished(
            search_id="s",
            time_ms=1_700_000_009_000,
            refit_seconds=1.5,
            averages=(0.15, math.nan, -math.inf),
            deviations=(0.05, math.nan, math.nan),
            best=0,
        ),
    )


def failed():
    return played(
        *cell(0, 0),
        CellStarted(search_id="s", time_ms=3, candidate=1, fold=0),
        CellFailed(search_id="s", time_ms=4, candidate=1, fold=0, failure=FAILURE),
        SearchFailed(search_id="s", time_ms=1_700_000_009_000, failure=FAILURE),
    )


def table(result: SearchResult) -> str:
    """All that is in it; NaN is equal to NaN in words."""
    hidden = ("description", "closed_at_end", "changed_at_end", "best_at_refit")
    kept = {name: value for name, value in vars(result).items() if name not in hidden}
    return repr({**kept, "candidates": sorted(kept["candidates"].items())})


def back(result: SearchResult) -> SearchResult:
    grid = GridNames(result.description.candidates)
    return read_back.search_result(
        files.search_json(result, grid), "".join(files.outcome_json(result))
    )


@pytest.mark.parametrize("made", [finished, failed])
def test_the_table_is_back_to_the_last_bit(made):
    assert table(back(made())) == table(made())


def test_without_an_outcome_the_search_stands_as_it_began():
    result = finished()
    grid = GridNames(result.description.candidates)
    begun = read_back.search_result(files.search_json(result, grid))
    assert begun.candidates == {}
    assert begun.end_ms is None
    assert begun.start_ms == result.start_ms


def test_the_description_is_back_with_its_grid():
    stage = Component(class_name="Tokenizer", module="m", uid="T_1")
    settings = [
        GridSetting(
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
        Candidate(index=index, settings=(settings[0], varied))
        for index, varied in enumerate(settings[1:])
    )
    result = played(candidates=candidates, larger_is_better=None)
    found = back(result).description
    assert found.candidates == candidates
    for field in ("metric", "larger_is_better", "averaged", "folds", "schema", "versions"):
        assert getattr(found, field) == getattr(result.description, field)
    for part in ("tuner", "estimator", "evaluator"):
        assert getattr(found, part).label == getattr(result.description, part).label


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{}", "search.json is damaged: grid is missing"),
        ("[]", r"search.json is damaged: it is \[\], but must be an object"),
        ("not JSON", "search.json is damaged: it is not JSON"),
        ('{"grid": 1}', "search.json is damaged: grid is 1, but must be an object"),
        ("[" * 100_000, "search.json is damaged: it is nested too deeply"),
        ("1" * 5000, "search.json is damaged: it is not JSON"),
    ],
)
def test_foreign_file_is_rejected_with_reason(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_back.search_result(text)


def written(result: SearchResult) -> tuple[Any, Any]:
    """Both files of a search, parsed."""
    grid = GridNames(result.description.candidates)
    outcome = "".join(files.outcome_json(result))
    return json.loads(files.search_json(result, grid)), json.loads(outcome)


DEEP = "[" * 400 + "]" * 400


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (("folds",), "3", "folds is '3', but must be a whole number from 0 to 10,000"),
        (("folds",), 10**9, "folds is 1000000000, but must be a whole number"),
        (("folds",), True, "folds is True, but must be a whole number"),
        (("averaged",), 1, "averaged is 1, but must be true or false"),
        (("started",), "0001-01-01", "started is '0001-01-01', but must be a time of ISO 8601"),
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
    search, _ = written(finished())
    put(search, place, value)
    with pytest.raises(ValueError, match=f"^its search.json is damaged: .*{sentence}"):
        read_back.search_result(json.dumps(search))


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
            ("candidates", 0, "cells", 1, "fold"),
            10**9,
            r"cells\[1\].fold is 1000000000, but",
        ),
        (
            ("candidates", 0, "cells", 0, "thread"),
            -1,
            r"cells\[0\].thread is -1, but must be",
        ),
        (
            ("candidates", 0, "cells", 0, "cost"),
            {"numJobs": 1.5},
            "cost.numJobs is 1.5, but must",
        ),
    ],
)
def test_message_locates_damage_in_outcome_json(place, value, sentence):
    search, outcome = written(finished())
    put(outcome, place, value)
    with pytest.raises(ValueError, match=f"^its outcome.json is damaged: .*{sentence}"):
        read_back.search_result(json.dumps(search), json.dumps(outcome))


def test_folds_times_candidates_are_bounded():
    """The code that shows a search iterates over all of them, whether they have data or not."""
    search, _ = written(played(**{"candidates": tuple(description(5_000).candidates)}))
    search["folds"] = 9_000
    with pytest.raises(ValueError, match="folds is 9000, but must be a whole number from 0 to 200"):
        read_back.search_result(json.dumps(search))


def test_averages_beyond_the_grid_are_left_out():
    search, outcome = written(finished())
    outcome["candidates"].append({**outcome["candidates"][0], "candidate": 3})
    result = read_back.search_result(json.dumps(search), json.dumps(outcome))
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


WRITTEN = [written(made()) for made in (finished, failed)]
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
            result = read_back.search_result(*texts)
        except ValueError as error:
            sentence = str(error)
        else:
            show(result)
            sentence = ""
        assert re.fullmatch(r"(its (search|outcome)\.json is damaged: .{1,300})?", sentence), (
            sentence
        )


def show(result: SearchResult) -> None:
    """Show a result in every form that needs neither a server nor matplotlib."""
    results = Results(result)
    assert results.answer
    assert repr(results)
    loaded = Loaded(main=RUN, results=results)
    lines = in_words(loaded, 50)
    assert len(lines) >= len(result.description.candidates)
    json.loads(words.as_json(as_data(loaded)))
    files.results_csv(result, results.grid)
    files.search_json(result, results.grid)
    "".join(files.outcome_json(result))


RUN = StoredRun(
    run_id="r",
    name="n",
    experiment_id="0",
    status="FINISHED",
    start_ms=1,
    end_ms=2,
    artifact_uri="",
)
