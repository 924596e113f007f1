"""On a SQLite file many operations are one transaction: all of them stand, or none."""

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

from trackmllib.delivery import worker
from trackmllib.delivery.worker import Delivery
from trackmllib.errors import Rejected, Unavailable
from trackmllib.operations import (
    CreateChildRun,
    Destination,
    EndRun,
    LogArtifact,
    LogBatch,
    Metric,
    OpenMainRun,
)
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.tracking import together
from trackmllib.tracking.apply import MlflowTracking
from trackmllib.tracking.known import Known


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture
def scene(uri):
    return Scene(uri)


class Scene:
    """A search whose main run is open."""

    def __init__(self, uri):
        self.client = MlflowClient(uri)
        self.experiment_id = self.client.create_experiment(f"test-{time.monotonic_ns()}")
        self.outbox = MemoryOutbox()
        self.notes = []
        self.tracking = MlflowTracking(lambda *note: self.notes.append(note), self.outbox)
        self.tracking.apply(
            OpenMainRun(
                search_id="s",
                destination=Destination(tracking_uri=uri, experiment_id=self.experiment_id),
                name="search",
                start_ms=1,
            )
        )

    def children(self):
        runs = self.client.search_runs([self.experiment_id], "tags.`trackmllib.candidate` LIKE '%'")
        return {int(run.data.tags["trackmllib.candidate"]): run for run in runs}

    def together(self, operations):
        assert self.tracking.fit_together(operations) == len(operations)
        return self.tracking.apply_together(operations)


def child(candidate, param="1"):
    who = {"search_id": "s", "candidate": candidate}
    tags = (("trackmllib.search_id", "s"), ("trackmllib.candidate", str(candidate)))
    points = tuple(Metric("m", float(fold), 10 + fold, fold) for fold in range(3))
    return [
        CreateChildRun(**who, name=f"x={candidate}", start_ms=1, tags=tags),
        LogBatch(**who, params=(("x", param),), metrics=points),
        EndRun(**who, status="FINISHED", end_ms=99),
    ]


def test_all_of_it_stands_as_if_it_had_come_one_by_one(scene):
    assert scene.tracking.runs_at_once() > 1
    assert scene.together([*child(0), *child(1)])
    for operation in child(2):
        scene.tracking.apply(operation)
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
    assert scene.outbox.recall("s")["child/1"] == two.info.run_id


def test_a_run_is_told_more_in_the_same_transaction_and_in_the_next(scene):
    def batch(candidate, value, step):
        metrics = (Metric("m", value, 50, step),)
        return LogBatch(search_id="s", candidate=candidate, metrics=metrics, tags=(("t", "new"),))

    assert scene.together([*child(0), batch(0, 7.0, 7), *child(1)])
    assert scene.together([batch(0, 6.0, 6), batch(1, 8.0, 8)])
    one, two = (run for _, run in sorted(scene.children().items()))
    steps = [(m.step, m.value) for m in scene.client.get_metric_history(one.info.run_id, "m")]
    assert sorted(steps) == [(0, 0.0), (1, 1.0), (2, 2.0), (6, 6.0), (7, 7.0)]
    # The latest one is that of the highest step.
    assert (one.data.metrics["m"], two.data.metrics["m"]) == (7.0, 8.0)
    assert one.data.tags["t"] == two.data.tags["t"] == "new"


def test_runs_that_are_made_and_ended_are_looked_up_by_nobody(scene):
    """What MLflow asks for each time costs more than what it writes."""
    transaction = together.one_transaction(scene.client, "sqlite:///x")
    engine = scene.client._tracking_client.store.engine
    asked = []

    def heard(connection, cursor, statement, *_):
        if statement.startswith("SELECT"):
            asked.append(statement.partition("FROM ")[2].split()[0])

    event.listen(engine, "before_cursor_execute", heard)
    try:
        with transaction() as client:
            for value in (1.0, 2.0):
                run_id = client.create_run(scene.experiment_id, tags={"t": "made"}).info.run_id
                client.log_batch(run_id, [MlflowMetric("m", value, 1, 1)], [Param("x", "1")])
                client.set_terminated(run_id)
    finally:
        event.remove(engine, "before_cursor_execute", heard)
    assert "runs" not in asked
    # The experiment once, with its tags, and for each of the two what is said of a metric so far.
    assert len(asked) <= 2 + 2 * 2
    assert scene.client.get_run(run_id).data.metrics == {"m": 2.0}


def test_what_is_said_twice_in_a_transaction_is_as_if_it_were_in_two(scene):
    transaction = together.one_transaction(scene.client, "sqlite:///x")
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


def test_nobody_changes_a_run_between_our_look_and_our_word(scene, uri):
    run_id = scene.client.create_run(scene.experiment_id).info.run_id
    transaction = together.one_transaction(scene.client, uri)
    with (
        closing(sqlite3.connect(uri.removeprefix("sqlite:///"), timeout=0.0)) as other,
        transaction([run_id]),
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("BEGIN IMMEDIATE")


def test_where_one_is_refused_nothing_stands_and_nothing_is_known(scene, caplog):
    known = scene.outbox.recall("s")
    again = LogBatch(search_id="s", candidate=0, params=(("x", "another"),))
    with caplog.at_level(logging.CRITICAL):
        assert not scene.together([*child(1), *child(0), again])
    assert scene.children() == {}
    assert scene.outbox.recall("s") == known
    assert scene.tracking.run_id("s", 0) is None
    for operation in [*child(1), *child(0)]:
        scene.tracking.apply(operation)
    with pytest.raises(Rejected, match="x not logged"):
        scene.tracking.apply(again)
    assert sorted(scene.children()) == [0, 1]


def test_nobody_else_knows_of_a_run_before_it_stands(scene):
    known = Known("s", scene.outbox)
    with known.all_or_nothing():
        known.keep({"child/7": "run"})
        assert known.get("child/7") == "run"
        assert known.stands("child/7") is None
        assert known.runs().get(7) is None
    assert known.stands("child/7") == "run"
    assert scene.outbox.recall("s")["child/7"] == "run"

    def fail():
        with known.all_or_nothing():
            known.keep({"child/8": "run"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert known.get("child/8") is None
    assert "child/8" not in scene.outbox.recall("s")


def test_what_asks_the_server_something_goes_by_itself(scene):
    file = LogArtifact(search_id="s", candidate=0, file_name="f", text="")
    if_running = EndRun(search_id="s", candidate=0, status="KILLED", end_ms=1, if_running=True)
    assert scene.tracking.fit_together([*child(0), file, *child(1)]) == 3
    assert scene.tracking.fit_together([if_running]) == 0
    assert scene.tracking.fit_together([LogBatch(search_id="s")]) == 1


def test_others_use_the_store_meanwhile(scene):
    transaction = together.one_transaction(scene.client, "sqlite:///x")
    with transaction() as client:
        made = client.create_run(scene.experiment_id)
        # Not this transaction: what is not committed is not seen.
        assert scene.client.search_runs([scene.experiment_id], max_results=2)[0] is not None
        with pytest.raises(Exception, match="not found"):
            scene.client.get_run(made.info.run_id)
    assert scene.client.get_run(made.info.run_id).info.status == "RUNNING"


def test_a_store_that_is_not_as_it_was_is_used_as_it_is(uri):
    client = MlflowClient(uri)
    assert together.one_transaction(client, "http://server") is None
    assert together.one_transaction(object(), uri) is None


def test_delivery_sends_what_fits_together_and_the_rest_one_by_one(scene):
    refused = []
    delivery = Delivery(
        scene.outbox,
        scene.tracking,
        lambda operation, error: refused.append((operation.candidate, str(error))),
        together=scene.tracking,
    )
    for candidate in range(10):
        scene.outbox.put(child(candidate))
    scene.outbox.put([LogBatch(search_id="s", candidate=4, params=(("x", "another"),))])
    delivery.start()
    assert delivery.flush(None, 30.0) == 0
    delivery.stop()
    assert {run.info.status for run in scene.children().values()} == {"FINISHED"}
    assert len(scene.children()) == 10
    assert [candidate for candidate, _ in refused] == [4]


def test_the_thread_rests_unless_somebody_waits_for_it(monkeypatch):
    monkeypatch.setattr(worker, "RESTS", 1000.0)
    applied = []

    class Busy:
        def apply(self, operation, again=False):
            until = time.thread_time() + 0.01
            while time.thread_time() < until:
                pass
            applied.append(operation.file_name)

    outbox = MemoryOutbox()
    delivery = Delivery(outbox, Busy(), lambda *_: None)
    for name in ("1", "2", "3"):
        # Runs of their own: what waits for one run goes without a rest.
        outbox.put([LogArtifact(search_id="s", candidate=int(name), file_name=name, text="")])
    delivery.start()
    deadline = time.monotonic() + 10
    while not applied and time.monotonic() < deadline:
        time.sleep(0.01)
    threading.Event().wait(0.3)
    assert applied == ["1"]
    assert delivery.flush(None, 10.0) == 0
    assert applied == ["1", "2", "3"]
    delivery.stop()


def test_a_server_that_does_not_answer_is_no_reason_to_rest_for_long(monkeypatch):
    """One search waits 0.5 s for its server, which is away then; the other one is not kept."""
    monkeypatch.setattr(worker, "RESTS_OF_SERVER", 1000.0)
    monkeypatch.setattr(worker, "MOST_SECONDS_OF_SERVER", 0.2)
    applied = threading.Event()

    class Away:
        def apply(self, operation, again=False):
            if operation.search_id == "away":
                time.sleep(0.5)
                raise Unavailable("no answer")
            applied.set()

        def answers(self, search_id):
            return search_id != "away"

    outbox = MemoryOutbox()
    delivery = Delivery(outbox, Away(), lambda *_: None)
    outbox.put([LogArtifact(search_id="away", file_name="f", text="")])
    outbox.put([LogArtifact(search_id="there", file_name="f", text="")])
    delivery.start()
    assert applied.wait(10)
    delivery.stop()


def test_a_file_among_them_goes_by_itself_and_the_others_together(scene, monkeypatch):
    together, singly = [], []
    for name, seen in (("apply_together", together), ("apply", singly)):
        original = getattr(MlflowTracking, name)

        def noting(self, given, *rest, _original=original, _seen=seen):
            # Sessions of other tests may still deliver.
            if self is scene.tracking:
                _seen.append(given)
            return _original(self, given, *rest)

        monkeypatch.setattr(MlflowTracking, name, noting)
    file = LogArtifact(search_id="s", file_name="f.txt", text="")
    scene.outbox.put([file, *child(0), *child(1)])
    delivery = Delivery(scene.outbox, scene.tracking, pytest.fail, together=scene.tracking)
    delivery.start()
    assert delivery.flush(None, 30.0) == 0
    delivery.stop()
    assert singly == [file]
    assert together == [[*child(0), *child(1)]]


def test_a_process_that_dies_before_it_says_so_leaves_each_thing_once(scene):
    """Between the commit of the store and the acknowledgement, and taken up by somebody else."""
    operations = [one for candidate in range(3) for one in child(candidate)]
    scene.outbox.put(operations)
    acknowledge, died = scene.outbox.acknowledge, []

    def dies(numbers):
        if not died:
            died.extend(numbers)
            raise OSError("the process is gone")
        acknowledge(numbers)

    scene.outbox.acknowledge = dies
    heir = MlflowTracking(lambda *note: scene.notes.append(note), scene.outbox)
    first = Delivery(scene.outbox, scene.tracking, lambda *_: None, together=scene.tracking)
    with pytest.raises(OSError, match="gone"):
        first._deliver()
    assert len(died) >= 3
    assert len(scene.children()) == 3
    delivery = Delivery(scene.outbox, heir, lambda *_: None, together=heir)
    delivery.start()
    assert delivery.flush(None, 30.0) == 0
    children = scene.children()
    assert sorted(children) == [0, 1, 2]
    for run in children.values():
        points = scene.client.get_metric_history(run.info.run_id, "m")
        assert sorted(point.step for point in points) == [0, 1, 2]
        assert run.info.status == "FINISHED"
    assert scene.notes == []
