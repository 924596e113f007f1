"""Old outbox files: each released version opens, is brought up to date, and is delivered.

The files are made by ``tests/outboxes/make.py``.
"""

from __future__ import annotations

import math
import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from trackmllib.delivery.worker import Delivery
from trackmllib.errors import OutboxError
from trackmllib.operations import Metric
from trackmllib.outbox import schema
from trackmllib.outbox.home import Home
from trackmllib.outbox.left_behind import LeftBehind
from trackmllib.takeover import end_dead_searches
from trackmllib.testing import InMemoryStore

FOLDER = Path(__file__).parents[1] / "outboxes"
FILES = {int(re.sub(r"\D", "", path.name)): path for path in FOLDER.glob("version-*.db")}

FINISHED = "0a1b2c3d-0000-4000-8000-00000000f1a1"
OPEN = "0a1b2c3d-0000-4000-8000-0000000009e4"
START_MS = 1_790_000_000_000
OPEN_MS = START_MS + 3_600_000


@pytest.fixture(params=sorted(FILES), ids=lambda version: f"version-{version}")
def path(request, tmp_path) -> Path:
    """A copy of an old file."""
    return Path(shutil.copy(FILES[request.param], tmp_path / "outbox.db"))


def deliver(outbox: LeftBehind, store: InMemoryStore) -> list[str]:
    """Deliver all; what was refused."""
    refused = []
    delivery = Delivery(outbox, store, lambda o, e: refused.append(f"{o}: {e}"))
    delivery.start()
    assert delivery.flush(None, 20.0) == 0
    delivery.stop()
    return refused


def test_there_is_a_file_for_each_released_version():
    assert sorted(FILES) == list(range(1, schema.VERSION + 1))


def test_an_old_file_is_brought_up_to_date(path):
    outbox = LeftBehind(path)
    outbox.close()
    connection = sqlite3.connect(path)
    assert schema.version_of(connection) == schema.VERSION
    assert connection.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION_ID,)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_an_old_file_has_all_that_was_put_into_it(path):
    outbox = LeftBehind(path)
    assert sorted(outbox.searches()) == sorted([FINISHED, OPEN])
    assert outbox.open_searches() == [OPEN]
    assert outbox.waiting(FINISHED) > 10
    assert outbox.waiting(OPEN) > 5
    assert len(outbox.events(OPEN)) == 4
    assert outbox.events(FINISHED) == []
    assert outbox.recall(FINISHED) == {"server": "http://server:5000"}
    assert outbox.recall(OPEN) == {"run": "of the user", "param/numFolds": f"numFolds_{OPEN}"}
    assert outbox.destination(OPEN).run_id == "of the user"
    assert outbox.destination(FINISHED).tracking_uri == "http://server:5000"
    assert outbox.peek(1)[0].again
    outbox.close()


def test_an_old_file_is_delivered(path):
    with sqlite3.connect(path) as connection:
        version = schema.version_of(connection)
    connection.close()
    outbox, store = LeftBehind(path), InMemoryStore()
    assert end_dead_searches(outbox) == [OPEN]
    assert deliver(outbox, store) == []
    finished, died = store.main_runs()
    assert_finished(finished, store, version)
    assert_died(died, store)
    # The refused row is still there, until the user asks for another try.
    assert not outbox.is_empty()
    _, best = store.children(FINISHED)
    assert "trackmllib.best" not in best.tags
    outbox.take_back_rejected()
    assert deliver(outbox, store) == []
    assert best.tags["trackmllib.best"] == "true"
    assert outbox.is_empty()
    assert outbox.searches() == []
    outbox.close()


def test_searches_whose_own_rows_are_lost_are_known_again(path, tmp_path):
    """From their first operation, or from what is known of their runs; none is left RUNNING."""
    whole = LeftBehind(path)
    whole.close()
    connection = sqlite3.connect(path)
    tables = {
        table: connection.execute(f"SELECT * FROM {table}").fetchall()
        for table in ("events", "rows", "refused", "facts")
    }
    connection.close()
    outbox, store = LeftBehind(tmp_path / "new.db"), InMemoryStore()
    outbox.fill(tables)
    assert sorted(outbox.open_searches()) == sorted([FINISHED, OPEN])
    assert outbox.destination(FINISHED).tracking_uri == "http://server:5000"
    assert end_dead_searches(outbox) == [OPEN]
    deliver(outbox, store)
    runs = [*store.main_runs(), *store.children()]
    assert {run.search_id for run in runs} == {FINISHED, OPEN}
    assert "RUNNING" not in {run.status for run in runs}
    outbox.close()


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
    assert [m.value for m in run.metrics["cells_finished"]] == [1.0, 2.0, 3.0, 4.0]
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


def assert_died(run, store) -> None:
    last_ms = OPEN_MS + 3000
    assert run.search_id == OPEN
    assert (run.status, run.start_ms, run.end_ms) == ("KILLED", OPEN_MS, last_ms)
    when = "2026-09-21T15:13:23.000+00:00"
    assert run.tags["trackmllib.last_sign_of_life"] == when
    assert run.tags["trackmllib.error"].startswith("ProcessDied: the process ended without a word")
    assert [m.value for m in run.metrics["cells_finished"]] == [1.0]
    assert run.artifacts["results.csv"] == (
        "candidate,params.regParam,status,fold_0,fold_1,average,deviation,seconds\n"
        "0,0.1,KILLED,0.75,,,,1.0\n"
        "1,0.01,KILLED,,,,,\n"
    )
    first, second = store.children(OPEN)
    for child in (first, second):
        assert (child.status, child.end_ms) == ("KILLED", last_ms)
        assert child.tags["trackmllib.last_sign_of_life"] == when
    assert [(m.value, m.step) for m in first.metrics["areaUnderROC"]] == [(0.75, 0)]
    assert second.metrics == {}


def test_an_old_file_that_was_delivered_once_is_empty(path):
    outbox, store = LeftBehind(path), InMemoryStore()
    outbox.take_back_rejected()
    end_dead_searches(outbox)
    assert deliver(outbox, store) == []
    outbox.close()
    outbox = LeftBehind(path)
    assert outbox.is_empty()
    assert end_dead_searches(outbox) == []
    outbox.close()
    connection = sqlite3.connect(path)
    for table in ("searches", "events", "rows", "refused", "facts"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    connection.close()


def newer(path: Path) -> bytes:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    return path.read_bytes()


def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(path):
    before = newer(path)
    with pytest.raises(OutboxError, match=r"newer trackmllib \(schema 99, .*Update trackmllib"):
        LeftBehind(path)
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.glob("outbox.db*")] == ["outbox.db"]


def test_a_newer_file_in_the_folder_is_refused_and_left_as_it_is(path, tmp_path):
    home = Home(tmp_path / "home")
    held = home.create()
    held.outbox.close()
    held.lock.release()
    shutil.copy(path, held.outbox.path)
    before = newer(held.outbox.path)
    (entry,) = home.entries()
    with pytest.raises(OutboxError, match="newer trackmllib"):
        home.take(entry)
    assert held.outbox.path.read_bytes() == before
    assert home.damaged() == []
    (entry,) = home.entries()
    assert not entry.lives


def test_a_new_file_is_of_this_version(tmp_path):
    LeftBehind(tmp_path / "new.db").close()
    connection = sqlite3.connect(tmp_path / "new.db")
    assert schema.version_of(connection) == schema.VERSION
    connection.close()


def test_a_file_opened_twice_is_changed_once(tmp_path):
    for _ in range(2):
        LeftBehind(tmp_path / "new.db").close()
    connection = sqlite3.connect(tmp_path / "new.db")
    assert schema.version_of(connection) == schema.VERSION
    connection.close()
