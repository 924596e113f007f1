"""The promises of ``outbox/base.py``, for every outbox there is."""

from __future__ import annotations

import threading
import time

import pytest

from trackmllib.operations import LogArtifact, LogBatch
from trackmllib.outbox.home import Home
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.outbox.order import Order
from trackmllib.outbox.process import ProcessOutbox
from trackmllib.outbox.sqlite import SqliteOutbox


class Time:
    """A clock that stands until somebody moves it on."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture(params=["memory", "sqlite", "process"])
def outbox(request, tmp_path, clock):
    if request.param == "memory":
        return MemoryOutbox(monotonic=clock)
    if request.param == "process":
        return ProcessOutbox(Home(tmp_path / "outbox"), pytest.fail, clock)
    return SqliteOutbox(tmp_path / "outbox.db", monotonic=clock)


def operation(name, search_id="a"):
    return LogArtifact(search_id=search_id, candidate=0, file_name=str(name), text="")


def test_rows_are_read_in_the_order_they_were_put(outbox):
    outbox.put([operation(1), operation(2)])
    outbox.put([operation(3)])
    assert [row.operation.file_name for row in outbox.peek(10)] == ["1", "2", "3"]
    assert [row.operation.file_name for row in outbox.peek(2)] == ["1", "2"]


def test_all_that_is_ready_of_the_oldest_rows_run_is_read_at_once(outbox):
    def batch(candidate):
        return LogBatch(search_id="a", candidate=candidate)

    file = LogArtifact(search_id="a", file_name="file", text="")
    outbox.put([batch(None), batch(0), batch(None), batch(0), batch(1), file])

    def take(limit):
        rows = outbox.peek(limit)
        outbox.acknowledge([row.number for row in rows])
        return [row.operation.candidate for row in rows]

    assert take(10) == [None, None]
    assert take(1) == [0]
    assert take(10) == [0]
    assert take(10) == [1]
    assert [row.operation.file_name for row in outbox.peek(10)] == ["file"]


def test_more_runs_of_the_same_search_are_read_one_after_the_other(outbox):
    def batch(candidate, search_id="a"):
        return LogBatch(search_id=search_id, candidate=candidate)

    file = LogArtifact(search_id="a", file_name="file", text="")
    outbox.put([batch(0), batch(1), batch(0, "b"), batch(0), batch(None), batch(2), file])
    outbox.put([batch(1), batch(None)])

    def read(runs):
        found = outbox.peek(10, runs=runs)
        return [(row.operation.search_id, row.operation.candidate) for row in found]

    assert read(1) == [("a", 0)] * 2
    assert read(2) == [("a", 0)] * 2 + [("a", 1)] * 2
    # The main run up to its file, which waits for all that is older.
    assert read(9) == [("a", 0)] * 2 + [("a", 1)] * 2 + [("a", None), ("a", 2)]
    assert len(outbox.peek(3, runs=9)) == 3


def test_what_a_new_run_is_told_lingers_and_the_run_does_not(outbox, clock):
    new = LogArtifact(search_id="a", candidate=0, file_name="new", text="")
    outbox.put([new, LogBatch(search_id="a", candidate=0)])
    (row,) = outbox.peek(10, linger=True)
    assert row.operation == new
    assert len(outbox.peek(10)) == 2
    outbox.acknowledge([row.number])
    clock.seconds += 0.99
    assert outbox.peek(10, linger=True) == []
    clock.seconds += 0.01
    assert len(outbox.peek(10, linger=True)) == 1
    clock.seconds -= 1.0
    outbox.put([LogArtifact(search_id="a", candidate=0, file_name="end", text="")])
    assert len(outbox.peek(10, linger=True)) == 2


def lingers(order, clock) -> float:
    """For how many seconds nothing is read of rows that are put now."""
    began = clock.seconds
    while not order.rows_to_read(1, (), linger=True):
        clock.seconds += 0.5
    return clock.seconds - began


@pytest.mark.parametrize(("runs", "seconds"), [(1, 1.0), (50, 1.0), (150, 3.0), (1000, 5.0)])
def test_where_many_runs_of_a_search_wait_batches_linger_longer(clock, runs, seconds):
    order = Order(clock)
    for number in range(runs):
        order.add(number, ("a", number), batch=True)
    assert lingers(order, clock) == seconds


def test_neither_runs_of_other_searches_nor_what_the_main_run_is_told_linger_longer(clock):
    order = Order(clock)
    for number in range(400):
        order.add(number, (str(number % 100), number), batch=True)
    assert lingers(order, clock) == 1.0
    order = Order(clock)
    for number in range(200):
        order.add(number, ("many", number), batch=True)
    assert lingers(order, clock) == 4.0
    # What has left counts for as long as something waits, and then no more.
    for number in range(190):
        order.remove(number)
    order.add(200, ("many", 0), batch=True)
    for number in range(190, 200):
        order.remove(number)
    assert lingers(order, clock) == 4.0
    order.remove(200)
    order.add(200, ("many", 0), batch=True)
    assert lingers(order, clock) == 1.0
    for number in range(201, 401):
        order.add(number, ("many", number), batch=True)
    order.add(401, ("many", None), batch=True)
    order.remove(200)
    assert lingers(order, clock) == 1.0
    assert list(order.rows_to_read(1, (), linger=True)) == [401]


def test_reading_changes_nothing(outbox):
    outbox.put([operation(1)])
    assert outbox.peek(5) == outbox.peek(5)
    assert outbox.waiting() == 1


def test_a_row_leaves_by_acknowledgement_only(outbox):
    outbox.put([operation(1), operation(2)])
    first = outbox.peek(1)[0].number
    outbox.acknowledge([first, first + (999 << 20)])
    outbox.acknowledge([first])
    assert [row.operation.file_name for row in outbox.peek(5)] == ["2"]
    assert outbox.waiting("a") == 1


def test_rows_are_read_again_until_it_is_said_that_nothing_was_done_of_them(outbox):
    outbox.put([operation(1), operation(2)])
    numbers = [row.number for row in outbox.peek(5)]
    outbox.sending(numbers)
    assert [row.again for row in outbox.peek(5)] == [True, True]
    outbox.not_sent(numbers[:1])
    assert [row.again for row in outbox.peek(5)] == [False, True]
    outbox.sending(numbers[:1])
    assert [row.again for row in outbox.peek(5)] == [True, True]


def test_a_row_set_aside_does_not_wait(outbox):
    outbox.put([operation(1), operation(2)])
    outbox.reject([outbox.peek(1)[0].number], "no")
    assert [row.operation.file_name for row in outbox.peek(5)] == ["2"]
    assert outbox.waiting() == 1


def test_searches_are_counted_apart(outbox):
    outbox.put([operation(1, "a"), operation(2, "b"), operation(3, "b")])
    assert (outbox.waiting("a"), outbox.waiting("b"), outbox.waiting("c")) == (1, 2, 0)
    assert outbox.wait_until_empty("c", 0.0)
    assert not outbox.wait_until_empty("a", 0.01)


def test_waiting_ends_when_rows_come_and_when_they_are_gone(outbox):
    assert not outbox.wait_for_rows(0.01)
    threading.Timer(0.05, outbox.put, [[operation(1)]]).start()
    assert outbox.wait_for_rows(5.0)
    number = outbox.peek(1)[0].number
    threading.Timer(0.05, outbox.acknowledge, [[number]]).start()
    began = time.monotonic()
    assert outbox.wait_until_empty("a", 5.0)
    assert time.monotonic() - began < 4.0


def test_many_threads_lose_nothing(outbox):
    def put(thread):
        for n in range(200):
            outbox.put([operation(f"{thread}-{n}", str(thread))])

    threads = [threading.Thread(target=put, args=(t,)) for t in range(8)]
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
