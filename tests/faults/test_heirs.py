"""What becomes of what dead processes leave, with the real command and real servers; light ones, by
``made.py``, which needs no Spark.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from faults.proxy import Proxy
from faults.scene import Scene
from made import events, leave_behind, new_session
from trackmllib.outbox import sqlite
from trackmllib.outbox.home import Home
from trackmllib.outbox.process import ProcessOutbox


@pytest.fixture
def scene(tmp_path, server_uri):
    return Scene(tmp_path, server_uri, "Default")


def runs_of(uri: str, search_id: str) -> list:
    """Main run and children of a search, in the default experiment."""
    filtered = f"tags.`trackmllib.search_id` = '{search_id}'"
    return list(MlflowClient(uri).search_runs(["0"], filtered, max_results=1000))


def outbox_file(scene: Scene) -> Path:
    (path,) = (scene.home / "outbox").glob("*.db")
    return path


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_sync_goes_on_past_a_server_that_says_401(scene, server_uri):
    closed, slow = Proxy(server_uri, lambda _: 401), Proxy(server_uri)
    slow.delay = 0.05
    shut = leave_behind(scene.home, closed.uri, 2)
    open_ = leave_behind(scene.home, slow.uri, 20)
    said = scene.sync(code=1)
    assert "MLFLOW_TRACKING_TOKEN" in said
    assert {run.info.status for run in runs_of(server_uri, open_)} == {"FINISHED"}
    assert len(runs_of(server_uri, open_)) == 21
    assert [search["search_id"] for search in scene.status()["searches"]] == [shut]
    closed.close()
    slow.close()


def test_flush_and_exit_do_not_wait_for_what_others_left(scene, server_uri):
    leave_behind(scene.home, "http://127.0.0.1:1", 5)
    session = new_session(scene.home, server_uri)
    session.start()
    try:
        for event in events("mine", 3):
            session.emit(event)
        deadline = time.monotonic() + 20
        while not session._estate.waiting():
            assert time.monotonic() < deadline, "the dead search was not taken over"
            time.sleep(0.05)
        assert session.flush(20) is True
    finally:
        session.stop()
        session._at_exit()
    assert len(runs_of(server_uri, "mine")) == 4
    (left,) = scene.status()["searches"]
    assert left["server"] == "http://127.0.0.1:1"


def test_an_heir_undoes_nothing_that_has_ended(scene, server_uri):
    """The disk says that the search is open, the server that it is over: as after a full disk."""
    stale = Scene(scene.folder / "stale", server_uri)
    search_id = leave_behind(scene.home, server_uri, 10)
    scene.sync()
    main = next(
        r for r in runs_of(server_uri, search_id) if "trackmllib.candidate" not in r.data.tags
    )
    before = scene.store.results(main)
    leave_behind(stale.home, server_uri, 10, search_id=search_id, after=30)
    change(outbox_file(stale), "UPDATE rows SET sent = 1")
    stale.sync()
    after = runs_of(server_uri, search_id)
    assert len(after) == 11
    assert {run.info.status for run in after} == {"FINISHED"}
    assert not any("trackmllib.last_sign_of_life" in run.data.tags for run in after)
    assert scene.store.results(main) == before
    assert stale.files() == []


def test_one_file_that_nobody_can_read_keeps_no_other_from_its_heir(scene, server_uri):
    leave_behind(scene.home, server_uri, 2)
    poisoned = outbox_file(scene)
    change(
        poisoned, "UPDATE searches SET destination = 'poison'", "UPDATE rows SET body = 'poison'"
    )
    good = leave_behind(scene.home, server_uri, 2)
    assert len(scene.status()["searches"]) == 2
    out = scene.sync(code=1)
    assert "not readable" in out
    assert {run.info.status for run in runs_of(server_uri, good)} == {"FINISHED"}
    assert [path for path in scene.files() if path.endswith(".db")] == [poisoned.name]


def test_sync_of_one_server_names_the_others_and_knows_a_relative_path(scene, server_uri):
    leave_behind(scene.home, server_uri, 2)
    out = scene.sync("--server", "http://127.0.0.1:1")
    assert out.startswith(f"Left alone, because it is for another server: {server_uri}")
    assert len(scene.status()["searches"]) == 1
    assert "Nothing is left on disk" in scene.sync("--server", f"{server_uri}/")
    store = f"sqlite:///{scene.folder}/mlflow.db"
    MlflowClient(store).search_experiments()
    search_id = leave_behind(scene.home, store, 2)
    process = scene.command("sync", "--server", "sqlite:///mlflow.db", cwd=scene.folder)
    assert process.wait(60) == 0
    assert len(runs_of(store, search_id)) == 3


def test_what_another_machine_has_left_is_taken_only_by_its_name(scene, server_uri):
    search_id = leave_behind(scene.home, server_uri, 2)
    (lock,) = (scene.home / "outbox").glob("*.lock")
    lock.write_text(lock.read_text().replace('"host": "', '"host": "gone-'))
    (left,) = scene.status()["searches"]
    assert f"trackmllib sync --host {left['host']}" in left["state"]
    assert left["host"].startswith("gone-")
    scene.sync(code=1)
    assert runs_of(server_uri, search_id) == []
    scene.sync("--host", left["host"])
    assert len(runs_of(server_uri, search_id)) == 3


def test_a_checkpoint_that_fails_changes_nothing(tmp_path, monkeypatch):
    """As on a disk that is full when the log is to be moved: the file stays the process's own."""
    said: list[str] = []
    outbox = ProcessOutbox(Home(tmp_path / "outbox"), said.append)
    session = new_session(tmp_path, "http://127.0.0.1:1")
    session._outbox = outbox
    all_events = list(events("search", 5))
    for event in all_events[:12]:
        session.emit(event)
    before = outbox.waiting("search")
    monkeypatch.setattr(sqlite, "MOST_CHANGES", 0)
    (path,) = (tmp_path / "outbox").glob("*.db")
    moved = path.rename(tmp_path / "elsewhere")
    path.mkdir()
    outbox.tidy()
    path.rmdir()
    shutil.move(moved, path)
    assert said == []
    assert outbox.waiting("search") == before
    for event in all_events[12:]:
        session.emit(event)
    assert len(list((tmp_path / "outbox").glob("*.db"))) == 1
    assert outbox.is_on_disk()
