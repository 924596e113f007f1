"""Delivery into a real store: exactly once, without changes to other runs."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from support.sqlite_store import sqlite_store
from trackmllib.domain.operations import (
    CloseSearch,
    CreateChildRun,
    Destination,
    EndRun,
    LogArtifact,
    LogBatch,
    Metric,
    OpenParentRun,
    Recover,
    child_run_tags,
)
from trackmllib.exceptions import Blocked, Unavailable
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.outbox.relay import Relay
from trackmllib.tracking.executor import MlflowExecutor

pytestmark = pytest.mark.versions


@pytest.fixture(scope="module")
def uri(tmp_path_factory) -> str:
    return sqlite_store(tmp_path_factory.mktemp("trusted"))


@pytest.fixture
def client(uri) -> MlflowClient:
    return MlflowClient(tracking_uri=uri)


@pytest.fixture
def experiment(client, request, tmp_path) -> str:
    return client.create_experiment(request.node.name, (tmp_path / "files").as_uri())


def process() -> MlflowExecutor:
    """The executor of a new process, which knows of no run."""
    return MlflowExecutor(pytest.fail, MemoryOutbox())


def opening(uri: str, experiment: str, search_id: str, **where) -> OpenParentRun:
    destination = Destination(tracking_uri=uri, experiment_id=experiment, **where)
    return OpenParentRun(search_id=search_id, destination=destination, name=search_id, start_ms=5)


def child(search_id: str, candidate: int) -> CreateChildRun:
    tags = child_run_tags(search_id, candidate)
    return CreateChildRun(
        search_id=search_id, candidate=candidate, name=f"c{candidate}", start_ms=6, tags=tags
    )


class FirstAnswersLost:
    """Loses requests with the first point, and the answer to the second.

    After that, all requests arrive.
    """

    def __init__(self, tracking: MlflowExecutor) -> None:
        self._tracking = tracking
        self.forget = tracking.forget
        self.first_failed, self.second_arrived = threading.Event(), False

    def answers(self, search_id: str) -> bool:
        return False

    def apply(self, operation, redelivered=False):
        steps = [point.step for point in getattr(operation, "metrics", ())]
        if self.second_arrived or not steps:
            self._tracking.apply(operation, redelivered)
        elif 0 in steps:
            self.first_failed.set()
            raise Unavailable("HTTP 502")
        else:
            self._tracking.apply(operation, redelivered)
            self.second_arrived = True
            raise Unavailable("HTTP 502")


def test_failed_batch_is_recorded_after_later_one_arrived(uri, client, experiment):
    outbox = MemoryOutbox()
    target = FirstAnswersLost(MlflowExecutor(pytest.fail, outbox))
    relay = Relay(outbox, target, pytest.fail)
    of_child = {"search_id": "s", "candidate": 0}
    child = CreateChildRun(**of_child, name="c", start_ms=5, tags=())
    first, second = Metric("auc", 0.5, 10, 0), Metric("auc", 0.625, 20, 1)
    outbox.enqueue([opening(uri, experiment, "s"), child, LogBatch(**of_child, metrics=(first,))])
    relay.start()
    assert target.first_failed.wait(10.0)
    outbox.enqueue([LogBatch(**of_child, metrics=(second,))])
    assert relay.flush("s", 10.0) == 0
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
    tracking.apply(opening(uri, experiment, "s"), redelivered=True)
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


def test_duplicate_child_run_created_late_is_deleted(uri, client, experiment):
    """The first requests are unanswered, and one is executed very late."""
    outbox = MemoryOutbox()
    tracking = MlflowExecutor(pytest.fail, outbox)
    late = child("s", 0)

    class Late:
        tries = 0

        def __getattr__(self, name):
            return getattr(tracking, name)

        def apply(self, operation, redelivered=False):
            self.tries += operation == late
            if operation == late and self.tries < 5:
                raise Unavailable("no answer")
            tracking.apply(operation, redelivered)
            if operation == late:
                (made,) = client.search_runs([experiment], "tags.`trackmllib.candidate` = '0'")
                tags = made.data.tags
                client.create_run(experiment, made.info.start_time, tags, made.info.run_name)

    relay = Relay(outbox, Late(), lambda *_: None)
    end = EndRun(search_id="s", candidate=0, status="FINISHED", end_ms=9)
    parent_end = EndRun(search_id="s", status="FINISHED", end_ms=9)
    children = [late, child("s", 1), end, replace(end, candidate=1)]
    outbox.enqueue(
        [opening(uri, experiment, "s"), *children, parent_end, CloseSearch(search_id="s")]
    )
    relay.start()
    assert relay.flush(None, 30) == 0
    relay.stop()
    statuses = [run.info.status for run in client.search_runs([experiment])]
    assert statuses == ["FINISHED"] * 3


def test_recovery_delivers_failed_row_of_ended_search(uri, client, experiment):
    outbox = MemoryOutbox()
    tracking = MlflowExecutor(pytest.fail, outbox)
    tracking.apply(opening(uri, experiment, "s"))
    tracking.apply(LogArtifact(search_id="s", file_name="results.csv", text="of its end"))
    tracking.apply(EndRun(search_id="s", status="FINISHED", end_ms=8))
    score = LogBatch(search_id="s", metrics=(Metric("score", 0.5, 1),))

    class FailsOnce:
        tries = 0

        def __getattr__(self, name):
            return getattr(tracking, name)

        def apply(self, operation, redelivered=False):
            self.tries += operation == score
            if operation == score and self.tries == 1:
                raise Unavailable("HTTP 502")
            tracking.apply(operation, redelivered)

    of_recovery = {"search_id": "s", "of_recovery": True}
    relay = Relay(outbox, FailsOnce(), lambda *_: None)
    outbox.enqueue([score, Recover(search_id="s")])
    outbox.enqueue([LogBatch(**of_recovery, tags=(("died", "yes"),))])
    outbox.enqueue([EndRun(**of_recovery, status="KILLED", end_ms=9), CloseSearch(**of_recovery)])
    relay.start()
    assert relay.flush(None, 30) == 0
    relay.stop()
    (run,) = client.search_runs([experiment])
    assert (run.data.metrics, run.info.status) == ({"score": 0.5}, "FINISHED")
    assert "died" not in run.data.tags
