"""The files of a search become its table again."""

from __future__ import annotations

import dataclasses
import math

import pytest

from made import description
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
from trackmllib.names import GridNames
from trackmllib.recorder import files, read_back
from trackmllib.search_result import SearchResult

COST = Cost(executor_run_time=12, executor_cpu_time=3_000_000, num_jobs=2, num_complete_tasks=4)
FAILURE = Failure(type="ValueError", message="no\nline", traceback="", interrupted=False)


def played(*events, **changes) -> SearchResult:
    started = SearchStarted(
        search_id="s",
        time_ms=1_700_000_000_123,
        description=dataclasses.replace(description(3), folds=2, **changes),
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


@pytest.mark.parametrize("text", ["{}", "[]", "not JSON", '{"search_id": 1}'])
def test_other_files_are_refused_with_a_sentence(text):
    with pytest.raises(ValueError, match="not the files of a search"):
        read_back.search_result(text)
