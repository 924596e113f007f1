"""Relay thread: retried, rejected and deferred rows, and bounded waits."""

from __future__ import annotations

import random
import threading
import time

import pytest

from support.waiting import wait_until
from trackmllib.domain.operations import LogArtifact
from trackmllib.exceptions import RateLimited, Rejected, Unavailable
from trackmllib.outbox.backoff import Backoff
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.outbox.relay import Relay


class NoWait(Backoff):
    def on_unavailable(self) -> float:
        return 0.001

    def on_rate_limited(self) -> float:
        return 0.001

    def on_success(self) -> float:
        return 0.0


class Target:
    """Applies operations, after raising the given errors; None raises nothing."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.applied = []
        self.redelivered = []
        self.tries = 0

    def apply(self, operation, redelivered=False):
        self.tries += 1
        self.redelivered.append(redelivered)
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        self.applied.append(operation.file_name)


def operations(*names, search_id="a"):
    return [LogArtifact(search_id=search_id, file_name=str(n), text="") for n in names]


def delivered(target, *names):
    outbox, rejected = MemoryOutbox(), []
    relay = Relay(outbox, target, lambda o, e: rejected.append((o.file_name, str(e))), NoWait)
    outbox.enqueue(operations(*names))
    relay.start()
    assert relay.flush(None, 5.0) == 0
    relay.stop()
    return rejected


def test_operations_are_applied_in_order():
    target = Target()
    assert delivered(target, 1, 2, 3) == []
    assert target.applied == ["1", "2", "3"]


def test_unavailable_server_is_retried():
    target = Target(Unavailable("away"), Unavailable("away"), None, Unavailable("away"))
    assert delivered(target, 1, 2) == []
    assert target.applied == ["1", "2"]
    assert target.tries == 5


def test_delays_leave_the_users_random_numbers_alone():
    before = random.getstate()
    backoff = Backoff()
    delays = {
        backoff.on_unavailable(),
        backoff.on_unavailable(),
        backoff.on_rate_limited(),
        backoff.on_success(),
    }
    assert len(delays) == 4
    assert random.getstate() == before


def test_rejected_row_leaves_order_and_rest_is_delivered():
    target = Target(None, Rejected("never"))
    assert delivered(target, 1, 2, 3) == [("2", "never")]
    assert target.applied == ["1", "3"]


def test_own_error_is_retried():
    target = Target(ZeroDivisionError("a bug"))
    assert delivered(target, 1, 2) == []
    assert sorted(target.applied) == ["1", "2"]


def test_flush_returns_number_of_waiting_rows_after_timeout():
    outbox = MemoryOutbox()
    hold = threading.Event()

    class Stuck:
        def apply(self, operation, redelivered=False):
            hold.wait(10)

    relay = Relay(outbox, Stuck(), lambda *_: None)
    outbox.enqueue(operations(1, 2))
    outbox.enqueue(operations(3, search_id="b"))
    relay.start()
    began = time.monotonic()
    assert relay.flush("a", 0.1) == 2
    assert relay.flush(None, 0.1) == 3
    assert time.monotonic() - began < 2.0
    hold.set()
    assert relay.flush(None, 5.0) == 0
    relay.stop()


def test_outage_of_one_server_holds_up_no_other():
    outbox = MemoryOutbox()

    class OneIsAway(Target):
        def apply(self, operation, redelivered=False):
            if operation.search_id == "away":
                raise Unavailable("away")
            super().apply(operation, redelivered)

    target = OneIsAway()
    relay = Relay(outbox, target, lambda *_: None)
    outbox.enqueue(operations(1, search_id="away"))
    outbox.enqueue(operations(2, 3, search_id="here"))
    relay.start()
    assert relay.flush("here", 5.0) == 0
    assert target.applied == ["2", "3"]
    assert outbox.waiting("away") == 1
    assert str(relay.last_error("away")) == "away"
    assert relay.last_error("here") is None
    relay.stop()


def test_idle_thread_ends_and_starts_again(monkeypatch):
    monkeypatch.setattr("trackmllib.outbox.relay.IDLE_SECONDS", 0.05)
    outbox, target = MemoryOutbox(), Target()
    relay = Relay(outbox, target, lambda *_: None)
    for round_ in range(3):
        outbox.enqueue(operations(round_))
        relay.start()
        assert relay.flush(None, 5.0) == 0
        deadline = time.monotonic() + 5
        while relay._thread is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert relay._thread is None
    assert target.applied == ["0", "1", "2"]


def test_bound_of_delay_grows_to_thirty_seconds():
    backoff = Backoff()
    delays = [backoff.on_unavailable() for _ in range(16)]
    for n, delay in enumerate(delays):
        assert 0.0 <= delay <= min(30.0, 0.5 * 1.5**n)
    assert backoff.on_success() == 0.0
    assert backoff.on_unavailable() <= 0.5


def test_drivers_come_back_to_a_server_at_different_times():
    returned = []
    for _ in range(200):
        backoff, time = Backoff(), 0.0
        while time < 20.0:
            time += backoff.on_unavailable()
        returned.append(time)
    returned.sort()
    assert returned[-1] < 20.0 + 30.0
    at_once = max(sum(time <= other < time + 0.1 for other in returned) for time in returned)
    assert at_once < 200 / 10


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def paces(delays, pace):
    return all(0.5 * pace <= delay <= 1.5 * pace for delay in delays)


def test_refusal_doubles_pace_and_three_seconds_halve_it():
    clock = Clock()
    backoff = Backoff(clock)
    assert backoff.on_success() == 0.0
    assert paces([backoff.on_rate_limited()], 0.2)
    assert paces([backoff.on_rate_limited()], 0.4)
    assert paces([backoff.on_rate_limited()], 0.8)
    assert paces([backoff.on_success() for _ in range(20)], 0.8)
    clock.now += 3.0
    assert paces([backoff.on_success() for _ in range(20)], 0.4)
    assert paces([backoff.on_rate_limited()], 0.8)
    clock.now += 12.0
    assert backoff.on_success() == 0.0
    assert all(backoff.on_rate_limited() <= 45.0 for _ in range(20))


def test_rate_limited_row_is_not_redelivered():
    target = Target(RateLimited("too many"), None, Unavailable("away"), RateLimited("too many"))
    assert delivered(target, 1, 2) == []
    assert target.applied == ["2", "1"]
    # The outcome of the second try of the first row is unknown.
    assert target.redelivered == [False, False, False, True, True]


def test_rate_limited_search_continues_without_error():
    class Slow(NoWait):
        def on_success(self) -> float:
            return 60.0

    outbox, target = MemoryOutbox(), Target(RateLimited("too many"))
    relay = Relay(outbox, target, lambda *_: None, Slow)
    outbox.enqueue(operations(1, 2, 4, search_id="slow"))
    outbox.enqueue(operations(3, search_id="other"))
    relay.start()
    assert relay.flush("other", 5.0) == 0
    assert relay.flush("slow", 0.3) == 2
    # The refused row lets the others go first.
    assert sorted(target.applied) == ["2", "3"]
    assert relay.last_error() is None
    relay.stop()


@pytest.mark.parametrize("threads", [4])
def test_starts_from_many_threads_start_one_thread(threads):
    outbox, target = MemoryOutbox(), Target()
    relay = Relay(outbox, target, lambda *_: None)
    starts = [threading.Thread(target=relay.start) for _ in range(threads)]
    for thread in starts:
        thread.start()
    for thread in starts:
        thread.join()
    running = [t for t in threading.enumerate() if t is relay._thread]
    assert len(running) == 1
    relay.stop()


class InTransactions(Target):
    """Target that applies operations in transactions, and keeps the times."""

    def __init__(self):
        super().__init__()
        self.times = []

    def runs_per_transaction(self):
        return 10

    def transaction_size(self, operations):
        return len(operations)

    def apply(self, operation, redelivered=False):
        self.times.append(time.monotonic())
        super().apply(operation, redelivered)

    def apply_in_transaction(self, operations):
        for operation in operations:
            self.apply(operation)
        return True


@pytest.mark.parametrize(("urgent", "at_once"), [(False, False), (True, True)])
def test_transactions_gather_for_a_second_unless_urgent(urgent, at_once):
    target, outbox = InTransactions(), MemoryOutbox()
    relay = Relay(outbox, target, pytest.fail, NoWait, transactional=target)
    outbox.enqueue(operations(1))
    relay.start(urgent=True)
    wait_until(lambda: target.applied == ["1"])
    # The relay rests now.
    time.sleep(0.1)
    outbox.enqueue(operations(2))
    relay.start(urgent=urgent)
    wait_until(lambda: target.applied == ["1", "2"])
    relay.stop()
    first, second = target.times
    assert (second - first < 0.9) is at_once
