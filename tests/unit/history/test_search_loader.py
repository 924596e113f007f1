"""Searches that are loaded from a server, compared with the live ones."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import time
import uuid

import mlflow
import pytest
from mlflow import MlflowClient

import trackmllib
from support.search_descriptions import describe, one_param
from support.search_events import failing, fold_fit, search, started
from support.search_player import Player
from support.stored_search import live_rows, loaded_rows, parent_run_id, runs_of
from trackmllib import UnknownSearch
from trackmllib.domain.descriptions import FurtherMetric, ParentFit
from trackmllib.domain.events import (
    CandidateScored,
)
from trackmllib.domain.ranking import ranked

pytestmark = pytest.mark.versions


NAN, INF = math.nan, math.inf


SCORES = [[0.1, 0.2], [0.8, 0.9], [0.8, 0.9], [0.3, 0.3]]


AVERAGES = [0.15, 0.85, 0.85, 0.3]


METRICS = (
    FurtherMetric(name="accuracy", larger_is_better=True),
    FurtherMetric(name="train_weightedPrecision", larger_is_better=True),
)
CASES = {
    "a finished one": lambda: search(SCORES, AVERAGES, 1),
    "not finite": lambda: search(
        [[NAN, 0.5], [INF, 1.0], [-INF, 1.0], [0.5, 0.5]], [NAN, INF, -INF, 0.5], 0
    ),
    "smaller is better": lambda: search(SCORES, AVERAGES, 0, larger_is_better=False, metric="rmse"),
    "a split": lambda: search([[0.5], [NAN], [0.7]], [0.5, NAN, 0.7], 1, averaged=False),
    "further metrics": lambda: search(SCORES, AVERAGES, 1, further_metrics=METRICS),
    "a split with further metrics": lambda: search(
        [[0.5], [0.7]], [0.5, 0.7], 1, averaged=False, further_metrics=METRICS
    ),
    "a failed one": failing,
    "odd values": lambda: search(
        [[0.1, 0.2]] * 5,
        [0.15] * 5,
        0,
        candidates=one_param("<b>&", "😀", "\x1b[31m\x00", "x" * 5000, [1.5, None]),
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ended", [True, False])
def test_loaded_state_equals_live_state(player, case, ended):
    events = list(CASES[case]())
    # Without its last event a search is put together from its child runs.
    search_id = player.play(events if ended else events[:-1])
    results = trackmllib.load_results(parent_run_id(player, search_id), player.uri)
    assert loaded_rows(results) == live_rows(player, search_id)
    assert results.search.status == player.tables[search_id].status
    assert results.search.best == player.tables[search_id].best
    assert ranked(results.search) == ranked(player.tables[search_id])
    assert results.runs.parent == parent_run_id(player, search_id)
    assert results.runs.tracking_uri == player.uri
    assert results.runs.experiment_id == player.experiment_id


def test_searches_of_one_run_are_loaded_by_id(player):
    client = MlflowClient(tracking_uri=player.uri)
    player.active = client.create_run(player.experiment_id).info.run_id
    first = player.play(search(SCORES, AVERAGES, 1))
    second = player.play(search([[0.4, 0.5]], [0.45], 0))
    third = player.play(failing())
    running = player.play(search(SCORES, AVERAGES, 1, stop=12))
    for search_id in (first, second, third, running):
        for text in (search_id, search_id[:13]):
            results = trackmllib.load_results(player.active, player.uri, search_id=text)
            assert results.search.search_id == search_id
            assert loaded_rows(results) == live_rows(player, search_id)
            assert results.search.status == player.tables[search_id].status
    newest = trackmllib.load_results(player.active, player.uri)
    assert newest.search.search_id == running
    child = next(iter(runs_of(player, second).values())).info.run_id
    assert trackmllib.load_results(child, player.uri).search.search_id == second
    with pytest.raises(
        UnknownSearch, match=f"matches no search of run {player.active}; it has .*{second}"
    ):
        trackmllib.load_results(player.active, player.uri, search_id="nothing")
    with pytest.raises(UnknownSearch, match="matches several searches"):
        trackmllib.load_results(player.active, player.uri, search_id="")


def test_values_of_the_user_under_our_names_are_ignored(player):
    client = MlflowClient(tracking_uri=player.uri)
    player.active = client.create_run(player.experiment_id).info.run_id
    client.log_param(player.active, "candidates", "of the user")
    client.log_text(player.active, "{}", "trackmllib/search.json")
    search_id = player.play(search(SCORES, AVERAGES, 1))
    results = trackmllib.load_results(player.active, player.uri, search_id=search_id)
    assert loaded_rows(results) == live_rows(player, search_id)


def test_nested_search_is_loaded_from_its_own_run(player):
    outer = started(describe(one_param(1, 2), 2), "")
    inside = ParentFit(search_id=outer.search_id, candidate=0, fold=0)
    inner = list(search(SCORES, AVERAGES, 1, parent=inside))
    fits = list(fold_fit(outer.search_id, 0, 0, 0.5))
    player.play([outer, fits[0], *inner, *fits[1:]])
    (inner_id,) = {event.search_id for event in inner}
    for search_id in (outer.search_id, inner_id):
        results = trackmllib.load_results(parent_run_id(player, search_id), player.uri)
        assert loaded_rows(results) == live_rows(player, search_id)
        assert results.search.parent == player.tables[search_id].parent


def test_search_is_loaded_from_a_server(server_uri, tmp_path):
    client = MlflowClient(tracking_uri=server_uri)
    experiment = client.create_experiment(f"loading {uuid.uuid4()}")
    player = Player(tmp_path, server_uri, experiment)
    done = player.play(search(SCORES, AVERAGES, 1))
    running = player.play(
        itertools.takewhile(
            lambda event: not isinstance(event, CandidateScored),
            search([[NAN, INF], [0.5, -INF]], [NAN, 0.5], 0),
        )
    )
    for search_id in (done, running):
        results = trackmllib.load_results(parent_run_id(player, search_id)[:12], server_uri)
        assert loaded_rows(results) == live_rows(player, search_id)
        assert results.runs.page(1).endswith(results.runs.children[1])


def test_default_tracking_uri_is_that_of_mlflow(player):
    search_id = player.play(search(SCORES, AVERAGES, 1))
    mlflow.set_tracking_uri(player.uri)
    assert trackmllib.load_results(search_id).search.search_id == search_id


def test_import_loads_no_mlflow():
    code = (
        "import sys, trackmllib; trackmllib.load_results, trackmllib.Results; "
        "print([n for n in ('mlflow', 'pyspark', 'pandas') if n in sys.modules])"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert time.monotonic() - began < 20
