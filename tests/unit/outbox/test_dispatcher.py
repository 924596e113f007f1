"""Failed rows let others go first, which are neither lost, overwritten nor blocked."""

from __future__ import annotations

import time

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE

from support.faulty_server import URI, FakeFiles, FakeServer, Fault
from support.generated_searches import own_destination, plain_search, shared_destination
from support.mortal_process import NoWait, copy_outbox, process, settle
from support.server_record import assert_series_are_apart, record, undisturbed
from trackmllib.domain.operations import (
    CreateChildRun,
    Destination,
    EndRun,
    LogArtifact,
    LogBatch,
    LogDataset,
    Metric,
    OpenParentRun,
    SetDescription,
)
from trackmllib.exceptions import Rejected, StoreUnauthorized, Unavailable
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.outbox.relay import Relay
from trackmllib.outbox.sqlite import SqliteOutbox

OPEN = OpenParentRun(
    search_id="s", destination=Destination(tracking_uri="http://h"), name="s", start_ms=1
)


class Target:
    """Applies operations to ``inner``, if any, unless ``fails`` returns an error for them."""

    def __init__(self, fails, inner=None, seconds=0.0):
        self.fails, self.inner, self.seconds, self.applied = fails, inner, seconds, []

    def apply(self, operation, redelivered=False):
        time.sleep(self.seconds)
        error = self.fails(operation)
        if error is not None:
            raise error
        if self.inner is not None:
            self.inner.apply(operation, redelivered)
        self.applied.append(operation)

    def answers(self, search_id):
        return self.inner is None or self.inner.answers(search_id)

    def forget(self, search_id):
        self.inner.forget(search_id)


def fail_in(running, fails):
    running.target.executor = Target(fails, running.target.executor)


def stub(fails, operations, seconds=0.0):
    outbox, target = MemoryOutbox(), Target(fails, seconds=seconds)
    outbox.enqueue(operations)
    return outbox, target, Relay(outbox, target, lambda *_: None, NoWait)


def test_last_value_of_tag_survives_lost_answer():
    server = FakeServer()
    with process(server) as running:
        for event in list(plain_search())[:2]:
            running.emit(own_destination("search0"), event)
        running.deliver()
        for value in ("a", "a, b"):
            tags = (("trackmllib.resumed_from", value),)
            running.outbox.enqueue([LogBatch(search_id="search0", candidate=0, tags=tags)])
        running.deliver(Fault(0, "cut", "after"))
        (child,) = [r for r in server.active() if "trackmllib.candidate" in r.tags]
        assert child.tags["trackmllib.resumed_from"] == "a, b"


def test_rows_of_a_split_batch_keep_their_order():
    old, new = (LogBatch(search_id="s", tags=(("t", v),)) for v in ("old", "new"))
    tries = []

    def fails(operation):
        if isinstance(operation, LogBatch) and len(operation.tags) == 2:
            return Unavailable("HTTP 504")
        tries.append(operation)
        return Unavailable("HTTP 502") if operation == old and tries.count(old) == 1 else None

    _, target, relay = stub(fails, [OPEN, old, new])
    relay.start()
    assert relay.flush(None, 10) == 0
    relay.stop()
    assert target.applied == [OPEN, old, new]


def test_failed_row_waits_for_no_other_search():
    last = LogArtifact(search_id="s", file_name="results.csv", text="x")
    failed = []

    def fails(operation):
        if operation == last and not failed:
            failed.append(operation)
            return Unavailable("HTTP 502")
        return None

    other = OpenParentRun(search_id="o", destination=OPEN.destination, name="o", start_ms=1)
    files = [LogArtifact(search_id="o", file_name=f"{n}", text="x") for n in range(300)]
    outbox, _, relay = stub(fails, [OPEN, last, other, *files], seconds=0.01)
    relay.start()
    assert relay.flush("s", 1.0) == 0
    assert outbox.waiting("o") > 100
    relay.stop()


@pytest.mark.parametrize("kind", ["files", "tags", "metrics"])
def test_names_of_deferred_rows_stay_those_of_their_search(kind, monkeypatch):
    server = FakeServer()
    server.users_run("users")
    original_log_batch, original_log_artifact = server.log_batch, FakeFiles.log_artifact
    fails = [True]

    def log_batch(run_id, metrics=(), params=(), tags=(), synchronous=None):
        if fails and run_id == "users" and {"tags": tags, "metrics": metrics}.get(kind):
            raise MlflowException("Internal error", INTERNAL_ERROR)
        return original_log_batch(run_id, metrics, params, tags, synchronous)

    def log_artifact(self, local_file, artifact_path=None):
        if fails and kind == "files":
            raise MlflowException("Internal error", INTERNAL_ERROR)
        return original_log_artifact(self, local_file, artifact_path)

    server.log_batch = log_batch
    monkeypatch.setattr(FakeFiles, "log_artifact", log_artifact)
    with process(server) as running:
        for event in plain_search(0):
            running.emit(shared_destination("search0"), event)
        assert running.deliver()
        assert any(running.outbox.undelivered("search0"))
        # As Session._forget_delivered does.
        running.target.forget("search0")
        fails.clear()
        for event in plain_search(1):
            running.emit(shared_destination("search1"), event)
        assert running.deliver()
        before = dict(server.runs["users"].tags), dict(server.runs["users"].artifacts)
        settle(running)
    run = server.runs["users"]
    tags = {k: v for k, v in before[0].items() if k != "mlflow.note.content"}
    assert tags.items() <= run.tags.items()
    assert before[1].items() <= run.artifacts.items()
    assert_series_are_apart(server)


def track_disk(running, snapshot):
    """Copy to ``snapshot`` what is on the physical disk: now, and after each checkpoint."""
    outbox, checkpoint = running.outbox, running.outbox.database.checkpoint

    def also_copy():
        checkpoint()
        copy_outbox(outbox.path, snapshot)

    outbox.database.checkpoint = also_copy
    copy_outbox(outbox.path, snapshot)


def test_second_recovery_ends_search_after_crash_of_first(tmp_path):
    events = list(plain_search())[:7]
    wanted = undisturbed(events)
    number, over = 0, False
    while not over:
        server, snapshot = FakeServer(), tmp_path / f"{number}.db"
        with process(server) as running:
            for event in events:
                running.emit(own_destination("search0"), event)
            running.deliver()
            running.crash()
            track_disk(running, snapshot)
            over = running.deliver(Fault(number, "die", "after"))
            running.kill(snapshot)
            running.outbox.mark_all_sent()
            settle(running)
        assert record(server) == wanted, f"request {number}"
        number += 1


def test_run_whose_end_failed_ends_after_machine_crash(tmp_path):
    *events, end = plain_search()
    server, snapshot = FakeServer(), tmp_path / "snapshot.db"
    with process(server) as running:
        fail_in(
            running,
            lambda o: Unavailable("504") if isinstance(o, EndRun) and o.candidate is None else None,
        )
        for event in events:
            running.emit(own_destination("search0"), event)
        track_disk(running, snapshot)
        running.emit(own_destination("search0"), end)
        running.deliver()
        running.kill(snapshot)
        running.outbox.mark_all_sent()
        settle(running)
    assert "RUNNING" not in {run.status for run in server.active()}


def test_bad_artifacts_delay_no_flush_after_user_deleted_a_run():
    server = FakeServer()
    *events, end = plain_search()
    with process(server) as running:
        for event in events:
            running.emit(own_destination("search0"), event)
        running.deliver()
        next(r for r in server.active() if r.tags.get("trackmllib.candidate") == "0").deleted = True
        set_tag = server.set_tag

        def of_active(run_id, key, value, synchronous=None):
            if server.runs[run_id].deleted:
                raise MlflowException("must be in the 'active' state", INVALID_PARAMETER_VALUE)
            return set_tag(run_id, key, value)

        server.set_tag = of_active
        fail_in(running, lambda o: Unavailable("504") if isinstance(o, LogArtifact) else None)
        running.emit(own_destination("search0"), end)
        running.relay.start()
        began = time.monotonic()
        assert running.relay.flush(None, 15.0) == running.outbox.waiting() > 0
        assert time.monotonic() - began < 10


def test_rejected_description_is_not_written_over_last_one():
    server = FakeServer()
    server.users_run("users")

    def fails(operation):
        if isinstance(operation, SetDescription) and not operation.is_last:
            return Rejected("no")
        of_results = isinstance(operation, LogArtifact) and operation.file_name == "results.csv"
        return Unavailable("504") if of_results else None

    with process(server) as running:
        fail_in(running, fails)
        for event in plain_search():
            running.emit(shared_destination("search0"), event)
        running.deliver()
        running.kill()
        running.outbox.requeue_rejected()
        running.deliver()
    assert "**Finished**" in server.runs["users"].tags["mlflow.note.content"]


@pytest.mark.slow
def test_last_row_whose_connection_always_breaks_is_deferred():
    dataset = LogDataset(search_id="s", digest="d", path=None, schema=())

    def fails(operation):
        if operation != dataset:
            return None
        error = Unavailable("reset")
        error.__cause__ = ConnectionResetError()
        return error

    _, _, relay = stub(fails, [OPEN, dataset])
    relay.start()
    assert relay.flush(None, 5.0) == 0
    relay.stop()
    assert relay.undelivered().deferred == 1


def test_inner_search_waits_for_no_deferred_run():
    """While files of the outer search need other credentials."""
    server = FakeServer()
    *begin, last = list(plain_search(0))[:5]

    def fails(operation):
        if operation.search_id != "search0":
            return None
        if isinstance(operation, CreateChildRun) and operation.candidate == 1:
            return Unavailable("504")
        return StoreUnauthorized("denied") if isinstance(operation, LogArtifact) else None

    with process(server) as running:
        fail_in(running, fails)
        for event in (*begin, last):
            running.emit(own_destination("search0"), event)
        inner = Destination(
            tracking_uri=URI,
            experiment_name="trees",
            parent_search_id="search0",
            parent_candidate=1,
        )
        for event in plain_search(1):
            running.emit(inner, event)
        running.relay.start()
        assert running.relay.flush(None, 5.0) == running.relay.blocked_count() == 1


def test_row_is_deferred_only_with_the_row_it_depends_on():
    bad = LogBatch(search_id="s", metrics=(Metric("bad", 1.0, 1),))
    old, new = (LogBatch(search_id="s", tags=(("t", v),)) for v in ("old", "new"))

    def fails(operation):
        names = {m.key for m in getattr(operation, "metrics", ())}
        return Unavailable("504") if "bad" in names else None

    outbox, target, relay = stub(fails, [OPEN, bad, old])
    relay.deliver_ready()
    relay.deliver_ready()
    outbox.enqueue([new])
    relay.start()
    assert relay.flush(None, 10) == 0
    relay.stop()
    assert target.applied == [OPEN, old, new]
    assert relay.undelivered().deferred == 1


def test_past_error_is_cleared(tmp_path):
    outbox = SqliteOutbox(tmp_path / "o.db")
    file = LogArtifact(search_id="s", file_name="a", text="x")
    bad = [True]
    target = Target(lambda o: StoreUnauthorized("denied") if o == file and bad else None)
    relay = Relay(outbox, target, lambda *_: None, NoWait)
    outbox.enqueue([OPEN, file])
    for _ in range(3):
        relay.deliver_ready()
    bad.clear()
    relay.retry_unauthorized()
    for _ in range(3):
        relay.deliver_ready()
    assert outbox.database.connection.execute("SELECT error FROM searches").fetchall() == [(None,)]
