"""Outbox files of every schema version are migrated and delivered.

``tests/data/outboxes/make.py`` makes the files.
"""

from __future__ import annotations

import math
import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from trackmllib.domain.operations import Metric
from trackmllib.exceptions import OutboxError
from trackmllib.outbox import schema
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.outbox.recovered import RecoveredOutbox
from trackmllib.outbox.relay import Relay
from trackmllib.runtime.recovery import end_dead_searches
from trackmllib.testing import InMemoryStore

pytestmark = pytest.mark.versions

FOLDER = Path(__file__).parents[2] / "data/outboxes"
FILES = {int(re.sub(r"\D", "", path.name)): path for path in FOLDER.glob("version-*.db")}

FINISHED = "0a1b2c3d-0000-4000-8000-00000000f1a1"
OPEN = "0a1b2c3d-0000-4000-8000-0000000009e4"
START_MS = 1_790_000_000_000
OPEN_MS = START_MS + 3_600_000


@pytest.fixture(params=sorted(FILES), ids=lambda version: f"version-{version}")
def path(request, tmp_path) -> Path:
    """A copy of an old file."""
    return Path(shutil.copy(FILES[request.param], tmp_path / "outbox.db"))


def deliver(outbox: RecoveredOutbox, store: InMemoryStore) -> list[str]:
    """Deliver all rows; return those that were rejected."""
    rejected = []
    relay = Relay(outbox, store, lambda o, e: rejected.append(f"{o}: {e}"))
    relay.start()
    assert relay.flush(None, 20.0) == 0
    relay.stop()
    return rejected


def searches_in(outbox: RecoveredOutbox) -> set[str]:
    query = "SELECT search_id FROM searches UNION SELECT search_id FROM operations"
    return {search_id for (search_id,) in outbox.database.connection.execute(query)}


def test_each_version_has_a_file():
    assert sorted(FILES) == list(range(1, schema.VERSION + 1))


def test_old_file_is_migrated(path, tmp_path):
    outbox = RecoveredOutbox(path)
    outbox.close()
    connection = sqlite3.connect(path)
    assert schema.version_of(connection) == schema.VERSION
    assert connection.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION_ID,)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    migrated = tables_of(connection)
    connection.close()
    RecoveredOutbox(tmp_path / "new.db").close()
    connection = sqlite3.connect(tmp_path / "new.db")
    assert migrated == tables_of(connection)
    connection.close()


def tables_of(connection) -> set:
    return set(connection.execute("SELECT type, name, sql FROM sqlite_master"))


def test_old_file_is_read_without_migration(path):
    """As ``trackmllib status`` does."""
    before = path.read_bytes()
    connection = schema.open_read_only(path)
    columns = "number, search_id, candidate, enqueued_ms, batch, sent, body"
    assert len(connection.execute(f"SELECT {columns} FROM operations").fetchall()) > 15
    (rejected,) = connection.execute(f"SELECT {columns}, reason FROM rejected").fetchall()
    assert "deleted for a while" in rejected[-1]
    entries = connection.execute("SELECT search_id, name, value FROM run_registry").fetchall()
    assert len(entries) == 3
    deferred = connection.execute("SELECT number, search_id, reason FROM deferred").fetchall()
    assert len(deferred) == (schema.version_of(connection) > 1)
    connection.close()
    assert path.read_bytes() == before


def test_old_file_is_read_completely(path):
    outbox = RecoveredOutbox(path)
    assert searches_in(outbox) == {FINISHED, OPEN}
    assert outbox.open_searches() == [OPEN]
    assert outbox.waiting(FINISHED) > 10
    assert outbox.waiting(OPEN) > 5
    assert len(outbox.events(OPEN)) == 4
    assert outbox.events(FINISHED) == []
    assert outbox.load_registry(FINISHED) == {"server": "http://server:5000"}
    assert outbox.load_registry(OPEN) == {
        "run": "of the user",
        "param/numFolds": f"numFolds_{OPEN}",
    }
    assert outbox.destination(OPEN).run_id == "of the user"
    assert outbox.destination(FINISHED).tracking_uri == "http://server:5000"
    assert outbox.peek(1)[0].redelivered
    outbox.close()


def test_old_file_is_delivered(path):
    with sqlite3.connect(path) as connection:
        version = schema.version_of(connection)
    connection.close()
    outbox, store = RecoveredOutbox(path), InMemoryStore()
    assert end_dead_searches(outbox) == [OPEN]
    assert deliver(outbox, store) == []
    finished, died = store.parent_runs()
    assert_finished(finished, store, version)
    assert_died(died, store, version)
    # The rejected row is kept until the next sync.
    assert not outbox.is_empty()
    _, best = store.children(FINISHED)
    assert "trackmllib.best" not in best.tags
    outbox.requeue_rejected()
    assert deliver(outbox, store) == []
    assert best.tags["trackmllib.best"] == "true"
    assert outbox.is_empty()
    assert searches_in(outbox) == set()
    outbox.close()


def fits_finished(version: int) -> str:
    """The metric in the rows of a version, which are delivered as they are."""
    return "fits_finished" if version > 2 else "cells_finished"


def assert_finished(run, store, version: int) -> None:
    assert run.search_id == FINISHED
    assert run.name == "CrossValidator: Pipeline(Tokenizer, LinearSVC)"
    assert (run.status, run.start_ms, run.end_ms) == ("FINISHED", START_MS, START_MS + 12_000)
    assert run.params == {
        "numFolds": "2",
        "seed": "42",
        "estimator": "Pipeline(Tokenizer, LinearSVC)",
        "evaluator": "BinaryClassificationEvaluator",
        "metric": "areaUnderROC",
        "candidates": "2",
        "best_regParam": "0.01",
    }
    assert run.tags["trackmllib.search_id"] == FINISHED
    assert "trackmllib.last_sign_of_life" not in run.tags
    assert run.metrics["best_avg_areaUnderROC"] == [
        Metric("best_avg_areaUnderROC", 0.5625, START_MS + 12_000)
    ]
    assert run.metrics["refit_seconds"] == [Metric("refit_seconds", 1.5, START_MS + 12_000)]
    assert [m.value for m in run.metrics[fits_finished(version)]] == [1.0, 2.0, 3.0, 4.0]
    assert run.artifacts["results.csv"] == (
        "candidate,params.regParam,status,fold_0,fold_1,average,deviation,seconds\n"
        "0,0.1,FINISHED,0.75,0.30000000000000004,0.525,0.125,2.0\n"
        "1,0.01,FINISHED,0.5,0.625,0.5625,0.125,2.0\n"
    )
    # Outboxes from before version 2 have no outcome.json.
    outcome = {"outcome.json"} if version > 1 else set()
    assert set(run.artifacts) == {"search.json", "results.csv", "best_params.json"} | outcome
    first, second = store.children(FINISHED)
    assert (first.name, second.name) == ("regParam=0.1", "regParam=0.01")
    assert (first.status, first.start_ms, first.end_ms) == (
        "FINISHED",
        START_MS + 1000,
        START_MS + 6000,
    )
    assert second.status == "FINISHED"
    assert [(m.value, m.step) for m in first.metrics["areaUnderROC"]] == [(0.75, 0), (0.1 + 0.2, 1)]
    assert [(m.value, m.step) for m in second.metrics["areaUnderROC"]] == [(0.5, 0), (0.625, 1)]
    assert [m.value for m in first.metrics["avg_areaUnderROC"]] == [0.525]
    assert all(math.isclose(m.value, 0.75) for m in first.metrics["fit_seconds"])


def assert_died(run, store, version: int) -> None:
    last_ms = OPEN_MS + 3000
    assert run.search_id == OPEN
    assert (run.status, run.start_ms, run.end_ms) == ("KILLED", OPEN_MS, last_ms)
    when = "2026-09-21T15:13:23.000+00:00"
    assert run.tags["trackmllib.last_sign_of_life"] == when
    assert run.tags["trackmllib.error"].startswith("ProcessDied: the process ended unexpectedly")
    assert [m.value for m in run.metrics[fits_finished(version)]] == [1.0]
    assert run.artifacts["results.csv"] == (
        "candidate,params.regParam,status,fold_0,fold_1,average,deviation,rank,seconds\n"
        "0,0.1,KILLED,0.75,,,,,1.0\n"
        "1,0.01,KILLED,,,,,,\n"
    )
    first, second = store.children(OPEN)
    for child in (first, second):
        assert (child.status, child.end_ms) == ("KILLED", last_ms)
        assert child.tags["trackmllib.last_sign_of_life"] == when
    assert [(m.value, m.step) for m in first.metrics["areaUnderROC"]] == [(0.75, 0)]
    assert second.metrics == {}


def test_delivered_old_file_is_empty(path):
    outbox, store = RecoveredOutbox(path), InMemoryStore()
    outbox.requeue_rejected()
    end_dead_searches(outbox)
    assert deliver(outbox, store) == []
    outbox.close()
    outbox = RecoveredOutbox(path)
    assert outbox.is_empty()
    assert end_dead_searches(outbox) == []
    outbox.close()
    connection = sqlite3.connect(path)
    for table in ("searches", "events", "operations", "rejected", "deferred", "run_registry"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    connection.close()


def newer(path: Path) -> bytes:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    return path.read_bytes()


def test_file_of_newer_version_is_refused_and_unchanged(path):
    before = newer(path)
    with pytest.raises(
        OutboxError, match=r"newer trackmllib \(schema 99, .*Fix: update trackmllib"
    ):
        RecoveredOutbox(path)
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.glob("outbox.db*")] == ["outbox.db"]


def test_newer_file_in_directory_is_refused_and_unchanged(path, tmp_path):
    directory = OutboxDirectory(tmp_path / "home")
    held = directory.create()
    held.outbox.close()
    held.lock.release()
    shutil.copy(path, held.outbox.path)
    before = newer(held.outbox.path)
    (entry,) = directory.entries()
    with pytest.raises(OutboxError, match="newer trackmllib"):
        directory.claim(entry)
    assert held.outbox.path.read_bytes() == before
    assert directory.damaged() == []
    (entry,) = directory.entries()
    assert not entry.owner_alive


def test_new_file_has_this_version(tmp_path):
    RecoveredOutbox(tmp_path / "new.db").close()
    connection = sqlite3.connect(tmp_path / "new.db")
    assert schema.version_of(connection) == schema.VERSION
    connection.close()


def test_file_opened_twice_is_migrated_once(tmp_path):
    for _ in range(2):
        RecoveredOutbox(tmp_path / "new.db").close()
    connection = sqlite3.connect(tmp_path / "new.db")
    assert schema.version_of(connection) == schema.VERSION
    connection.close()
