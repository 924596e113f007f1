"""Many operations in one transaction of a SQLite file, and the relay that sends them."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from contextlib import closing

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric as MlflowMetric
from mlflow.entities import Param, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy import event

from support.sqlite_store import sqlite_store
from trackmllib.domain.operations import (
    CreateChildRun,
    Destination,
    EndRun,
    LogArtifact,
    LogBatch,
    Metric,
    OpenParentRun,
)
from trackmllib.exceptions import Rejected, Unavailable
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.outbox.relay import Relay
from trackmllib.tracking.executor import MlflowExecutor
from trackmllib.tracking.run_registry import RunRegistry
from trackmllib.tracking.sqlite_batch import store_transaction

pytestmark = pytest.mark.versions


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return sqlite_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def scene(uri):
    return Scene(uri)


class Scene:
    """A search whose parent run is open."""

    def __init__(self, uri):
        self.client = MlflowClient(uri)
        self.experiment_id = self.client.create_experiment(f"test-{time.monotonic_ns()}")
        self.outbox = MemoryOutbox()
        self.notes = []
        self.executor = MlflowExecutor(lambda *note: self.notes.append(note), self.outbox)
        self.executor.apply(
            OpenParentRun(
                search_id="s",
                destination=Destination(tracking_uri=uri, experiment_id=self.experiment_id),
                name="search",
                start_ms=1,
            )
        )

    def children(self):
        runs = self.client.search_runs([self.experiment_id], "tags.`trackmllib.candidate` LIKE '%'")
        return {int(run.data.tags["trackmllib.candidate"]): run for run in runs}

    def apply_in_transaction(self, operations):
        assert self.executor.transaction_size(operations) == len(operations)
        return self.executor.apply_in_transaction(operations)


def child(candidate, param="1"):
    who = {"search_id": "s", "candidate": candidate}
    tags = (("trackmllib.search_id", "s"), ("trackmllib.candidate", str(candidate)))
    points = tuple(Metric("m", float(fold), 10 + fold, fold) for fold in range(3))
    return [
        CreateChildRun(**who, name=f"x={candidate}", start_ms=1, tags=tags),
        LogBatch(**who, params=(("x", param),), metrics=points),
        EndRun(**who, status="FINISHED", end_ms=99),
    ]


def test_transaction_logs_what_single_calls_log(scene):
    assert scene.executor.runs_per_transaction() > 1
    assert scene.apply_in_transaction([*child(0), *child(1)])
    for operation in child(2):
        scene.executor.apply(operation)
    one, two, three = (run for _, run in sorted(scene.children().items()))
    for run in (one, two, three):
        assert (run.info.status, run.info.end_time) == ("FINISHED", 99)
        assert run.data.params == {"x": "1"}
        points = scene.client.get_metric_history(run.info.run_id, "m")
        assert [(m.step, m.value, m.timestamp) for m in points] == [
            (fold, float(fold), 10 + fold) for fold in range(3)
        ]
    assert one.data.tags.keys() == three.data.tags.keys()
    assert one.info.run_name == "x=0"
    assert scene.outbox.load_registry("s")["child/1"] == two.info.run_id


def test_run_gets_more_batches_in_same_and_next_transaction(scene):
    def batch(candidate, value, step):
        metrics = (Metric("m", value, 50, step),)
        return LogBatch(search_id="s", candidate=candidate, metrics=metrics, tags=(("t", "new"),))

    assert scene.apply_in_transaction([*child(0), batch(0, 7.0, 7), *child(1)])
    assert scene.apply_in_transaction([batch(0, 6.0, 6), batch(1, 8.0, 8)])
    one, two = (run for _, run in sorted(scene.children().items()))
    steps = [(m.step, m.value) for m in scene.client.get_metric_history(one.info.run_id, "m")]
    assert sorted(steps) == [(0, 0.0), (1, 1.0), (2, 2.0), (6, 6.0), (7, 7.0)]
    # The latest point is that of the highest step.
    assert (one.data.metrics["m"], two.data.metrics["m"]) == (7.0, 8.0)
    assert one.data.tags["t"] == two.data.tags["t"] == "new"


def test_new_runs_are_not_looked_up(scene):
    """MLflow's lookups in each call cost more than its writes."""
    transaction = store_transaction(scene.client, "sqlite:///x")
    engine = scene.client._tracking_client.store.engine
    selected = []

    def on_execute(connection, cursor, statement, *_):
        if statement.startswith("SELECT"):
            selected.append(statement.partition("FROM ")[2].split()[0])

    event.listen(engine, "before_cursor_execute", on_execute)
    try:
        with transaction() as client:
            for value in (1.0, 2.0):
                run_id = client.create_run(scene.experiment_id, tags={"t": "made"}).info.run_id
                client.log_batch(run_id, [MlflowMetric("m", value, 1, 1)], [Param("x", "1")])
                client.set_terminated(run_id)
    finally:
        event.remove(engine, "before_cursor_execute", on_execute)
    assert "runs" not in selected
    # The experiment once, with its tags, and for each run the latest value of the metric.
    assert len(selected) <= 2 + 2 * 2
    assert scene.client.get_run(run_id).data.metrics == {"m": 2.0}


def test_repetition_in_a_transaction_acts_as_in_two(scene):
    transaction = store_transaction(scene.client, "sqlite:///x")
    with transaction() as client:
        run_id = client.create_run(scene.experiment_id, tags={"t": "made"}).info.run_id
        client.log_batch(run_id, [MlflowMetric("m", 1.0, 1, 1)], [Param("x", "1")], [])
        client.log_batch(run_id, [MlflowMetric("m", 2.0, 1, 2)], [Param("x", "1")], [])
        client.log_batch(run_id, tags=[RunTag("t", "changed")])
    with transaction([run_id]) as client:
        client.log_batch(
            run_id, [MlflowMetric("m", 1.5, 1, 1)], [Param("x", "1")], [RunTag("t", "again")]
        )
        client.log_batch(run_id, params=[Param("x", "1"), Param("y", "2")])
    data = scene.client.get_run(run_id).data
    assert (data.params, data.metrics) == ({"x": "1", "y": "2"}, {"m": 2.0})
    assert data.tags["t"] == "again"

    def contradict():
        with transaction() as client:
            client.log_batch(run_id, params=[Param("z", "1")])
            client.log_batch(run_id, params=[Param("z", "2")])

    with pytest.raises(MlflowException, match="Changing param values"):
        contradict()
    assert "z" not in scene.client.get_run(run_id).data.params


def test_no_other_program_changes_a_run_in_a_transaction(scene, uri):
    run_id = scene.client.create_run(scene.experiment_id).info.run_id
    transaction = store_transaction(scene.client, uri)
    with (
        closing(sqlite3.connect(uri.removeprefix("sqlite:///"), timeout=0.0)) as other,
        transaction([run_id]),
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("BEGIN IMMEDIATE")


def test_rejected_operation_rolls_back_store_and_registry(scene, caplog):
    registry = scene.outbox.load_registry("s")
    again = LogBatch(search_id="s", candidate=0, params=(("x", "another"),))
    with caplog.at_level(logging.CRITICAL):
        assert not scene.apply_in_transaction([*child(1), *child(0), again])
    assert scene.children() == {}
    assert scene.outbox.load_registry("s") == registry
    assert scene.executor.run_id("s", 0) is None
    for operation in [*child(1), *child(0)]:
        scene.executor.apply(operation)
    with pytest.raises(Rejected, match="x not logged"):
        scene.executor.apply(again)
    assert sorted(scene.children()) == [0, 1]


def test_other_threads_do_not_see_uncommitted_runs(scene):
    registry = RunRegistry("s", scene.outbox)
    with registry.transaction():
        registry.save({"child/7": "run"})
        assert registry.get("child/7") == "run"
        assert registry.get_committed("child/7") is None
        assert registry.runs().get(7) is None
    assert registry.get_committed("child/7") == "run"
    assert scene.outbox.load_registry("s")["child/7"] == "run"

    def fail():
        with registry.transaction():
            registry.save({"child/8": "run"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert registry.get("child/8") is None
    assert "child/8" not in scene.outbox.load_registry("s")


def test_operation_that_needs_an_answer_is_sent_singly(scene):
    file = LogArtifact(search_id="s", candidate=0, file_name="f", text="")
    if_running = EndRun(search_id="s", candidate=0, status="KILLED", end_ms=1, if_running=True)
    assert scene.executor.transaction_size([*child(0), file, *child(1)]) == 3
    assert scene.executor.transaction_size([if_running]) == 0
    assert scene.executor.transaction_size([LogBatch(search_id="s")]) == 1


def test_other_threads_use_the_store_during_a_transaction(scene):
    transaction = store_transaction(scene.client, "sqlite:///x")
    with transaction() as client:
        made = client.create_run(scene.experiment_id)
        # Without the changes that are not committed.
        assert scene.client.search_runs([scene.experiment_id], max_results=2)[0] is not None
        with pytest.raises(Exception, match="not found"):
            scene.client.get_run(made.info.run_id)
    assert scene.client.get_run(made.info.run_id).info.status == "RUNNING"


def test_unknown_store_has_no_transactions(uri):
    client = MlflowClient(uri)
    assert store_transaction(client, "http://server") is None
    assert store_transaction(object(), uri) is None


def test_relay_sends_transactions_and_the_rest_singly(scene):
    rejected = []
    relay = Relay(
        scene.outbox,
        scene.executor,
        lambda operation, error: rejected.append((operation.candidate, str(error))),
        transactional=scene.executor,
    )
    for candidate in range(10):
        scene.outbox.enqueue(child(candidate))
    scene.outbox.enqueue([LogBatch(search_id="s", candidate=4, params=(("x", "another"),))])
    relay.start()
    assert relay.flush(None, 30.0) == 0
    relay.stop()
    assert {run.info.status for run in scene.children().values()} == {"FINISHED"}
    assert len(scene.children()) == 10
    assert [candidate for candidate, _ in rejected] == [4]


def test_thread_rests_unless_a_flush_waits(monkeypatch):
    monkeypatch.setattr("trackmllib.outbox.relay.RESTS", 1000.0)
    applied = []

    class Busy:
        def apply(self, operation, redelivered=False):
            until = time.thread_time() + 0.01
            while time.thread_time() < until:
                pass
            applied.append(operation.file_name)

    outbox = MemoryOutbox()
    relay = Relay(outbox, Busy(), lambda *_: None)
    for name in ("1", "2", "3"):
        # Of different runs, because rows of one run are sent without a rest.
        outbox.enqueue([LogArtifact(search_id="s", candidate=int(name), file_name=name, text="")])
    relay.start()
    deadline = time.monotonic() + 10
    while not applied and time.monotonic() < deadline:
        time.sleep(0.01)
    threading.Event().wait(0.3)
    assert applied == ["1"]
    assert relay.flush(None, 10.0) == 0
    assert applied == ["1", "2", "3"]
    relay.stop()


def test_rest_after_a_silent_server_is_bounded(monkeypatch):
    """One search waits 0.5 s for its silent server, which holds up no other search."""
    monkeypatch.setattr("trackmllib.outbox.relay.RESTS_OF_SERVER", 1000.0)
    monkeypatch.setattr("trackmllib.outbox.relay.MOST_SECONDS_OF_SERVER", 0.2)
    applied = threading.Event()

    class UnreachableTarget:
        def apply(self, operation, redelivered=False):
            if operation.search_id == "away":
                time.sleep(0.5)
                raise Unavailable("no answer")
            applied.set()

        def answers(self, search_id):
            return search_id != "away"

    outbox = MemoryOutbox()
    relay = Relay(outbox, UnreachableTarget(), lambda *_: None)
    outbox.enqueue([LogArtifact(search_id="away", file_name="f", text="")])
    outbox.enqueue([LogArtifact(search_id="there", file_name="f", text="")])
    relay.start()
    assert applied.wait(10)
    relay.stop()


def test_file_is_sent_singly_between_transactions(scene, monkeypatch):
    batched, single = [], []
    for name, seen in (("apply_in_transaction", batched), ("apply", single)):
        original = getattr(MlflowExecutor, name)

        def spy(self, given, *rest, _original=original, _seen=seen):
            # Sessions of other tests may still deliver.
            if self is scene.executor:
                _seen.append(given)
            return _original(self, given, *rest)

        monkeypatch.setattr(MlflowExecutor, name, spy)
    file = LogArtifact(search_id="s", file_name="f.txt", text="")
    scene.outbox.enqueue([file, *child(0), *child(1)])
    relay = Relay(scene.outbox, scene.executor, pytest.fail, transactional=scene.executor)
    relay.start()
    assert relay.flush(None, 30.0) == 0
    relay.stop()
    assert single == [file]
    assert batched == [[*child(0), *child(1)]]


def test_crash_between_commit_and_acknowledgement_duplicates_nothing(scene):
    operations = [one for candidate in range(3) for one in child(candidate)]
    scene.outbox.enqueue(operations)
    acknowledge, died = scene.outbox.acknowledge, []

    def die_once(numbers):
        if not died:
            died.extend(numbers)
            raise OSError("the process is gone")
        acknowledge(numbers)

    scene.outbox.acknowledge = die_once
    successor = MlflowExecutor(lambda *note: scene.notes.append(note), scene.outbox)
    first = Relay(scene.outbox, scene.executor, lambda *_: None, transactional=scene.executor)
    with pytest.raises(OSError, match="gone"):
        first.deliver_ready()
    assert len(died) >= 3
    assert len(scene.children()) == 3
    relay = Relay(scene.outbox, successor, lambda *_: None, transactional=successor)
    relay.start()
    assert relay.flush(None, 30.0) == 0
    children = scene.children()
    assert sorted(children) == [0, 1, 2]
    for run in children.values():
        points = scene.client.get_metric_history(run.info.run_id, "m")
        assert sorted(point.step for point in points) == [0, 1, 2]
        assert run.info.status == "FINISHED"
    assert scene.notes == []
