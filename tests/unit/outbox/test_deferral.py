"""Failed rows let the others go first, and are deferred with their dependents."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from trackmllib.domain.operations import (
    CloseSearch,
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
from trackmllib.exceptions import Rejected, StoreUnauthorized, Unauthorized, Unavailable
from trackmllib.outbox import database
from trackmllib.outbox.backoff import Backoff
from trackmllib.outbox.base import Undelivered
from trackmllib.outbox.delivery_order import depends_on
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.outbox.process import ProcessOutbox
from trackmllib.outbox.recovered import RecoveredOutbox
from trackmllib.outbox.relay import Relay
from trackmllib.outbox.sqlite import SqliteOutbox


class NoWait(Backoff):
    def on_unavailable(self) -> float:
        return 0.001


@pytest.fixture(autouse=True)
def _fast_relay(monkeypatch):
    monkeypatch.setattr("trackmllib.outbox.relay.LOOK_AGAIN_SECONDS", 0.002)


class Server:
    """Applies operations, unless ``fails`` returns an error for them."""

    def __init__(self, fails):
        self.fails = fails
        self.applied = []
        self.tries = []

    def apply(self, operation, redelivered=False):
        self.tries.append(operation)
        error = self.fails(operation)
        if error is not None:
            raise error
        self.applied.append(operation)

    def answers(self, search_id):
        return True

    def kinds(self):
        return [(type(o).__name__, o.candidate) for o in self.applied]


OPEN = OpenParentRun(
    search_id="s", destination=Destination(tracking_uri="http://h"), name="s", start_ms=1
)


def child(candidate):
    return [
        CreateChildRun(search_id="s", candidate=candidate, name="c", start_ms=1, tags=()),
        LogBatch(search_id="s", candidate=candidate, metrics=(Metric("m", 0.5, 1, 0),)),
        EndRun(search_id="s", candidate=candidate, status="FINISHED", end_ms=2),
    ]


def file(name, candidate=None):
    return LogArtifact(search_id="s", candidate=candidate, file_name=name, text="x")


# Operations that this process defers, unlike artifacts.
DATASET = LogDataset(search_id="s", digest="d", path=None, schema=())
DESCRIPTION = SetDescription(search_id="s", text="x")


END = EndRun(search_id="s", status="FINISHED", end_ms=3)


def search(candidates=8, first=DATASET, last=DESCRIPTION):
    children = [operation for n in range(candidates) for operation in child(n)]
    return [
        OPEN,
        first,
        *children,
        last,
        END,
        CloseSearch(search_id="s"),
    ]


@pytest.fixture(params=["memory", "disk", "process", "process without a disk"])
def outbox(request, tmp_path):
    if request.param == "memory":
        return MemoryOutbox()
    if request.param.startswith("process"):
        path = tmp_path / "home"
        if "without" in request.param:
            path.write_text("a file, where a folder should be")
        return ProcessOutbox(OutboxDirectory(path), lambda _: None)
    return SqliteOutbox(tmp_path / "outbox.db", threading.Condition())


def deliver(outbox, server, operations, seconds=10.0):
    failures = []
    relay = Relay(outbox, server, lambda o, e: failures.append((o, str(e))), NoWait)
    outbox.enqueue(operations)
    relay.start()
    left = relay.flush(None, seconds)
    relay.stop()
    return failures, left, relay


def test_failing_row_is_deferred_and_rest_delivered(outbox):
    bad = DATASET
    server = Server(lambda o: Unavailable("HTTP 504") if o == bad else None)
    failures, left, relay = deliver(outbox, server, search())
    assert left == 0
    assert server.tries.count(bad) == 5
    assert [o for o, _ in failures] == [bad]
    assert "HTTP 504" in failures[0][1]
    assert "`trackmllib sync`" in failures[0][1]
    assert set(server.applied) == set(search()) - {bad}
    assert relay.undelivered() == Undelivered(waiting=0, deferred=1, rejected=0)


def circular_error():
    """An error that is its own cause, as ``raise error from error`` makes it."""
    error = Unavailable("itself")
    error.__cause__ = error
    return error


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("a bug"), MemoryError(), OSError(28, "full"), circular_error()]
)
def test_every_passing_error_defers(outbox, error):
    bad = child(3)[1]
    server = Server(lambda o: error if o == bad else None)
    _, left, relay = deliver(outbox, server, search())
    assert left == 0
    assert server.kinds().count(("EndRun", 3)) == 1
    assert relay.undelivered().deferred == 1


def test_dependent_row_is_deferred(outbox):
    bad = child(2)[0]
    server = Server(lambda o: Unavailable("no") if o == bad else None)
    _, left, relay = deliver(outbox, server, search())
    assert left == 0
    assert {o.candidate for o in server.applied} == {None, 0, 1, 3, 4, 5, 6, 7}
    assert END in server.applied
    # The child run, its scores, its end, and CloseSearch, which deletes doubles of it.
    assert relay.undelivered() == Undelivered(deferred=4)


def test_later_dependent_row_is_deferred(outbox):
    bad = child(2)[0]
    server = Server(lambda o: Unavailable("no") if o == bad else None)
    relay = Relay(outbox, server, lambda *_: None, NoWait)
    outbox.enqueue(search())
    relay.start()
    assert relay.flush(None, 10.0) == 0
    outbox.enqueue([LogBatch(search_id="s", candidate=2, tags=(("t", "v"),)), file("late")])
    relay.start()
    assert relay.flush(None, 10.0) == 0
    relay.stop()
    assert relay.undelivered() == Undelivered(deferred=5)
    assert server.applied[-1] == file("late")


def test_next_process_retries_deferred_row(tmp_path):
    path = tmp_path / "outbox.db"
    bad = DATASET
    outbox = SqliteOutbox(path)
    deliver(outbox, Server(lambda o: Unavailable("no") if o == bad else None), search())
    assert not outbox.is_empty()
    outbox.close()
    following = RecoveredOutbox(path)
    assert following.waiting() == 1
    server = Server(lambda o: None)
    _, left, _ = deliver(following, server, [])
    assert (left, server.applied) == (0, [bad])
    following.close()


def test_outage_defers_nothing(outbox):
    tries = []

    def away(operation):
        tries.append(operation)
        return Unavailable("away") if 1 < len(tries) < 60 else None

    server = Server(away)
    server.answers = lambda search_id: not 1 <= len(tries) < 60
    failures, left, _ = deliver(outbox, server, search())
    assert (failures, left) == ([], 0)
    assert len(tries) > 60
    assert set(server.applied) == set(search())


def test_two_bad_rows_do_not_block_each_other(outbox):
    bad = {DATASET, DESCRIPTION, child(1)[1], child(4)[1]}
    server = Server(lambda o: Unavailable("no") if o in bad else None)
    failures, left, _ = deliver(outbox, server, search())
    assert left == 0
    assert {o for o, _ in failures} == bad
    assert set(server.applied) == set(search()) - bad


@pytest.mark.slow
def test_last_row_is_deferred_only_if_server_answers(outbox):
    bad = DESCRIPTION
    server = Server(lambda o: Unavailable("no") if o == bad else None)
    server.answers = lambda search_id: False
    relay = Relay(outbox, server, lambda *_: None, NoWait)
    outbox.enqueue(search())
    relay.start()
    assert relay.flush(None, 1.0) == 1
    assert server.tries.count(bad) > 5
    server.answers = lambda search_id: True
    assert relay.flush(None, 5.0) == 0
    relay.stop()
    assert relay.undelivered() == Undelivered(deferred=1)


def test_bad_row_alone_is_deferred(outbox):
    bad = DESCRIPTION
    server = Server(lambda o: Unavailable("no") if o == bad else None)
    deliver(outbox, server, [OPEN])
    failures, left, relay = deliver(outbox, server, [bad])
    assert left == 0
    assert [o for o, _ in failures] == [bad]
    assert relay.undelivered() == Undelivered(deferred=1)


def test_bad_batch_is_found_in_merged_batches(outbox):
    batches = [LogBatch(search_id="s", metrics=(Metric(f"m{n}", 1.0, n, 0),)) for n in range(6)]

    def fails(operation):
        names = {m.key for m in getattr(operation, "metrics", ())}
        return Unavailable("bad") if "m3" in names else None

    server = Server(fails)
    # The rows that distinguish a bad row from an unavailable server.
    others = [operation for n in range(8) for operation in child(n)]
    _, left, relay = deliver(outbox, server, [OPEN, *batches, *others])
    assert left == 0
    logged = {m.key for o in server.applied if isinstance(o, LogBatch) for m in o.metrics}
    assert logged == {"m", "m0", "m1", "m2", "m4", "m5"}
    assert relay.undelivered().deferred == 1


def test_store_credentials_hold_up_only_artifacts(outbox):
    def fails(operation):
        return StoreUnauthorized("s3: denied") if isinstance(operation, LogArtifact) else None

    server = Server(fails)
    failures, left, relay = deliver(
        outbox, server, search(first=file("search.json"), last=file("results.csv"))
    )
    assert END in server.applied
    assert (failures, left) == ([], 2)
    assert relay.blocked_count() == 2
    assert "denied" in str(relay.last_error("s"))


def test_server_without_credentials_gets_two_requests_per_retry(outbox):
    server = Server(lambda o: None if o == OPEN else Unauthorized("HTTP 401"))
    relay = Relay(outbox, server, lambda *_: None, NoWait)
    outbox.enqueue(search())
    relay.start()
    assert relay.flush(None, 10.0) == len(search()) - 1
    assert len(server.tries) == 3
    assert isinstance(relay.last_error("s"), Unauthorized)
    server.fails = lambda _: None
    relay.retry_unauthorized()
    assert relay.flush(None, 10.0) == 0
    relay.stop()
    assert set(server.applied) == set(search())


def test_rejected_row_is_undelivered(outbox):
    server = Server(lambda o: Rejected("never") if o == DATASET else None)
    _, left, relay = deliver(outbox, server, search())
    assert left == 0
    assert relay.undelivered() == Undelivered(rejected=1)


@pytest.mark.parametrize(
    ("error", "left", "undelivered"),
    [
        (StoreUnauthorized("s3: denied"), 1, Undelivered(waiting=1)),
        (Unavailable("HTTP 504"), 0, Undelivered(deferred=1)),
    ],
)
def test_bad_row_on_disk_does_not_block_rows_in_memory(
    tmp_path, monkeypatch, error, left, undelivered
):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    outbox = ProcessOutbox(OutboxDirectory(tmp_path / "home"), lambda _: None)
    bad = DATASET
    on_disk = [OPEN, bad, child(0)[0]]
    in_memory = [*child(0)[1:], *search(4)[5:]]
    outbox.enqueue(on_disk)
    (path,) = (tmp_path / "home").glob("*.db")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    outbox.enqueue(in_memory)
    other.execute("ROLLBACK")
    other.close()
    assert not outbox.is_on_disk()
    tried = []

    def fails(operation):
        # The child run is created at the second try; rows that need it must wait.
        tried.append(operation)
        if operation == on_disk[2] and tried.count(operation) == 1:
            return Unavailable("HTTP 502")
        if operation.candidate == 0 and on_disk[2] not in server.applied:
            return None if operation == on_disk[2] else Rejected("a child run could not be created")
        return error if operation == bad else None

    server = Server(fails)
    _, waiting, relay = deliver(outbox, server, [])
    assert set(server.applied) == {*on_disk, *in_memory} - {bad}
    assert (waiting, relay.undelivered()) == (left, undelivered)


@pytest.mark.parametrize(
    ("later", "earlier", "depends"),
    [
        (END, OPEN, True),
        (child(1)[1], child(1)[0], True),
        (child(1)[1], child(2)[0], False),
        (child(1)[2], child(1)[1], False),
        (END, file("results.csv"), False),
        (file("a"), file("a"), True),
        (file("a"), file("b"), False),
        (
            LogBatch(search_id="s", tags=(("t", "new"),)),
            LogBatch(search_id="s", tags=(("t", "old"),)),
            True,
        ),
        (
            LogBatch(search_id="s", params=(("p", "1"),)),
            LogBatch(search_id="s", tags=(("t", "old"),)),
            False,
        ),
    ],
)
def test_dependencies_between_operations(later, earlier, depends):
    assert depends_on(later, earlier) is depends
