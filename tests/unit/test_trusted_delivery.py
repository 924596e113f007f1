"""Delivery into a real store, which changes no other run and gives nothing up early."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from commands import environ, finished
from played import Player, search
from trackmllib.delivery.worker import Delivery
from trackmllib.errors import Blocked, Unavailable
from trackmllib.operations import (
    CloseSearch,
    CreateChildRun,
    Destination,
    EndRun,
    LogArtifact,
    LogBatch,
    Metric,
    OpenMainRun,
    TakeOver,
    child_run_tags,
)
from trackmllib.outbox.base import Undelivered
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.tracking.apply import MlflowTracking

# A thread of the user's plays a search when the main thread has been over for longer than all waits
# for delivery may take.
LATE_SEARCH = """
import sys, threading, time
from pathlib import Path
from commands import environ, finished
from played import Player, search

player = Player(Path(sys.argv[1]), sys.argv[2], sys.argv[3], flush_timeout=3.0)
player.session.start()

def train():
    threading.main_thread().join()
    time.sleep(4)
    for event in search([[0.1, 0.2], [0.8, 0.9]], [0.15, 0.85], best=1):
        player.session.emit(event)

threading.Thread(target=train).start()
"""

SCORES, AVERAGES = [[0.1, 0.2], [0.8, 0.9]], [0.15, 0.85]


@pytest.fixture(scope="module")
def uri(tmp_path_factory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('trusted')}/mlflow.db"


@pytest.fixture
def client(uri) -> MlflowClient:
    return MlflowClient(tracking_uri=uri)


@pytest.fixture
def experiment(client, request, tmp_path) -> str:
    return client.create_experiment(request.node.name, (tmp_path / "files").as_uri())


def process() -> MlflowTracking:
    """A new process, without the memory of earlier ones."""
    return MlflowTracking(pytest.fail, MemoryOutbox())


def opening(uri: str, experiment: str, search_id: str, **where) -> OpenMainRun:
    destination = Destination(tracking_uri=uri, experiment_id=experiment, **where)
    return OpenMainRun(search_id=search_id, destination=destination, name=search_id, start_ms=5)


def child(search_id: str, candidate: int) -> CreateChildRun:
    tags = child_run_tags(search_id, candidate)
    return CreateChildRun(
        search_id=search_id, candidate=candidate, name=f"c{candidate}", start_ms=6, tags=tags
    )


class FirstAnswersLost:
    """Applies operations. No request with the first point arrives until one with the second point
    has arrived, whose answer is lost.
    """

    def __init__(self, tracking: MlflowTracking) -> None:
        self._tracking = tracking
        self.forget = tracking.forget
        self.first_failed, self.second_arrived = threading.Event(), False

    def answers(self, search_id: str) -> bool:
        return False

    def apply(self, operation, again=False):
        steps = [point.step for point in getattr(operation, "metrics", ())]
        if self.second_arrived or not steps:
            self._tracking.apply(operation, again)
        elif 0 in steps:
            self.first_failed.set()
            raise Unavailable("HTTP 502")
        else:
            self._tracking.apply(operation, again)
            self.second_arrived = True
            raise Unavailable("HTTP 502")


def test_failed_batch_is_recorded_after_later_one_arrived(uri, client, experiment):
    outbox = MemoryOutbox()
    target = FirstAnswersLost(MlflowTracking(pytest.fail, outbox))
    delivery = Delivery(outbox, target, pytest.fail)
    of_child = {"search_id": "s", "candidate": 0}
    child = CreateChildRun(**of_child, name="c", start_ms=5, tags=())
    first, second = Metric("auc", 0.5, 10, 0), Metric("auc", 0.625, 20, 1)
    outbox.put([opening(uri, experiment, "s"), child, LogBatch(**of_child, metrics=(first,))])
    delivery.start()
    assert target.first_failed.wait(10.0)
    outbox.put([LogBatch(**of_child, metrics=(second,))])
    assert delivery.flush("s", 10.0) == 0
    (run,) = [run for run in client.search_runs([experiment]) if run.data.metrics]
    history = client.get_metric_history(run.info.run_id, "auc")
    assert [(point.value, point.step) for point in history] == [(0.5, 0), (0.625, 1)]


@pytest.mark.parametrize("candidate", [None, 3])
def test_nested_search_finds_run_of_earlier_process(uri, client, experiment, candidate):
    before = process()
    before.apply(opening(uri, experiment, "outer"))
    before.apply(child("outer", 3))
    where = {"parent_search_id": "outer", "parent_candidate": candidate}
    after = process()
    after.apply(opening(uri, experiment, "inner", **where))
    inner = client.get_run(after.run_id("inner", None))
    assert inner.data.tags[MLFLOW_PARENT_RUN_ID] == before.run_id("outer", candidate)


def test_nested_search_finds_shared_run(uri, client, experiment):
    run = client.create_run(experiment)
    first = process()
    for name in ("first", "outer"):
        first.apply(opening(uri, experiment, name, run_id=run.info.run_id, owned=False))
    client.set_tag(run.info.run_id, "trackmllib.search_id", "first")
    client.set_tag(run.info.run_id, "trackmllib.search_id_outer", "outer")
    after = process()
    after.apply(opening(uri, experiment, "inner", parent_search_id="outer"))
    inner = client.get_run(after.run_id("inner", None))
    assert inner.data.tags[MLFLOW_PARENT_RUN_ID] == run.info.run_id


def test_nested_search_without_parent_run_is_blocked(uri, experiment):
    with pytest.raises(Blocked, match="not on the tracking server"):
        process().apply(opening(uri, experiment, "inner", parent_search_id="nowhere"))


def test_only_empty_duplicates_are_deleted(uri, client, experiment):
    tracking = process()
    tracking.apply(opening(uri, experiment, "s"), again=True)
    tracking.apply(child("s", 0))
    ours = client.get_run(tracking.run_id("s", 0))
    tags = {key: value for key, value in ours.data.tags.items() if key != "mlflow.runName"}

    def copy(start_ms: int, name: str = "c0") -> str:
        return client.create_run(experiment, start_ms, tags, name).info.run_id

    double, of_user, renamed, filled, noted = copy(6), copy(7), copy(6, "copy"), copy(6), copy(6)
    client.log_metric(filled, "accuracy", 0.5)
    client.log_text(noted, "text", "notes.txt")
    tracking.apply(CloseSearch(search_id="s"))
    left = {run.info.run_id for run in client.search_runs([experiment])}
    assert double not in left
    assert {ours.info.run_id, of_user, renamed, filled, noted} <= left


def test_flush_is_false_after_rejection(uri, client, experiment, tmp_path):
    player = Player(tmp_path / "home", uri, experiment)
    client.delete_experiment(experiment)
    for event in search(SCORES, AVERAGES, best=1):
        player.session.emit(event)
    began = time.monotonic()
    assert player.session.flush(60) is False
    assert time.monotonic() - began < 20
    undelivered = player.session._delivery.undelivered()
    assert undelivered.rejected > 5
    assert undelivered == Undelivered(rejected=undelivered.rejected)


def test_unwritable_artifacts_are_deferred(uri, client, tmp_path):
    experiment = client.create_experiment(f"no place {tmp_path}", "file:///dev/null/files")
    player = Player(tmp_path / "home", uri, experiment)
    for event in search(SCORES, AVERAGES, best=1):
        player.session.emit(event)
    deadline = time.monotonic() + 60
    while not player.session._delivery.undelivered().deferred:
        assert player.session.flush(0.5) is False
        assert time.monotonic() < deadline
    assert {run.info.status for run in client.search_runs([experiment])} == {"FINISHED"}


def test_process_that_ends_warns_of_deferred_rows_in_memory(uri, client, tmp_path, caplog):
    """No other process can deliver what the disk did not take."""
    experiment = client.create_experiment(f"no disk {tmp_path}", "file:///dev/null/files")
    (tmp_path / "outbox").write_text("no folder")
    player = Player(tmp_path, uri, experiment, silent=False, report=False, flush_timeout=60.0)
    player.emit(search(SCORES, AVERAGES, best=1))
    deadline = time.monotonic() + 60
    while player.session.flush(0.5) is False and player.session._delivery.undelivered().waiting:
        assert time.monotonic() < deadline
    deferred = player.session._delivery.undelivered().deferred
    assert deferred > 0
    player.session._at_exit()
    last = [r.getMessage() for r in caplog.records if r.name == "trackmllib"][-1]
    assert f"{deferred} operations did not reach the tracking server" in last
    assert "What the disk did not take is lost" in last


def test_double_of_a_child_run_made_late_is_deleted(uri, client, experiment):
    """Nobody answers the first requests for a child run, and one is carried out very late."""
    outbox = MemoryOutbox()
    tracking = MlflowTracking(pytest.fail, outbox)
    late = child("s", 0)

    class Late:
        tries = 0

        def __getattr__(self, name):
            return getattr(tracking, name)

        def apply(self, operation, again=False):
            self.tries += operation == late
            if operation == late and self.tries < 5:
                raise Unavailable("no answer")
            tracking.apply(operation, again)
            if operation == late:
                (made,) = client.search_runs([experiment], "tags.`trackmllib.candidate` = '0'")
                tags = made.data.tags
                client.create_run(experiment, made.info.start_time, tags, made.info.run_name)

    delivery = Delivery(outbox, Late(), lambda *_: None)
    end = EndRun(search_id="s", candidate=0, status="FINISHED", end_ms=9)
    main_end = EndRun(search_id="s", status="FINISHED", end_ms=9)
    children = [late, child("s", 1), end, replace(end, candidate=1)]
    outbox.put([opening(uri, experiment, "s"), *children, main_end, CloseSearch(search_id="s")])
    delivery.start()
    assert delivery.flush(None, 30) == 0
    delivery.stop()
    statuses = [run.info.status for run in client.search_runs([experiment])]
    assert statuses == ["FINISHED"] * 3


def test_recovery_delivers_a_row_that_failed_of_a_search_that_ended(uri, client, experiment):
    outbox = MemoryOutbox()
    tracking = MlflowTracking(pytest.fail, outbox)
    tracking.apply(opening(uri, experiment, "s"))
    tracking.apply(LogArtifact(search_id="s", file_name="results.csv", text="of its end"))
    tracking.apply(EndRun(search_id="s", status="FINISHED", end_ms=8))
    score = LogBatch(search_id="s", metrics=(Metric("score", 0.5, 1),))

    class FailsOnce:
        tries = 0

        def __getattr__(self, name):
            return getattr(tracking, name)

        def apply(self, operation, again=False):
            self.tries += operation == score
            if operation == score and self.tries == 1:
                raise Unavailable("HTTP 502")
            tracking.apply(operation, again)

    of_recovery = {"search_id": "s", "of_recovery": True}
    delivery = Delivery(outbox, FailsOnce(), lambda *_: None)
    outbox.put([score, TakeOver(search_id="s")])
    outbox.put([LogBatch(**of_recovery, tags=(("died", "yes"),))])
    outbox.put([EndRun(**of_recovery, status="KILLED", end_ms=9), CloseSearch(**of_recovery)])
    delivery.start()
    assert delivery.flush(None, 30) == 0
    delivery.stop()
    (run,) = client.search_runs([experiment])
    assert (run.data.metrics, run.info.status) == ({"score": 0.5}, "FINISHED")
    assert "died" not in run.data.tags


def test_search_after_the_main_thread_ended_is_delivered(uri, client, experiment, tmp_path):
    command = [sys.executable, "-c", LATE_SEARCH, str(tmp_path / "home"), uri, experiment]
    done = finished(command, environ(Path(__file__).parents[1]))
    assert done.returncode == 0, done.stderr
    statuses = [run.info.status for run in client.search_runs([experiment])]
    assert statuses == ["FINISHED"] * 3, done.stderr


def test_flush_is_true_after_delivery(uri, experiment, tmp_path):
    player = Player(tmp_path / "home", uri, experiment)
    for event in search(SCORES, AVERAGES, best=1):
        player.session.emit(event)
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
        player.session.emit(event)
    assert player.session.flush(2) is False
    assert player.session._delivery.undelivered().rejected == 0
    (parent,) = client.search_runs(
        [experiment], f"tags.`trackmllib.search_id` = '{search_id}' AND params.candidates != '-'"
    )
    deadline = time.monotonic() + 30
    while client.get_run(parent.info.run_id).info.status != "FINISHED":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert player.session._delivery.undelivered().rejected == 0
