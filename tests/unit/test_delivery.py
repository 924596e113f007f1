"""The delivery thread: retried, rejected and deferred rows, and bounded waits."""

from __future__ import annotations

import random
import threading
import time

import pytest

from trackmllib.delivery import worker
from trackmllib.delivery.backoff import Backoff
from trackmllib.delivery.worker import Delivery
from trackmllib.errors import Busy, Rejected, Unavailable
from trackmllib.operations import LogArtifact
from trackmllib.outbox.memory import MemoryOutbox


class NoWait(Backoff):
    def away(self) -> float:
        return 0.001

    def busy(self) -> float:
        return 0.001

    def succeeded(self) -> float:
        return 0.0


class Target:
    """Applies what it is given, after the answers it was told to give first."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.applied = []
        self.again = []
        self.tries = 0

    def apply(self, operation, again=False):
        self.tries += 1
        self.again.append(again)
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.applied.append(operation.file_name)


def operations(*names, search_id="a"):
    return [LogArtifact(search_id=search_id, file_name=str(n), text="") for n in names]


def delivered(target, *names):
    outbox, rejected = MemoryOutbox(), []
    delivery = Delivery(outbox, target, lambda o, e: rejected.append((o.file_name, str(e))), NoWait)
    outbox.put(operations(*names))
    delivery.start()
    assert delivery.flush(None, 5.0) == 0
    delivery.stop()
    return rejected


def test_everything_is_applied_in_order():
    target = Target()
    assert delivered(target, 1, 2, 3) == []
    assert target.applied == ["1", "2", "3"]


def test_a_server_that_is_away_is_tried_again_until_it_answers():
    target = Target(Unavailable("away"), Unavailable("away"), None, Unavailable("away"))
    assert delivered(target, 1, 2) == []
    assert target.applied == ["1", "2"]
    assert target.tries == 5


def test_the_numbers_that_users_draw_at_random_stay_the_same():
    before = random.getstate()
    backoff = Backoff()
    delays = {backoff.away(), backoff.away(), backoff.busy(), backoff.succeeded()}
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


def test_a_flush_has_a_bound_and_says_what_waits():
    outbox = MemoryOutbox()
    hold = threading.Event()

    class Stuck:
        def apply(self, operation, again=False):
            hold.wait(10)

    delivery = Delivery(outbox, Stuck(), lambda *_: None)
    outbox.put(operations(1, 2))
    outbox.put(operations(3, search_id="b"))
    delivery.start()
    began = time.monotonic()
    assert delivery.flush("a", 0.1) == 2
    assert delivery.flush(None, 0.1) == 3
    assert time.monotonic() - began < 2.0
    hold.set()
    assert delivery.flush(None, 5.0) == 0
    delivery.stop()


def test_a_search_whose_server_is_away_keeps_no_other_waiting():
    outbox = MemoryOutbox()

    class OneIsAway(Target):
        def apply(self, operation, again=False):
            if operation.search_id == "away":
                raise Unavailable("away")
            super().apply(operation, again)

    target = OneIsAway()
    delivery = Delivery(outbox, target, lambda *_: None)
    outbox.put(operations(1, search_id="away"))
    outbox.put(operations(2, 3, search_id="here"))
    delivery.start()
    assert delivery.flush("here", 5.0) == 0
    assert target.applied == ["2", "3"]
    assert outbox.waiting("away") == 1
    assert str(delivery.trouble("away")) == "away"
    assert delivery.trouble("here") is None
    delivery.stop()


def test_the_thread_ends_when_nothing_comes_and_starts_again(monkeypatch):
    monkeypatch.setattr(worker, "IDLE_SECONDS", 0.05)
    outbox, target = MemoryOutbox(), Target()
    delivery = Delivery(outbox, target, lambda *_: None)
    for round_ in range(3):
        outbox.put(operations(round_))
        delivery.start()
        assert delivery.flush(None, 5.0) == 0
        deadline = time.monotonic() + 5
        while delivery._thread is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert delivery._thread is None
    assert target.applied == ["0", "1", "2"]


def test_the_longest_delay_grows_by_half_up_to_thirty_seconds():
    backoff = Backoff()
    delays = [backoff.away() for _ in range(16)]
    for n, delay in enumerate(delays):
        assert 0.0 <= delay <= min(30.0, 0.5 * 1.5**n)
    assert backoff.succeeded() == 0.0
    assert backoff.away() <= 0.5


def test_drivers_that_lose_a_server_together_come_back_to_it_apart():
    returned = []
    for _ in range(200):
        backoff, time = Backoff(), 0.0
        while time < 20.0:
            time += backoff.away()
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


def test_each_refusal_doubles_the_pace_and_three_seconds_halve_it():
    clock = Clock()
    backoff = Backoff(clock)
    assert backoff.succeeded() == 0.0
    assert paces([backoff.busy()], 0.2)
    assert paces([backoff.busy()], 0.4)
    assert paces([backoff.busy()], 0.8)
    assert paces([backoff.succeeded() for _ in range(20)], 0.8)
    clock.now += 3.0
    assert paces([backoff.succeeded() for _ in range(20)], 0.4)
    assert paces([backoff.busy()], 0.8)
    clock.now += 12.0
    assert backoff.succeeded() == 0.0
    assert all(backoff.busy() <= 45.0 for _ in range(20))


def test_what_a_busy_server_refused_is_not_looked_for_before_it_is_sent_again():
    target = Target(Busy("too many"), None, Unavailable("away"), Busy("too many"))
    assert delivered(target, 1, 2) == []
    assert target.applied == ["1", "2"]
    # Nobody knows what became of the first try of the second one.
    assert target.again == [False, False, False, True, True]


def test_a_search_goes_slowly_on_after_it_was_refused_and_is_in_no_trouble():
    class Slow(NoWait):
        def succeeded(self) -> float:
            return 60.0

    outbox, target = MemoryOutbox(), Target(Busy("too many"))
    delivery = Delivery(outbox, target, lambda *_: None, Slow)
    outbox.put(operations(1, 2, search_id="slow"))
    outbox.put(operations(3, search_id="other"))
    delivery.start()
    assert delivery.flush("other", 5.0) == 0
    assert delivery.flush("slow", 0.3) == 1
    assert sorted(target.applied) == ["1", "3"]
    assert delivery.trouble() is None
    delivery.stop()


@pytest.mark.parametrize("threads", [4])
def test_start_from_many_threads_is_one_thread(threads):
    outbox, target = MemoryOutbox(), Target()
    delivery = Delivery(outbox, target, lambda *_: None)
    starts = [threading.Thread(target=delivery.start) for _ in range(threads)]
    for thread in starts:
        thread.start()
    for thread in starts:
        thread.join()
    running = [t for t in threading.enumerate() if t is delivery._thread]
    assert len(running) == 1
    delivery.stop()
