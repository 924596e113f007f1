"""Answers of gateways, which never acknowledge an operation."""

from __future__ import annotations

import urllib.request
from collections import Counter

import pytest
from mlflow import MlflowClient

from support.faulty_proxy import LOGIN, Answer, Proxy
from support.mlflow_reader import Store
from support.search_events import search
from support.search_player import Player
from trackmllib.cli import main

SCORES = [[0.25, 0.5], [0.75, 1.0]]
FILES = ["best_params.json", "outcome.json", "results.csv", "search.json"]
ARTIFACTS = "/mlflow-artifacts/"
ANSWERS = {
    "200 with a page": 200,
    "302 to a login page": 302,
    "401": 401,
    "403": 403,
    "501": 501,
    "507": 507,
    "520": 520,
}


@pytest.fixture
def proxy(server_uri):
    made = Proxy(server_uri)
    yield made
    made.close()


@pytest.fixture
def store(server_uri, request) -> Store:
    """An experiment of this test, read past the proxy."""
    made = Store(server_uri, f"gateways: {request.node.name}")
    MlflowClient(tracking_uri=server_uri).create_experiment(made.experiment)
    return made


@pytest.fixture
def player(tmp_path, monkeypatch, lenient, proxy, store) -> Player:
    monkeypatch.setenv("TRACKMLLIB_HOME", str(tmp_path))
    return Player(
        tmp_path,
        proxy.uri,
        store.experiment_id,
        wait=True,
        silent=False,
        flush_timeout=5.0,
        report=False,
    )


def answer(proxy: Proxy, status: int) -> Answer:
    location = f"{proxy.uri}{LOGIN}?next=mlflow" if status == 302 else ""
    return Answer(status, location=location)


def play(player: Player, caplog) -> str:
    """Play a search and return the warnings."""
    with caplog.at_level("WARNING", logger="trackmllib"):
        player.emit(search(SCORES, [0.375, 0.875], 1))
    return "\n".join(record.getMessage() for record in caplog.records)


def assert_complete_after_sync(player: Player, proxy: Proxy, store: Store, capsys) -> None:
    """Check that ``sync`` delivers the rest once, without the gateway, in another process."""
    proxy.disturb = lambda _method, _path: None
    player.session.process_exit.at_exit()
    assert main(["sync"]) == 0, capsys.readouterr()
    found = store.only_parent_run()
    assert store.files(found) == FILES
    for path, body in proxy.uploaded.items():
        with urllib.request.urlopen(f"{store.uri}{path}", timeout=30) as opened:
            assert opened.read() == body, path
    children = store.children(found)
    assert Counter(run.info.status for run in store.runs()) == {"FINISHED": 3}
    metric = "weightedPrecision"
    of_children = [[score for _, score in store.history(run, metric)] for run in children]
    assert of_children == SCORES
    capsys.readouterr()
    assert main(["status"]) == 0
    assert capsys.readouterr().out.startswith("Nothing is left on disk")


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_artifact_is_delivered_after_answer_of_gateway(proxy, player, store, name, caplog, capsys):
    status = ANSWERS[name]
    proxy.disturb = lambda method, path: answer(proxy, status) if ARTIFACTS in path else None
    warning = play(player, caplog)
    assert not player.session.flush(0.5)
    assert store.files(store.only_parent_run()) == []
    assert "not complete" in warning
    assert str(status) in warning
    assert (LOGIN in warning) == (status == 302)
    assert_complete_after_sync(player, proxy, store, capsys)


@pytest.mark.parametrize("name", ["200 with a page", "302 to a login page", "403", "501"])
@pytest.mark.parametrize("end", ["/runs/create", "/runs/log-batch", "/runs/update"])
def test_write_is_delivered_after_answer_of_gateway(
    proxy, player, store, name, end, caplog, capsys
):
    status = ANSWERS[name]
    proxy.disturb = lambda _, path: answer(proxy, status) if path.endswith(end) else None
    warning = play(player, caplog)
    assert not player.session.flush(0.5)
    assert "not complete" in warning
    assert str(status) in warning
    assert (LOGIN in warning) == (status == 302)
    assert_complete_after_sync(player, proxy, store, capsys)
