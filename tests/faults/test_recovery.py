"""Recovery of orphaned outboxes, with the real command and real servers.

``orphaned_search.py`` creates the outboxes without Spark.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from support.driver_machine import Machine
from support.faulty_proxy import Proxy
from support.orphaned_search import create_orphaned_outbox
from support.search_events import numbered_search
from support.search_player import new_session
from trackmllib.outbox import database
from trackmllib.outbox.process import ProcessOutbox


@pytest.fixture
def machine(tmp_path, server_uri):
    return Machine(tmp_path, server_uri, "Default")


def runs_of(uri: str, search_id: str) -> list:
    """Return the parent run and child runs of a search in the default experiment."""
    filtered = f"tags.`trackmllib.search_id` = '{search_id}'"
    return list(MlflowClient(uri).search_runs(["0"], filtered, max_results=1000))


def outbox_file(machine: Machine) -> Path:
    (path,) = (machine.home / "outbox").glob("*.db")
    return path


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_sync_continues_after_401_of_one_server(machine, server_uri):
    closed, slow = Proxy(server_uri, lambda _: 401), Proxy(server_uri)
    slow.delay = 0.05
    shut = create_orphaned_outbox(machine.home, closed.uri, 2)
    open_ = create_orphaned_outbox(machine.home, slow.uri, 20)
    printed = machine.sync(code=1)
    assert "MLFLOW_TRACKING_TOKEN" in printed
    assert {run.info.status for run in runs_of(server_uri, open_)} == {"FINISHED"}
    assert len(runs_of(server_uri, open_)) == 21
    assert [search["search_id"] for search in machine.status()["searches"]] == [shut]
    closed.close()
    slow.close()


def test_flush_and_exit_do_not_wait_for_recovery(machine, server_uri):
    create_orphaned_outbox(machine.home, "http://127.0.0.1:1", 5)
    session = new_session(machine.home, server_uri)
    session.start()
    try:
        for event in numbered_search("mine", 3):
            session.callbacks.emit(event)
        deadline = time.monotonic() + 20
        while not session.recovery.outbox.waiting():
            assert time.monotonic() < deadline, "the dead search was not recovered"
            time.sleep(0.05)
        assert session.flush(20) is True
    finally:
        session.stop()
        session.process_exit.at_exit()
    assert len(runs_of(server_uri, "mine")) == 4
    (left,) = machine.status()["searches"]
    assert left["tracking_uri"] == "http://127.0.0.1:1"


def test_recovery_does_not_change_ended_runs(machine, server_uri):
    """The search is open on disk and ended on the server, as after a full disk."""
    stale = Machine(machine.folder / "stale", server_uri)
    search_id = create_orphaned_outbox(machine.home, server_uri, 10)
    machine.sync()
    parent = next(
        r for r in runs_of(server_uri, search_id) if "trackmllib.candidate" not in r.data.tags
    )
    before = machine.store.results(parent)
    create_orphaned_outbox(stale.home, server_uri, 10, search_id=search_id, after=30)
    change(outbox_file(stale), "UPDATE operations SET sent = 1")
    stale.sync()
    after = runs_of(server_uri, search_id)
    assert len(after) == 11
    assert {run.info.status for run in after} == {"FINISHED"}
    assert not any("trackmllib.last_sign_of_life" in run.data.tags for run in after)
    assert machine.store.results(parent) == before
    assert stale.files() == []


def test_unreadable_file_does_not_block_recovery_of_others(machine, server_uri):
    create_orphaned_outbox(machine.home, server_uri, 2)
    poisoned = outbox_file(machine)
    change(
        poisoned,
        "UPDATE searches SET destination = 'poison'",
        "UPDATE operations SET body = 'poison'",
    )
    good = create_orphaned_outbox(machine.home, server_uri, 2)
    assert len(machine.status()["searches"]) == 2
    out = machine.sync(code=1)
    assert "not readable" in out
    assert {run.info.status for run in runs_of(server_uri, good)} == {"FINISHED"}
    assert [path for path in machine.files() if path.endswith(".db")] == [poisoned.name]


def test_sync_of_one_server_lists_others_and_resolves_relative_paths(machine, server_uri):
    create_orphaned_outbox(machine.home, server_uri, 2)
    out = machine.sync("--tracking-uri", "http://127.0.0.1:1")
    assert out.startswith(f"Not delivered, since it is for other servers: {server_uri}")
    assert len(machine.status()["searches"]) == 1
    assert "Nothing is left on disk" in machine.sync("--tracking-uri", f"{server_uri}/")
    store = f"sqlite:///{machine.folder}/mlflow.db"
    MlflowClient(store).search_experiments()
    search_id = create_orphaned_outbox(machine.home, store, 2)
    process = machine.command("sync", "--tracking-uri", "sqlite:///mlflow.db", cwd=machine.folder)
    assert process.wait(60) == 0
    assert len(runs_of(store, search_id)) == 3


def test_outbox_of_another_machine_is_recovered_only_by_name(machine, server_uri):
    search_id = create_orphaned_outbox(machine.home, server_uri, 2)
    (lock,) = (machine.home / "outbox").glob("*.lock")
    lock.write_text(lock.read_text().replace('"host": "', '"host": "gone-'))
    (left,) = machine.status()["searches"]
    assert f"trackmllib sync --host {left['host']}" in left["state"]
    assert left["host"].startswith("gone-")
    machine.sync(code=1)
    assert runs_of(server_uri, search_id) == []
    machine.sync("--host", left["host"])
    assert len(runs_of(server_uri, search_id)) == 3


def test_failed_checkpoint_changes_nothing(tmp_path, monkeypatch, caplog):
    """The process keeps its file, for example if the disk is full during the checkpoint."""
    # Warnings of a silent session are logged at this level.
    caplog.set_level(logging.DEBUG, logger="trackmllib")
    session = new_session(tmp_path, "http://127.0.0.1:1")
    outbox = session.outbox
    assert isinstance(outbox, ProcessOutbox)
    all_events = list(numbered_search("search", 5))
    for event in all_events[:12]:
        session.callbacks.emit(event)
    before = outbox.waiting("search")
    monkeypatch.setattr(database, "MOST_CHANGES", 0)
    (path,) = (tmp_path / "outbox").glob("*.db")
    moved = path.rename(tmp_path / "elsewhere")
    path.mkdir()
    outbox.maintain()
    path.rmdir()
    shutil.move(moved, path)
    assert [r.getMessage() for r in caplog.records if r.name == "trackmllib"] == []
    assert outbox.waiting("search") == before
    for event in all_events[12:]:
        session.callbacks.emit(event)
    assert len(list((tmp_path / "outbox").glob("*.db"))) == 1
    assert outbox.is_on_disk()
