"""Delivery of a session: in ``flush()``, and at the end of the process."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from support.commands import environ, finished
from support.search_events import search
from support.search_player import Player
from support.sqlite_store import sqlite_store
from trackmllib.outbox.base import Undelivered

pytestmark = pytest.mark.versions


# A thread of the user's starts a search after the main thread has ended and the session has waited
# for delivery as long as it may. A search before that connects to the store, which takes long.
LATE_SEARCH = """
import sys, threading, time
from pathlib import Path
from support.search_player import Player
from support.search_events import search

player = Player(Path(sys.argv[1]), sys.argv[2], sys.argv[3], flush_timeout=3.0, report=False)
player.session.start()

def play():
    for event in search([[0.1, 0.2], [0.8, 0.9]], [0.15, 0.85], best=1):
        player.session.callbacks.emit(event)

def train():
    threading.main_thread().join()
    time.sleep(4)
    play()

play()
assert player.session.flush(60)
threading.Thread(target=train).start()
"""

SCORES, AVERAGES = [[0.1, 0.2], [0.8, 0.9]], [0.15, 0.85]


@pytest.fixture(scope="module")
def uri(tmp_path_factory) -> str:
    return sqlite_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def client(uri) -> MlflowClient:
    return MlflowClient(tracking_uri=uri)


@pytest.fixture
def experiment(client, request, tmp_path) -> str:
    return client.create_experiment(request.node.name, (tmp_path / "files").as_uri())


def test_flush_is_false_after_rejection(uri, client, experiment, tmp_path):
    player = Player(tmp_path / "home", uri, experiment)
    client.delete_experiment(experiment)
    for event in search(SCORES, AVERAGES, best=1):
        player.session.callbacks.emit(event)
    began = time.monotonic()
    assert player.session.flush(60) is False
    assert time.monotonic() - began < 20
    undelivered = player.session.relay.undelivered()
    assert undelivered.rejected > 5
    assert undelivered == Undelivered(rejected=undelivered.rejected)


@pytest.mark.slow
def test_flush_ends_although_artifacts_cannot_be_written(uri, client, tmp_path):
    experiment = client.create_experiment(f"no place {tmp_path}", "file:///dev/null/files")
    player = Player(tmp_path / "home", uri, experiment)
    for event in search(SCORES, AVERAGES, best=1):
        player.session.callbacks.emit(event)
    began = time.monotonic()
    assert player.session.flush(60) is False
    assert time.monotonic() - began < 30
    assert player.session.relay.undelivered() == Undelivered(waiting=4)
    assert {run.info.status for run in client.search_runs([experiment])} == {"FINISHED"}


@pytest.mark.slow
def test_exit_warns_of_failing_operations_in_memory(uri, client, tmp_path, caplog):
    """No other process can deliver what is only in memory."""
    experiment = client.create_experiment(f"no disk {tmp_path}", "file:///dev/null/files")
    (tmp_path / "outbox").write_text("no folder")
    player = Player(tmp_path, uri, experiment, silent=False, report=False, flush_timeout=60.0)
    player.emit(search(SCORES, AVERAGES, best=1))
    assert player.session.flush(60) is False
    left = sum(player.session.relay.undelivered())
    assert left > 0
    player.session.process_exit.at_exit()
    last = [r.getMessage() for r in caplog.records if r.name == "trackmllib"][-1]
    assert f"{left} operations did not reach the tracking server" in last
    assert "Operations that the disk did not accept are lost" in last


@pytest.mark.slow
def test_search_started_after_main_thread_ended_is_delivered(uri, client, experiment, tmp_path):
    command = [sys.executable, "-c", LATE_SEARCH, str(tmp_path / "home"), uri, experiment]
    done = finished(command, environ(Path(__file__).parents[2]))
    assert done.returncode == 0, done.stderr
    statuses = [run.info.status for run in client.search_runs([experiment])]
    assert statuses == ["FINISHED"] * 6, done.stderr


def test_flush_is_true_after_delivery(uri, experiment, tmp_path):
    player = Player(tmp_path / "home", uri, experiment)
    for event in search(SCORES, AVERAGES, best=1):
        player.session.callbacks.emit(event)
    assert player.session.flush(60) is True


def test_full_temporary_disk_rejects_nothing(uri, client, experiment, tmp_path, monkeypatch):
    """Artifacts pass through a temporary file: its disk may have room again."""
    import tempfile

    player = Player(tmp_path / "home", uri, experiment)
    full = Path("/dev/full")
    assert full.exists()
    monkeypatch.setattr(tempfile, "tempdir", str(full))
    events = search(SCORES, AVERAGES, best=1)
    search_id = None
    for event in events:
        search_id = event.search_id
        player.session.callbacks.emit(event)
    assert player.session.flush(2) is False
    assert player.session.relay.undelivered().rejected == 0
    (parent,) = client.search_runs(
        [experiment], f"tags.`trackmllib.search_id` = '{search_id}' AND params.candidates != '-'"
    )
    deadline = time.monotonic() + 30
    while client.get_run(parent.info.run_id).info.status != "FINISHED":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert player.session.relay.undelivered().rejected == 0
