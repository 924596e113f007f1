"""Scores of logged models, ranks and extra tags, as operations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest

from support.search_events import failing, search
from trackmllib.domain.descriptions import Dataset
from trackmllib.domain.events import (
    Event,
    FitStarted,
    ModelLogged,
    SearchFailed,
    SearchFinished,
    SearchStarted,
)
from trackmllib.domain.operations import (
    Destination,
    LogBatch,
    LogModelMetrics,
    Operation,
    SetDescription,
    SetPrimaryMetric,
)
from trackmllib.domain.search_state import SearchState
from trackmllib.recorder.translator import Recorder
from trackmllib.testing import InMemoryStore

METRIC, AVG, STD = "weightedPrecision", "avg_weightedPrecision", "std_weightedPrecision"
SCORES = [[0.1, 0.2], [0.8, 0.9], [0.8, 0.9]]
AVERAGES = [0.15, 0.85, 0.85]


def with_models(events: Iterator[Event]) -> Iterator[Event]:
    """Events of a search that logs the model of each fit and of the refit."""
    for event in events:
        if isinstance(event, SearchFinished):
            where = {"search_id": event.search_id, "time_ms": event.time_ms}
            yield ModelLogged(**where, model_id="refit")
        yield event
        if isinstance(event, FitStarted):
            yield ModelLogged(
                search_id=event.search_id,
                time_ms=event.time_ms,
                model_id=f"{event.candidate}/{event.fold}",
                candidate=event.candidate,
                fold=event.fold,
            )


def recorded(events: Iterator[Event], **options) -> tuple[list[Operation], InMemoryStore]:
    """The operations of a search with options, and the runs that they make."""
    operations: list[Operation] = []
    store = InMemoryStore()
    for event in events:
        if isinstance(event, SearchStarted):
            event = replace(event, **options)
            state = SearchState(event)
            recorder = Recorder(Destination(tracking_uri="memory:"))
        state.apply(event)
        operations.extend(recorder.operations(event, state))
    for operation in operations:
        store.apply(operation)
    return operations, store


def links(operations: list[Operation]) -> list[LogModelMetrics]:
    return [each for each in operations if isinstance(each, LogModelMetrics)]


def scores(operations: list[Operation]) -> dict[str, dict[str, float]]:
    """The scores of each model."""
    found: dict[str, dict[str, float]] = {}
    for link in links(operations):
        values = {metric.key: metric.value for metric in link.metrics}
        found.setdefault(link.model_id, {}).update(values)
    return found


def test_models_have_points_of_their_runs():
    operations, store = recorded(with_models(search(SCORES, AVERAGES, best=1)))
    runs = {run.candidate: run for run in store.children()}
    for link in links(operations):
        for point in link.metrics:
            assert point in runs[link.candidate].metrics[point.key]
    found = scores(operations)
    assert set(found) == {"refit", "0/0", "0/1", "1/0", "1/1", "2/0", "2/1"}
    assert found["refit"] == {AVG: 0.85, STD: 0.02}
    assert found["0/1"] == {METRIC: 0.2, AVG: 0.15}
    assert [link.candidate for link in links(operations) if link.model_id == "refit"] == [1]


@pytest.mark.parametrize("children", ["all", "best:1"])
def test_model_of_refit_has_the_points_of_the_winner(children):
    events = (
        event
        for event in with_models(search(SCORES, AVERAGES, best=1))
        if not isinstance(event, ModelLogged) or event.candidate is None
    )
    operations, store = recorded(events, children=children)
    assert scores(operations) == {"refit": {AVG: 0.85, STD: 0.02}}
    (link,) = links(operations)
    (run,) = [run for run in store.children() if run.candidate == 1]
    assert all(point in run.metrics[point.key] for point in link.metrics)


def test_model_of_a_split_has_its_score_at_the_time_of_the_fit():
    events = with_models(search([[0.5], [0.25]], [0.5, 0.25], best=0, averaged=False))
    operations, store = recorded(events)
    assert scores(operations) == {
        "0/0": {METRIC: 0.5},
        "1/0": {METRIC: 0.25},
        "refit": {METRIC: 0.5},
    }
    (refit,) = [link for link in links(operations) if link.model_id == "refit"]
    assert list(refit.metrics) == store.children()[0].metrics[METRIC]


def test_nan_is_no_score_of_a_model():
    """MLflow would store 0."""
    events = with_models(search([[math.nan, 0.5]], [math.nan], best=0))
    assert scores(recorded(events)[0]) == {
        "0/1": {METRIC: 0.5},
        "refit": {STD: 0.01},
    }


def test_scores_name_the_dataset():
    dataset = Dataset(digest="0a1b", path=None)
    operations, store = recorded(with_models(search(SCORES, AVERAGES, best=1, dataset=dataset)))
    assert {link.dataset for link in links(operations)} == {("dataset", "0a1b")}
    assert {tuple(run.datasets) for run in store.children()} == {("0a1b",)}
    without, _ = recorded(with_models(search(SCORES, AVERAGES, best=1)))
    assert {link.dataset for link in links(without)} == {()}


def test_model_of_refit_is_scored_if_search_is_interrupted_after_it():
    (failed,) = [event for event in failing() if isinstance(event, SearchFailed)]

    def interrupted():
        for event in with_models(search(SCORES, AVERAGES, best=1)):
            if isinstance(event, SearchFinished):
                yield replace(failed, search_id=event.search_id, time_ms=event.time_ms)
                return
            yield event

    assert scores(recorded(interrupted())[0])["refit"] == {
        AVG: 0.85,
        STD: 0.02,
    }


@pytest.mark.parametrize("children", ["all", "best:2"])
def test_child_runs_have_their_rank_on_request(children):
    _, store = recorded(search(SCORES, AVERAGES, best=1), rank_tags=True, children=children)
    ranks = {run.candidate: run.tags["trackmllib.rank"] for run in store.children()}
    everything = {0: "3", 1: "1", 2: "1"}
    assert ranks == {index: everything[index] for index in ranks}
    assert {1, 2} <= set(ranks)
    operations, _ = recorded(search(SCORES, AVERAGES, best=1), children=children)
    tags = {key for each in operations if isinstance(each, LogBatch) for key, _ in each.tags}
    assert "trackmllib.rank" not in tags


def test_extra_tags_are_on_all_runs():
    _, store = recorded(search(SCORES, AVERAGES, best=1), extra_tags=(("team", "x"),))
    runs = [*store.parent_runs(), *store.children()]
    assert len(runs) == 4
    assert {run.tags.get("team") for run in runs} == {"x"}


def test_last_description_names_the_best():
    operations, _ = recorded(search(SCORES, AVERAGES, best=1))
    described = [each for each in operations if isinstance(each, SetDescription)]
    assert [each.best for each in described if each.is_last] == [1]


@pytest.mark.parametrize(("averaged", "key"), [(True, AVG), (False, METRIC)])
def test_primary_metric_is_set_on_request(averaged, key):
    def found(**options):
        row = [0.5, 0.5] if averaged else [0.5]
        operations, _ = recorded(search([row], [0.5], best=0, averaged=averaged), **options)
        return [each for each in operations if isinstance(each, SetPrimaryMetric)]

    (operation,) = found(primary_metric=True)
    assert (operation.key, operation.larger_is_better) == (key, True)
    assert found() == []
