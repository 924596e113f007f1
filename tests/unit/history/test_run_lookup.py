"""Lookup of runs by name or id."""

from __future__ import annotations

import uuid

import pytest
from mlflow import MlflowClient

import trackmllib
from support.search_events import search
from support.stored_search import runs_of
from trackmllib import UnknownSearch

pytestmark = pytest.mark.versions


SCORES = [[0.1, 0.2], [0.8, 0.9], [0.8, 0.9], [0.3, 0.3]]


AVERAGES = [0.15, 0.85, 0.85, 0.3]


def test_run_is_found_by_id_name_child_run_or_search_id(player):
    name = f"it's {uuid.uuid4().hex} 😀"
    client = MlflowClient(tracking_uri=player.uri)
    player.active = client.create_run(player.experiment_id, run_name=name).info.run_id
    search_id = player.play(search(SCORES, AVERAGES, 1))
    child = runs_of(player, search_id)[2].info.run_id
    for text in (
        player.active,
        player.active[:12],
        name,
        f" {name} ",
        child,
        child[:12],
        search_id,
    ):
        results = trackmllib.load_results(text, player.uri)
        assert results.runs.parent == player.active
        assert results.search.search_id == search_id


def refused(text: str, uri: str) -> str:
    with pytest.raises(UnknownSearch) as caught:
        trackmllib.load_results(text, uri)
    return str(caught.value)


def test_run_that_is_not_a_search_raises(player):
    client = MlflowClient(tracking_uri=player.uri)
    plain = client.create_run(player.experiment_id, run_name="other run").info.run_id
    for text in (plain, plain[:12], "other run"):
        assert f"run {plain} (other run) is not a search" in refused(text, player.uri)
    client.delete_run(plain)
    assert f"mlflow runs restore --run-id {plain}" in refused(plain, player.uri)
    assert "no search 00000000-" in refused(str(uuid.UUID(int=0)), player.uri)
    assert "the run name is empty" in refused(" ", player.uri)
    for text in ("f" * 32, "what 'is\" this", "% OR 1", "a\\", "\x1b[31m\n", "x" * 5000):
        message = refused(text, player.uri)
        assert "there is no run" in message
        assert "\x1b" not in message


def test_similar_runs_are_listed(player):
    client = MlflowClient(tracking_uri=player.uri)
    unique = uuid.uuid4().hex
    by_first_character: dict[str, list[str]] = {}
    # Until two ids begin with the same digit, after 17 runs at most.
    while all(len(runs) == 1 for runs in by_first_character.values()):
        run = client.create_run(player.experiment_id, run_name=f"twin {unique}")
        player.active = run.info.run_id
        player.play(search([[0.5, 0.5]], [0.5], 0, stop=3))
        by_first_character.setdefault(player.active[0], []).append(player.active)
    first, twins = next(each for each in by_first_character.items() if len(each[1]) == 2)

    for text in (first, first.upper()):
        message = refused(text, player.uri)
        assert "matches several runs" in message
        assert "give more of the run id" in message
        assert all(twin in message for twin in twins)
    assert "matches several runs" in refused(f"twin {unique}", player.uri)
    for text in (f"twin {unique}"[:-3], f"TWIN {unique}x", unique, player.active[:-1] + "x"):
        message = refused(text, player.uri)
        assert "there is no run" in message
        assert "similar runs are" in message
        assert player.active in message
