"""States of running searches, rebuilt from their runs."""

from __future__ import annotations

import math

import pytest
from mlflow import MlflowClient

import trackmllib
from support.search_descriptions import describe, one_param
from support.search_events import failing, search, started
from support.stored_search import live_rows, loaded_rows, parent_run_id, runs_of
from trackmllib.cli import main
from trackmllib.domain.descriptions import FurtherMetric
from trackmllib.domain.events import (
    FitScored,
    FitStarted,
    RefitStarted,
    SearchFailed,
)
from trackmllib.domain.ranking import best
from trackmllib.reporting import table
from trackmllib.tracking.client import CANDIDATE, SEARCH_ID

pytestmark = pytest.mark.versions


NAN, INF = math.nan, math.inf
SCORES = [[0.1, 0.2], [0.8, 0.9], [0.8, 0.9], [0.3, 0.3]]


AVERAGES = [0.15, 0.85, 0.85, 0.3]


@pytest.mark.parametrize("after", range(1, 28, 3))
@pytest.mark.parametrize("metrics", [(), (FurtherMetric(name="accuracy"),)])
def test_state_of_running_search_equals_live_state(player, after, metrics):
    events = search(SCORES, AVERAGES, 1, stop=after, further_metrics=metrics)
    search_id = player.play(events)
    results = trackmllib.load_results(parent_run_id(player, search_id), player.uri)
    assert loaded_rows(results) == live_rows(player, search_id)
    assert results.search.status == "RUNNING"
    live_table = player.tables[search_id]
    assert results.search.fits_finished == live_table.fits_finished
    assert results.search.candidates_finished == live_table.candidates_finished
    assert best(results.search) == best(live_table)


@pytest.mark.parametrize(
    ("key", "value", "step"),
    [
        ("weightedPrecision", 0.5, 10**9),
        ("weightedPrecision", 0.5, -1),
        ("fit_seconds", NAN, 0),
        ("fit_seconds", 1e300, 0),
        ("evaluate_seconds", -1.0, 0),
        ("spark.numJobs", INF, 0),
        ("spark.numJobs", NAN, 1),
    ],
)
def test_forged_points_of_running_search_are_ignored(player, key, value, step):
    search_id = player.play(search(SCORES, AVERAGES, 1, stop=19))
    client = MlflowClient(tracking_uri=player.uri)
    client.log_metric(runs_of(player, search_id)[0].info.run_id, key, value, step=step)
    client.log_metric(parent_run_id(player, search_id), "fits_finished", value, step=step)
    forged = {SEARCH_ID: search_id, CANDIDATE: str(10**9)}
    client.create_run(player.experiment_id, tags=forged)
    results = trackmllib.load_results(search_id, player.uri)
    assert results.search.folds == 2
    assert len(table.rows(results.search, results.grid, results.runs)) == 4
    assert repr(results)


def parallel():
    """Events of three candidates on two folds, two fits at a time."""
    begin = started(describe(one_param(1, 2, 3), 2))
    yield begin
    # Candidate, fold, start and end in seconds.
    for candidate, fold, start, end in (
        *((0, 0, 0, 4), (1, 0, 0, 1), (2, 0, 1, 3)),
        *((0, 1, 5, 6), (1, 1, 5, 8), (2, 1, 6, 7)),
    ):
        where = {"search_id": begin.search_id, "candidate": candidate, "fold": fold}
        at = begin.time_ms + 1000 * start
        yield FitStarted(**where, time_ms=at, thread=0)
        yield FitScored(
            **where,
            time_ms=begin.time_ms + 1000 * end,
            score=0.5,
            fit_seconds=0.75 * (end - start),
            evaluate_seconds=0.25 * (end - start),
        )


def test_concurrent_fits_have_different_threads(player):
    search_id = player.play(parallel())
    search = trackmllib.load_results(parent_run_id(player, search_id), player.uri).search
    assert search.status == "RUNNING"
    threads = {
        (candidate, fold): one.thread
        for candidate, found in search.candidates.items()
        for fold, one in found.fits.items()
    }
    assert {threads[where] for where in threads} == {0, 1}
    for together in ([(0, 0), (1, 0)], [(0, 0), (2, 0)], [(0, 1), (1, 1)], [(1, 1), (2, 1)]):
        assert len({threads[where] for where in together}) == 2


def test_report_of_running_search_reads_only_costs_that_it_shows(player, monkeypatch):
    search_id = player.play(search(SCORES, AVERAGES, 1, stop=19))
    asked = set()
    history = MlflowClient.get_metric_history

    def seen(client, run_id, key, *others):
        asked.add(key)
        return history(client, run_id, key, *others)

    monkeypatch.setattr(MlflowClient, "get_metric_history", seen)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", player.uri)
    assert main(["report", search_id, "-o", "f.html"]) == 0
    assert {key for key in asked if key.startswith("spark.")} == {"spark.executorRunTime"}
    trackmllib.load_results(search_id, player.uri)
    assert "spark.numJobs" in asked
    assert len(asked) == 14


def test_search_without_outcome_ends_as_its_run(player):
    search_id = player.play(search(SCORES, AVERAGES, 1, stop=20))
    client = MlflowClient(tracking_uri=player.uri)
    parent = parent_run_id(player, search_id)
    client.set_terminated(parent, "KILLED")
    results = trackmllib.load_results(parent, player.uri)
    assert results.search.status == "KILLED"
    assert {found.status for found in results.search.candidates.values()} <= {"FINISHED", "KILLED"}


def test_failed_fit_of_running_search_has_its_error(player):
    events = list(failing())
    search_id = player.play(event for event in events if not isinstance(event, SearchFailed))
    results = trackmllib.load_results(parent_run_id(player, search_id), player.uri)
    assert results.search.candidates[1].fits[0].failure.summary == "ValueError: no"


def test_candidate_without_recorded_fits_has_its_average(player):
    # Without observed fits, the start of the refit is unknown too.
    events = [
        event
        for event in search(SCORES, AVERAGES, 1)
        if not (hasattr(event, "candidate") or isinstance(event, RefitStarted))
    ]
    search_id = player.play(events)
    results = trackmllib.load_results(parent_run_id(player, search_id), player.uri)
    assert loaded_rows(results) == live_rows(player, search_id)
