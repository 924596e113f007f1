"""Searches come back from a server as the tables that they were while they ran."""

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
from played import Player, cell, described, failing, grid, search, started
from trackmllib import UnknownSearch
from trackmllib.cli import main
from trackmllib.events import (
    CandidateScored,
    CellScored,
    CellStarted,
    Place,
    RefitStarted,
    SearchFailed,
)
from trackmllib.names import GridNames
from trackmllib.tracking.client import CANDIDATE, SEARCH_ID
from trackmllib.view import table
from trackmllib.view.runs import Runs

NAN, INF = math.nan, math.inf
SCORES = [[0.1, 0.2], [0.8, 0.9], [0.8, 0.9], [0.3, 0.3]]
AVERAGES = [0.15, 0.85, 0.85, 0.3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("loading")


@pytest.fixture(scope="module")
def uri(folder) -> str:
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture
def player(folder, uri, request) -> Player:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment(request.node.name, (folder / "files").as_uri())
    return Player(folder / request.node.name.replace("/", "_"), uri, experiment)


def runs_of(player: Player, search_id: str) -> dict[int | None, mlflow.entities.Run]:
    """The runs of a search by candidate, read by their tags."""
    found = MlflowClient(tracking_uri=player.uri).search_runs(
        [player.experiment_id], f"tags.`{SEARCH_ID}` = '{search_id}'"
    )
    numbers = [run.data.tags.get(CANDIDATE) for run in found]
    return {None if n is None else int(n): run for n, run in zip(numbers, found, strict=True)}


def main_run(player: Player, search_id: str) -> str:
    return runs_of(player, search_id)[None].info.run_id


def live(player: Player, search_id: str) -> str:
    """The rows of a search as they were live, with the ids of runs from MLflow. NaN is equal to
    NaN in words.
    """
    result = player.tables[search_id]
    children = {
        n: run.info.run_id for n, run in runs_of(player, search_id).items() if n is not None
    }
    names = GridNames(result.description.candidates)
    return repr(table.rows(result, names, Runs(children=children)))


def loaded(results) -> str:
    return repr(table.rows(results.search, results.grid, results.runs))


CASES = {
    "a finished one": lambda: search(SCORES, AVERAGES, 1),
    "not finite": lambda: search(
        [[NAN, 0.5], [INF, 1.0], [-INF, 1.0], [0.5, 0.5]], [NAN, INF, -INF, 0.5], 0
    ),
    "smaller is better": lambda: search(SCORES, AVERAGES, 0, larger_is_better=False, metric="rmse"),
    "a split": lambda: search([[0.5], [NAN], [0.7]], [0.5, NAN, 0.7], 1, averaged=False),
    "a failed one": failing,
    "odd values": lambda: search(
        [[0.1, 0.2]] * 5,
        [0.15] * 5,
        0,
        candidates=grid("<b>&", "😀", "\x1b[31m\x00", "x" * 5000, [1.5, None]),
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ended", [True, False])
def test_the_table_is_that_of_the_live_search(player, case, ended):
    events = list(CASES[case]())
    # Without its last event a search is put together from its child runs.
    search_id = player.play(events if ended else events[:-1])
    results = trackmllib.load_results(main_run(player, search_id), player.uri)
    assert loaded(results) == live(player, search_id)
    assert results.search.status == player.tables[search_id].status
    assert results.search.best == player.tables[search_id].best
    assert results.search.ranked() == player.tables[search_id].ranked()
    assert results.runs.main == main_run(player, search_id)
    assert results.runs.tracking_uri == player.uri
    assert results.runs.experiment_id == player.experiment_id


@pytest.mark.parametrize("after", range(1, 28, 3))
def test_at_any_moment_a_running_search_is_as_it_is_live(player, after):
    search_id = player.play(search(SCORES, AVERAGES, 1, stop=after))
    results = trackmllib.load_results(main_run(player, search_id), player.uri)
    assert loaded(results) == live(player, search_id)
    assert results.search.status == "RUNNING"
    live_table = player.tables[search_id]
    assert results.search.cells_finished == live_table.cells_finished
    assert results.search.candidates_finished == live_table.candidates_finished
    assert results.search.best_so_far() == live_table.best_so_far()


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
def test_running_search_is_shown_with_forged_points(player, key, value, step):
    search_id = player.play(search(SCORES, AVERAGES, 1, stop=19))
    client = MlflowClient(tracking_uri=player.uri)
    client.log_metric(runs_of(player, search_id)[0].info.run_id, key, value, step=step)
    client.log_metric(main_run(player, search_id), "cells_finished", value, step=step)
    forged = {SEARCH_ID: search_id, CANDIDATE: str(10**9)}
    client.create_run(player.experiment_id, tags=forged)
    results = trackmllib.load_results(search_id, player.uri)
    assert results.search.folds == 2
    assert len(table.rows(results.search, results.grid, results.runs)) == 4
    assert repr(results)


def parallel():
    """Two cells at once on each of two folds, three candidates: the events, with real times."""
    begin = started(described(grid(1, 2, 3)))
    yield begin
    # Candidate, fold, start and end in seconds.
    for candidate, fold, start, end in (
        *((0, 0, 0, 4), (1, 0, 0, 1), (2, 0, 1, 3)),
        *((0, 1, 5, 6), (1, 1, 5, 8), (2, 1, 6, 7)),
    ):
        where = {"search_id": begin.search_id, "candidate": candidate, "fold": fold}
        at = begin.time_ms + 1000 * start
        yield CellStarted(**where, time_ms=at, thread=0)
        yield CellScored(
            **where,
            time_ms=begin.time_ms + 1000 * end,
            score=0.5,
            fit_seconds=0.75 * (end - start),
            evaluate_seconds=0.25 * (end - start),
        )


def test_cells_that_ran_at_once_are_on_threads_of_their_own(player):
    search_id = player.play(parallel())
    search = trackmllib.load_results(main_run(player, search_id), player.uri).search
    assert search.status == "RUNNING"
    threads = {
        (candidate, fold): one.thread
        for candidate, found in search.candidates.items()
        for fold, one in found.cells.items()
    }
    assert {threads[where] for where in threads} == {0, 1}
    for together in ([(0, 0), (1, 0)], [(0, 0), (2, 0)], [(0, 1), (1, 1)], [(1, 1), (2, 1)]):
        assert len({threads[where] for where in together}) == 2


def test_a_report_of_a_running_search_asks_for_no_cost_that_it_does_not_show(player, monkeypatch):
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


def test_several_searches_in_one_run_are_told_apart(player):
    client = MlflowClient(tracking_uri=player.uri)
    player.active = client.create_run(player.experiment_id).info.run_id
    first = player.play(search(SCORES, AVERAGES, 1))
    second = player.play(search([[0.4, 0.5]], [0.45], 0))
    third = player.play(failing())
    running = player.play(search(SCORES, AVERAGES, 1, stop=12))
    for search_id in (first, second, third, running):
        for said in (search_id, search_id[:13]):
            results = trackmllib.load_results(player.active, player.uri, search_id=said)
            assert results.search.search_id == search_id
            assert loaded(results) == live(player, search_id)
            assert results.search.status == player.tables[search_id].status
    newest = trackmllib.load_results(player.active, player.uri)
    assert newest.search.search_id == running
    child = next(iter(runs_of(player, second).values())).info.run_id
    assert trackmllib.load_results(child, player.uri).search.search_id == second
    with pytest.raises(UnknownSearch, match=f"no search of run {player.active}; it has .*{second}"):
        trackmllib.load_results(player.active, player.uri, search_id="nothing")
    with pytest.raises(UnknownSearch, match="several searches"):
        trackmllib.load_results(player.active, player.uri, search_id="")


def test_what_the_user_has_under_our_names_is_not_taken_for_ours(player):
    client = MlflowClient(tracking_uri=player.uri)
    player.active = client.create_run(player.experiment_id).info.run_id
    client.log_param(player.active, "candidates", "of the user")
    client.log_text(player.active, "{}", "trackmllib/search.json")
    search_id = player.play(search(SCORES, AVERAGES, 1))
    results = trackmllib.load_results(player.active, player.uri, search_id=search_id)
    assert loaded(results) == live(player, search_id)


def test_searches_inside_of_searches_are_runs_of_their_own(player):
    outer = started(described(grid(1, 2)), "")
    inside = Place(search_id=outer.search_id, candidate=0, fold=0)
    inner = list(search(SCORES, AVERAGES, 1, parent=inside))
    cells = list(cell(outer.search_id, 0, 0, 0.5))
    player.play([outer, cells[0], *inner, *cells[1:]])
    (inner_id,) = {event.search_id for event in inner}
    for search_id in (outer.search_id, inner_id):
        results = trackmllib.load_results(main_run(player, search_id), player.uri)
        assert loaded(results) == live(player, search_id)
        assert results.search.parent == player.tables[search_id].parent


def test_a_search_whose_outcome_never_arrived_ends_as_its_run_says(player):
    search_id = player.play(search(SCORES, AVERAGES, 1, stop=20))
    client = MlflowClient(tracking_uri=player.uri)
    main = main_run(player, search_id)
    client.set_terminated(main, "KILLED")
    results = trackmllib.load_results(main, player.uri)
    assert results.search.status == "KILLED"
    assert {found.status for found in results.search.candidates.values()} <= {"FINISHED", "KILLED"}


def test_a_cell_that_failed_says_why_before_the_search_has_ended(player):
    events = list(failing())
    search_id = player.play(event for event in events if not isinstance(event, SearchFailed))
    results = trackmllib.load_results(main_run(player, search_id), player.uri)
    assert results.search.candidates[1].cells[0].failure.summary == "ValueError: no"


def test_a_candidate_none_of_whose_cells_was_seen_has_its_average(player):
    # Where no cell was seen, the start of the refit was not seen either.
    events = [
        event
        for event in search(SCORES, AVERAGES, 1)
        if not (hasattr(event, "candidate") or isinstance(event, RefitStarted))
    ]
    search_id = player.play(events)
    results = trackmllib.load_results(main_run(player, search_id), player.uri)
    assert loaded(results) == live(player, search_id)


def test_a_run_is_found_by_what_people_know_of_it(player):
    name = f"it's {uuid.uuid4().hex} 😀"
    client = MlflowClient(tracking_uri=player.uri)
    player.active = client.create_run(player.experiment_id, run_name=name).info.run_id
    search_id = player.play(search(SCORES, AVERAGES, 1))
    child = runs_of(player, search_id)[2].info.run_id
    for said in (
        player.active,
        player.active[:12],
        name,
        f" {name} ",
        child,
        child[:12],
        search_id,
    ):
        results = trackmllib.load_results(said, player.uri)
        assert results.runs.main == player.active
        assert results.search.search_id == search_id


def refused(said: str, uri: str) -> str:
    with pytest.raises(UnknownSearch) as caught:
        trackmllib.load_results(said, uri)
    return str(caught.value)


def test_what_is_no_search_is_refused_with_a_sentence(player):
    client = MlflowClient(tracking_uri=player.uri)
    plain = client.create_run(player.experiment_id, run_name="of somebody else").info.run_id
    for said in (plain, plain[:12], "of somebody else"):
        assert f"run {plain} (of somebody else) is no search" in refused(said, player.uri)
    client.delete_run(plain)
    assert f"mlflow runs restore --run-id {plain}" in refused(plain, player.uri)
    assert "no search 00000000-" in refused(str(uuid.UUID(int=0)), player.uri)
    assert "without a name" in refused(" ", player.uri)
    for said in ("f" * 32, "what 'is\" this", "% OR 1", "a\\", "\x1b[31m\n", "x" * 5000):
        text = refused(said, player.uri)
        assert "there is no run" in text
        assert "\x1b" not in text


def test_near_matches_are_listed(player):
    client = MlflowClient(tracking_uri=player.uri)
    unique = uuid.uuid4().hex
    by_first_character: dict[str, list[str]] = {}
    # Until two begin alike: 17 at most.
    while all(len(runs) == 1 for runs in by_first_character.values()):
        run = client.create_run(player.experiment_id, run_name=f"twin {unique}")
        player.active = run.info.run_id
        player.play(search([[0.5, 0.5]], [0.5], 0, stop=3))
        by_first_character.setdefault(player.active[0], []).append(player.active)
    first, twins = next(each for each in by_first_character.items() if len(each[1]) == 2)

    for said in (first, first.upper()):
        text = refused(said, player.uri)
        assert "could be any of these" in text
        assert "say more of the id" in text
        assert all(twin in text for twin in twins)
    assert "could be any of these" in refused(f"twin {unique}", player.uri)
    for said in (f"twin {unique}"[:-3], f"TWIN {unique}x", unique, player.active[:-1] + "x"):
        text = refused(said, player.uri)
        assert "there is no run" in text
        assert "near it are" in text
        assert player.active in text


def test_on_a_server_it_is_the_same(server_uri, tmp_path):
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
        results = trackmllib.load_results(main_run(player, search_id)[:12], server_uri)
        assert loaded(results) == live(player, search_id)
        assert results.runs.page(1).endswith(results.runs.children[1])


def test_without_a_uri_it_is_the_one_that_mlflow_has(player):
    search_id = player.play(search(SCORES, AVERAGES, 1))
    mlflow.set_tracking_uri(player.uri)
    assert trackmllib.load_results(search_id).search.search_id == search_id


def test_importing_it_loads_no_mlflow():
    code = (
        "import sys, trackmllib; trackmllib.load_results, trackmllib.Results; "
        "print([n for n in ('mlflow', 'pyspark', 'pandas') if n in sys.modules])"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert time.monotonic() - began < 20
