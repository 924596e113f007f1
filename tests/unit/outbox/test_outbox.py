"""The guarantees of ``outbox/base.py`` for every outbox, and the scheduler's order."""

from __future__ import annotations

import threading
import time

import pytest

from trackmllib.domain.operations import LogArtifact, LogBatch
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.outbox.process import ProcessOutbox
from trackmllib.outbox.scheduler import Scheduler
from trackmllib.outbox.sqlite import SqliteOutbox


class ManualClock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["memory", "sqlite", "process"])
def outbox(request, tmp_path, clock):
    if request.param == "memory":
        return MemoryOutbox(monotonic=clock)
    if request.param == "process":
        return ProcessOutbox(OutboxDirectory(tmp_path / "outbox"), pytest.fail, clock)
    return SqliteOutbox(tmp_path / "outbox.db", monotonic=clock)


def operation(name, search_id="a"):
    return LogArtifact(search_id=search_id, candidate=0, file_name=str(name), text="")


def test_rows_are_read_in_order(outbox):
    outbox.enqueue([operation(1), operation(2)])
    outbox.enqueue([operation(3)])
    assert [row.operation.file_name for row in outbox.peek(10)] == ["1", "2", "3"]
    assert [row.operation.file_name for row in outbox.peek(2)] == ["1", "2"]


def test_all_deliverable_rows_of_a_run_are_read_at_once(outbox):
    def batch(candidate):
        return LogBatch(search_id="a", candidate=candidate)

    file = LogArtifact(search_id="a", file_name="file", text="")
    outbox.enqueue([batch(None), batch(0), batch(None), batch(0), batch(1), file])

    def read_and_acknowledge(limit):
        rows = outbox.peek(limit)
        outbox.acknowledge([row.number for row in rows])
        return [row.operation.candidate for row in rows]

    assert read_and_acknowledge(10) == [None, None]
    assert read_and_acknowledge(1) == [0]
    assert read_and_acknowledge(10) == [0]
    assert read_and_acknowledge(10) == [1]
    assert [row.operation.file_name for row in outbox.peek(10)] == ["file"]


def test_further_runs_of_the_same_search_follow(outbox):
    def batch(candidate, search_id="a"):
        return LogBatch(search_id=search_id, candidate=candidate)

    file = LogArtifact(search_id="a", file_name="file", text="")
    outbox.enqueue([batch(0), batch(1), batch(0, "b"), batch(0), batch(None), batch(2), file])
    outbox.enqueue([batch(1), batch(None)])

    def read(runs):
        found = outbox.peek(10, runs=runs)
        return [(row.operation.search_id, row.operation.candidate) for row in found]

    assert read(1) == [("a", 0)] * 2
    assert read(2) == [("a", 0)] * 2 + [("a", 1)] * 2
    # The parent run without its file, which waits for all older rows.
    assert read(9) == [("a", 0)] * 2 + [("a", 1)] * 2 + [("a", None), ("a", 2)]
    assert len(outbox.peek(3, runs=9)) == 3


def test_batches_linger_and_other_rows_do_not(outbox, clock):
    new = LogArtifact(search_id="a", candidate=0, file_name="new", text="")
    outbox.enqueue([new, LogBatch(search_id="a", candidate=0)])
    (row,) = outbox.peek(10, linger=True)
    assert row.operation == new
    assert len(outbox.peek(10)) == 2
    outbox.acknowledge([row.number])
    clock.seconds += 0.99
    assert outbox.peek(10, linger=True) == []
    clock.seconds += 0.01
    assert len(outbox.peek(10, linger=True)) == 1
    clock.seconds -= 1.0
    outbox.enqueue([LogArtifact(search_id="a", candidate=0, file_name="end", text="")])
    assert len(outbox.peek(10, linger=True)) == 2


def linger_seconds(scheduler, clock) -> float:
    """The time until the first of the new rows is read."""
    began = clock.seconds
    while not scheduler.next_rows(1, (), linger=True):
        clock.seconds += 0.5
    return clock.seconds - began


@pytest.mark.parametrize(("runs", "seconds"), [(1, 1.0), (50, 1.0), (150, 3.0), (1000, 5.0)])
def test_batches_linger_longer_if_many_runs_wait(clock, runs, seconds):
    scheduler = Scheduler(clock)
    for number in range(runs):
        scheduler.add(number, ("a", number), batch=True)
    assert linger_seconds(scheduler, clock) == seconds


def test_other_searches_and_parent_runs_linger_no_longer(clock):
    scheduler = Scheduler(clock)
    for number in range(400):
        scheduler.add(number, (str(number % 100), number), batch=True)
    assert linger_seconds(scheduler, clock) == 1.0
    scheduler = Scheduler(clock)
    for number in range(200):
        scheduler.add(number, ("many", number), batch=True)
    assert linger_seconds(scheduler, clock) == 4.0
    # Removed rows count as long as others wait.
    for number in range(190):
        scheduler.remove(number)
    scheduler.add(200, ("many", 0), batch=True)
    for number in range(190, 200):
        scheduler.remove(number)
    assert linger_seconds(scheduler, clock) == 4.0
    scheduler.remove(200)
    scheduler.add(200, ("many", 0), batch=True)
    assert linger_seconds(scheduler, clock) == 1.0
    for number in range(201, 401):
        scheduler.add(number, ("many", number), batch=True)
    scheduler.add(401, ("many", None), batch=True)
    scheduler.remove(200)
    assert linger_seconds(scheduler, clock) == 1.0
    assert list(scheduler.next_rows(1, (), linger=True)) == [401]


def test_peek_changes_nothing(outbox):
    outbox.enqueue([operation(1)])
    assert outbox.peek(5) == outbox.peek(5)
    assert outbox.waiting() == 1


def test_row_leaves_when_acknowledged(outbox):
    outbox.enqueue([operation(1), operation(2)])
    first = outbox.peek(1)[0].number
    outbox.acknowledge([first, first + (999 << 20)])
    outbox.acknowledge([first])
    assert [row.operation.file_name for row in outbox.peek(5)] == ["2"]
    assert outbox.waiting("a") == 1


def test_sent_rows_are_redelivered_unless_unmarked(outbox):
    outbox.enqueue([operation(1), operation(2)])
    numbers = [row.number for row in outbox.peek(5)]
    outbox.mark_sent(numbers)
    assert [row.redelivered for row in outbox.peek(5)] == [True, True]
    outbox.unmark_sent(numbers[:1])
    assert [row.redelivered for row in outbox.peek(5)] == [False, True]
    outbox.mark_sent(numbers[:1])
    assert [row.redelivered for row in outbox.peek(5)] == [True, True]


def test_rejected_row_does_not_wait(outbox):
    outbox.enqueue([operation(1), operation(2)])
    outbox.reject([outbox.peek(1)[0].number], "no")
    assert [row.operation.file_name for row in outbox.peek(5)] == ["2"]
    assert outbox.waiting() == 1


def test_rows_are_counted_by_search(outbox):
    outbox.enqueue([operation(1, "a"), operation(2, "b"), operation(3, "b")])
    assert (outbox.waiting("a"), outbox.waiting("b"), outbox.waiting("c")) == (1, 2, 0)
    assert outbox.wait_until_empty("c", 0.0)
    assert not outbox.wait_until_empty("a", 0.01)


def test_waits_end_when_rows_come_and_go(outbox):
    assert not outbox.wait_for_rows(0.01)
    threading.Timer(0.05, outbox.enqueue, [[operation(1)]]).start()
    assert outbox.wait_for_rows(5.0)
    number = outbox.peek(1)[0].number
    threading.Timer(0.05, outbox.acknowledge, [[number]]).start()
    began = time.monotonic()
    assert outbox.wait_until_empty("a", 5.0)
    assert time.monotonic() - began < 4.0


def test_threads_enqueue_without_loss(outbox):
    def enqueue(thread):
        for n in range(200):
            outbox.enqueue([operation(f"{thread}-{n}", str(thread))])

    threads = [threading.Thread(target=enqueue, args=(t,)) for t in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outbox.waiting() == 1600
    read = set()
    while rows := outbox.peek(10_000):
        (thread,) = {row.operation.search_id for row in rows}
        assert [row.operation.file_name for row in rows] == [f"{thread}-{n}" for n in range(200)]
        outbox.acknowledge([row.number for row in rows])
        read.add(thread)
    assert len(read) == 8
