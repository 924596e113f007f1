"""Whatever fails and whenever, the record is the one that an undisturbed search leaves."""

from __future__ import annotations

import dataclasses
import math
from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.faulty_server import FakeServer, Fault
from support.generated_searches import merged, own_destination, plain_search, shared_destination
from support.mortal_process import copy_outbox, process, settle
from support.server_record import (
    assert_series_are_apart,
    assert_true_to,
    record,
    tags_of,
    undisturbed,
)
from trackmllib.domain.events import ChildRunNeeded, FitScored, SearchFinished, SearchStarted
from trackmllib.domain.operations import LogBatch, Metric
from trackmllib.outbox.delivery_order import coalesce
from trackmllib.runtime.recovery import end_dead_searches
from trackmllib.tracking import client as calls
from trackmllib.tracking.executor import MlflowExecutor
from trackmllib.tracking.metric_dedup import MetricDeduplicator

pytestmark = pytest.mark.slow

MODERATE = settings(
    deadline=None,
    database=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

MOMENTS = st.sampled_from(["before", "halfway", "after"])
DEATHS = st.builds(Fault, st.integers(0, 9), st.just("die"), MOMENTS)
CUTS = st.builds(Fault, st.integers(0, 9), st.just("cut"), MOMENTS)
LATE = st.builds(Fault, st.integers(0, 9), st.just("late"))
FAULTS = {"file": st.lists(DEATHS | CUTS, max_size=3), "sql": st.lists(DEATHS | LATE, max_size=3)}


@settings(MODERATE, max_examples=50)
@given(st.data())
def test_crashes_and_lost_answers_leave_the_undisturbed_record(data):
    events = data.draw(merged())
    store = data.draw(st.sampled_from(["file", "sql"]))
    server, some_faults = FakeServer(store), FAULTS[store]
    recorded = []
    with process(server) as running:
        for event in events:
            search_id = event.search_id
            if not (isinstance(event, SearchStarted) or running.records(search_id)):
                continue  # It died with its process.
            running.emit(own_destination(search_id), event)
            recorded.append(event)
            step = data.draw(st.sampled_from(["go on"] * 5 + ["deliver", "deliver", "crash"]))
            if step == "crash":
                running.crash()
            elif step == "deliver":
                faults = data.draw(some_faults)
                if not running.deliver(*faults):
                    running.crash()
        for faults in data.draw(st.lists(some_faults, max_size=4)):
            running.crash()
            running.deliver(*faults)
        settle(running)
    found = record(server)
    assert_true_to(recorded, found)
    assert found == undisturbed(recorded)


@settings(MODERATE, max_examples=40)
@given(merged(), st.lists(st.lists(DEATHS, min_size=1, max_size=1), max_size=12))
def test_killed_syncs_complete_the_record_in_the_end(events, killings):
    server = FakeServer()
    with process(server) as running:
        for event in events:
            running.emit(own_destination(event.search_id), event)
        for faults in killings:
            running.crash()
            running.deliver(*faults)
        settle(running)
    assert record(server) == undisturbed(events)


def calls_of(events) -> int:
    server = FakeServer()
    with process(server) as only:
        for event in events:
            only.emit(own_destination(event.search_id), event)
        only.deliver()
    return server.calls


@pytest.mark.parametrize(
    ("store", "kind", "moment"),
    [
        *(("file", kind, m) for kind in ("die", "cut") for m in ("before", "halfway", "after")),
        ("sql", "late", "before"),
    ],
)
def test_failure_at_any_request(store, kind, moment):
    events = list(plain_search())
    wanted = undisturbed(events)
    for number in range(calls_of(events)):
        server = FakeServer(store)
        with process(server) as running:
            for event in events:
                running.emit(own_destination(event.search_id), event)
            running.deliver(Fault(number, kind, moment))
            settle(running)
        assert record(server) == wanted, f"request {number}"


@pytest.mark.parametrize("candidates", [1, 2])
def test_failure_at_any_two_requests(candidates):
    """A failed score lets the next one go first. If that fails too, both are sent together."""
    events = list(plain_search(candidates=candidates))
    wanted = undisturbed(events)
    pairs = list(combinations(range(6 + 6 * candidates), 2))
    for first, second in pairs:
        server = FakeServer("file")
        server.faults = [
            Fault(first, "fail", "before"),
            Fault(second - first - 1, "fail", "after"),
        ]
        with process(server) as running:
            for event in events:
                running.emit(own_destination(event.search_id), event)
                if isinstance(event, (FitScored, SearchFinished)):
                    running.deliver_until_failure()
            while running.outbox.waiting():
                running.deliver_until_failure()
        assert server.faults == []
        assert record(server) == wanted, f"requests {first} and {second}"


def test_crash_between_any_two_events():
    events = list(plain_search())
    for number in range(1, len(events)):
        for delivers in (True, False):
            server = FakeServer()
            with process(server) as running:
                for event in events[:number]:
                    running.emit(own_destination(event.search_id), event)
                    if delivers:
                        assert running.deliver()
                settle(running)
            found = record(server)
            assert_true_to(events[:number], found)
            assert found == undisturbed(events[:number])
            parent = found["search0", None]
            assert (parent["status"], parent["end"]) == ("KILLED", events[number - 1].time_ms)


@pytest.mark.parametrize("needed", [False, True])
def test_best_candidates_of_dead_process_have_one_run(needed):
    """Candidate 0 is the worst of three; its run is needed in its first fit, or never."""
    begin, *others = plain_search(candidates=3)
    first, *others = others
    events = [dataclasses.replace(begin, children="best:1"), first]
    if needed:
        at = {"search_id": first.search_id, "time_ms": first.time_ms}
        events.append(ChildRunNeeded(**at, candidate=0))
    events += others
    for number in range(1, len(events) + 1):
        server = FakeServer()
        with process(server) as running:
            for event in events[:number]:
                running.emit(own_destination(event.search_id), event)
                assert running.deliver()
            settle(running)
        found = record(server)
        assert found == undisturbed(events[:number])
        assert all(run["status"] != "RUNNING" for run in found.values())
        candidates = {candidate for _, candidate in found} - {None}
        assert len(candidates - ({"0"} if needed else set())) <= 1
        if number == len(events):
            assert candidates == ({"0", "2"} if needed else {"2"})


@pytest.mark.parametrize("moment", ["before", "halfway", "after"])
def test_failure_at_any_request_of_the_end_with_best_children(moment):
    events = list(plain_search(candidates=3))
    events[0] = dataclasses.replace(events[0], children="best:2")
    wanted = undisturbed(events)
    for number in range(calls_of(events)):
        server = FakeServer("file")
        with process(server) as running:
            for event in events:
                running.emit(own_destination(event.search_id), event)
            running.deliver(Fault(number, "die", moment))
            settle(running)
        assert record(server) == wanted, f"request {number}"


def test_recovery_that_dies_is_recovered():
    events = [*list(plain_search(0))[:6], *list(plain_search(1))[:9]]
    server = FakeServer()
    with process(server) as running:
        for event in events:
            running.emit(own_destination(event.search_id), event)
        died = []

        def dies_after_the_first(operations, event=None):
            if died:
                raise SystemExit("kill -9")
            died.append(event)
            enqueue(operations, event)

        running.kill()
        enqueue = running.outbox.enqueue
        running.outbox.enqueue = dies_after_the_first
        with pytest.raises(SystemExit):
            end_dead_searches(running.outbox)
        settle(running)
    found = record(server)
    assert_true_to(events, found)
    assert found == undisturbed(events)


@pytest.mark.parametrize("recorded_before", [0, 1, 5, 9])
@pytest.mark.parametrize("calls_before", [0, 1, 3, 8, 15, 25])
def test_machine_crash_duplicates_nothing(recorded_before, calls_before, tmp_path):
    """The disk has an older state: acknowledgements and registry entries may be lost."""
    events = list(plain_search())
    server = FakeServer()
    snapshot = tmp_path / "snapshot.db"
    with process(server) as running:
        for event in events[:recorded_before]:
            running.emit(own_destination(event.search_id), event)
            running.deliver()
        for event in events[recorded_before:]:
            running.emit(own_destination(event.search_id), event)
        if not running.deliver(Fault(calls_before, "die")):
            running.crash()
        copy_outbox(running.outbox.path, snapshot)
        running.deliver()
        running.kill(snapshot)
        running.outbox.mark_all_sent()
        settle(running)
    assert record(server) == undisturbed(events)


# Two searches, and the user, on one parent run.

USERS = {
    "params": {"numFolds": "99", "mine": "1"},
    "points": [("fits_finished", "7.0", 5, 0), ("refit_seconds", "1.5", 5, 0)],
    "tags": {"trackmllib.pyspark_version": "1", "mine": "1"},
    "artifacts": {"trackmllib/mine.txt": "mine"},
}


def logged_by(search_id: str, events) -> tuple[dict, dict, list, dict]:
    """Params, tags, points and files of the parent run of a search, under plain names."""
    run = undisturbed([event for event in events if event.search_id == search_id])
    parent = run[search_id, None]
    return parent["params"], parent["tags"], parent["points"], parent["artifacts"]


def assert_recorded_once(search_id: str, server: FakeServer, events) -> None:
    """Assert that the shared parent run has all of a search once, each key under one name."""
    run = server.runs["users"]
    params, tags, points, artifacts = logged_by(search_id, events)
    own = f"_{search_id}"
    for wanted, logged in ((params, run.params), (tags, tags_of(server, run))):
        for key, value in wanted.items():
            under = {name for name in (key, key + own) if logged.get(name) == value}
            assert len(under) == 1, f"{key} of {search_id} is under {under}"
        suffixed = {name for name in logged if name.endswith(own)}
        assert suffixed <= {key + own for key in wanted}
    first, last = events[0].time_ms, events[0].time_ms + 999_999
    own_points = [point for point in run.points if first <= point[2] <= last]
    plain = [(key.removesuffix(own), *rest) for key, *rest in own_points]
    assert sorted(plain) == points
    names = {key for key, *_ in own_points}
    assert {key for key in names if key + own in names} == set(), "one series under two names"
    folders = {
        folder
        for folder in ("trackmllib", f"trackmllib{own}")
        if f"{folder}/search.json" in run.artifacts
        and run.artifacts[f"{folder}/search.json"] == artifacts["trackmllib/search.json"]
    }
    assert len(folders) == 1
    (folder,) = folders
    for path, text in artifacts.items():
        assert run.artifacts[path.replace("trackmllib", folder)] == text


@settings(MODERATE, max_examples=50)
@given(st.data())
def test_names_on_shared_parent_run_are_settled_once(data):
    events = data.draw(merged(most=2))
    store = data.draw(st.sampled_from(["file", "sql"]))
    server, some_faults = FakeServer(store), FAULTS[store]
    server.users_run("users", **(USERS if data.draw(st.booleans()) else {}))
    users_before = server.runs["users"].as_mlflow()
    points_before = list(server.runs["users"].points)
    recorded = []
    with process(server) as running:
        for event in events:
            search_id = event.search_id
            if not (isinstance(event, SearchStarted) or running.records(search_id)):
                continue
            running.emit(shared_destination(search_id), event)
            recorded.append(event)
            step = data.draw(st.sampled_from(["go on"] * 4 + ["deliver", "deliver", "crash"]))
            faults = data.draw(some_faults) if step == "deliver" else []
            alive = step != "crash" and (step != "deliver" or running.deliver(*faults))
            if not alive:
                running.crash()
        for faults in data.draw(st.lists(some_faults, max_size=3)):
            running.crash()
            running.deliver(*faults)
        settle(running)
    run = server.runs["users"]
    assert users_before.data.params.items() <= run.params.items()
    assert users_before.data.tags.items() <= run.tags.items()
    assert run.points[: len(points_before)] == points_before
    assert len(set(run.points)) == len(run.points)
    assert_series_are_apart(server)
    for search_id in dict.fromkeys(event.search_id for event in recorded):
        assert_recorded_once(search_id, server, [e for e in recorded if e.search_id == search_id])


def test_lost_answers_of_two_searches_on_one_run():
    events = [*plain_search(0), *plain_search(1)]
    number, over = 0, False
    names = set()
    while not over:
        server = FakeServer()
        server.users_run("users", **USERS)
        with process(server) as running:
            for event in events:
                running.emit(shared_destination(event.search_id), event)
            over = running.deliver(Fault(number, "die", "after"))
            settle(running)
        for search_id in ("search0", "search1"):
            of_search = [e for e in events if e.search_id == search_id]
            assert_recorded_once(search_id, server, of_search)
        assert_series_are_apart(server)
        run = server.runs["users"]
        names.add(tuple(sorted([*run.params, *{point[0] for point in run.points}])))
        number += 1
    assert number > 30
    assert len(names) == 1, "the names depend on the moment of the crash"


def test_failure_at_any_request_of_two_searches_on_one_run():
    """While one search waits, the other settles its names on the same run."""
    events = [
        event for both in zip(plain_search(0), plain_search(1), strict=True) for event in both
    ]
    number, over = 0, False
    while not over:
        server = FakeServer()
        server.users_run("users")
        server.faults = [Fault(number, "fail", "before")]
        with process(server) as running:
            for event in events:
                running.emit(shared_destination(event.search_id), event)
                running.deliver_until_failure()
            over = bool(server.faults)
            while running.outbox.waiting():
                running.deliver_until_failure()
            assert running.rejected == []
        for search_id in ("search0", "search1"):
            of_search = [event for event in events if event.search_id == search_id]
            assert_recorded_once(search_id, server, of_search)
        assert_series_are_apart(server)
        number += 1
    assert number > 60


def test_replayed_rows_are_recorded_once():
    """Each operation is sent three times, the last two as after a crash."""
    events = list(plain_search())
    server = FakeServer()
    with process(server) as running:
        for event in events:
            running.emit(own_destination(event.search_id), event)
        executor = MlflowExecutor(lambda *_: None, running.outbox)
        while rows := running.outbox.peek(1000):
            for delivery in coalesce(rows):
                executor.apply(delivery.operation, delivery.redelivered)
                executor.apply(delivery.operation, redelivered=True)
                MlflowExecutor(lambda *_: None, running.outbox).apply(
                    delivery.operation, redelivered=True
                )
                running.outbox.acknowledge(delivery.numbers)
        assert running.outbox.is_empty()
    assert record(server) == undisturbed(events)


POINTS = st.builds(
    Metric,
    st.sampled_from(["a", "b"]),
    st.sampled_from([0.5, math.nan, -0.0, 0.0]),
    st.integers(1, 3),
    st.integers(0, 2),
)


@settings(MODERATE, max_examples=300)
@given(
    st.lists(POINTS, min_size=1, max_size=6, unique_by=lambda point: repr(point[:4])),
    st.lists(POINTS, max_size=2, unique_by=lambda point: repr(point[:4])),
    st.data(),
)
def test_partly_logged_batch_is_completed(points, others, data):
    """A file store may fail in the middle of a batch, and steps may come in any order."""
    wanted = [(m.key, repr(m.value), m.time_ms, m.step) for m in points]
    of_others = [(m.key, repr(m.value), m.time_ms, m.step) for m in others]
    of_others = [point for point in of_others if point not in wanted]
    logged = data.draw(st.integers(0, len(wanted)))
    server = FakeServer()
    server.users_run("run", points=[*of_others, *wanted[:logged]])
    batch = LogBatch(search_id="search0", metrics=tuple(points))
    calls.log_batch(server, "run", MetricDeduplicator().without_logged(server, "run", batch))
    assert sorted(server.runs["run"].points) == sorted([*of_others, *wanted])


def send_again(logged, batch) -> list[tuple[str, str, int, int]]:
    """The points of a run that has some, after a batch is sent to it once more."""
    server = FakeServer()
    server.users_run("run", points=[(m.key, repr(m.value), m.time_ms, m.step) for m in logged])
    batch = LogBatch(search_id="search0", metrics=tuple(batch))
    calls.log_batch(server, "run", MetricDeduplicator().without_logged(server, "run", batch))
    return sorted(server.runs["run"].points)


def test_point_of_lower_step_is_logged():
    """A subclass that runs Spark's loop twice scores fold 0 after fold 1."""
    first, second = Metric("auc", 0.5, 10, 1), Metric("auc", 0.625, 20, 0)
    assert send_again([first], [first, second]) == [("auc", "0.5", 10, 1), ("auc", "0.625", 20, 0)]


def test_logged_batch_makes_no_request():
    """A request whose answers are all lost would be repeated for ever."""
    server = FakeServer()
    server.users_run("run", [("a", "1")], [("auc", "0.5", 10, 0)], [("t", "x"), ("u", "y")])
    batch = LogBatch(
        search_id="search0",
        params=(("a", "1"),),
        metrics=(Metric("auc", 0.5, 10, 0),),
        tags=(("t", "x"),),
    )
    calls.log_batch(server, "run", MetricDeduplicator().without_logged(server, "run", batch))
    assert server.calls == 1


def test_point_is_logged_after_a_later_one():
    """A failed row lets later rows go first, and is merged with them if they fail too."""
    first, second = Metric("auc", 0.5, 10, 0), Metric("auc", 0.625, 20, 1)
    assert send_again([second], [first, second]) == [("auc", "0.5", 10, 0), ("auc", "0.625", 20, 1)]


def test_point_is_logged_once_beside_equal_point_of_other_search():
    """Two searches on one parent run share a name if they have the same value."""
    ours, theirs = Metric("best_avg", 0.5, 10), Metric("best_avg", 0.5, 20)
    assert send_again([ours, theirs], [ours]) == [
        ("best_avg", "0.5", 10, 0),
        ("best_avg", "0.5", 20, 0),
    ]
