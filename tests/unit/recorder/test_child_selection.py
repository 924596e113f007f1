"""``children="best:N"``: all candidates are recorded, and only the best have child runs."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Iterable

import mlflow
import pytest
from mlflow import MlflowClient

import trackmllib
from support.orphaned_search import create_orphaned_outbox
from support.search_descriptions import describe, one_param
from support.search_events import COST, failing, fold_fit, search, started
from support.search_player import Player, new_session
from support.sqlite_store import sqlite_store
from trackmllib.domain.descriptions import Failure, ParentFit
from trackmllib.domain.events import (
    CandidateScored,
    ChildRunNeeded,
    Event,
    FitCostMeasured,
    FitFailed,
    FitScored,
    FitStarted,
    SearchFailed,
    SearchFinished,
    SearchStarted,
)
from trackmllib.domain.naming import GridNames
from trackmllib.domain.operations import CreateChildRun, Destination, EndRun, LogArtifact, Operation
from trackmllib.domain.search_state import SearchState
from trackmllib.exceptions import Rejected
from trackmllib.outbox.delivery_order import Row, coalesce
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.outbox.orphaned import OrphanedOutbox
from trackmllib.recorder import artifact_reader, artifacts
from trackmllib.recorder.translator import LAST_SIGN_OF_LIFE, Recorder
from trackmllib.reporting import table
from trackmllib.reporting.run_links import RunLinks
from trackmllib.runtime.recovery import recover
from trackmllib.testing import InMemoryStore, RecordedRun
from trackmllib.tracking.client import CANDIDATE, SEARCH_ID

pytestmark = pytest.mark.versions

NAN, INF = math.nan, math.inf
SCORES = [[0.1, 0.2], [0.8, 0.9], [0.5, 0.6], [0.8, 0.9], [0.3, 0.3]]
AVERAGES = [0.15, 0.85, 0.55, 0.85, 0.3]
KILLED = Failure(type="KeyboardInterrupt", message="", traceback="", interrupted=True)


class Recorded:
    """The record that the events of one search make in memory."""

    def __init__(self, events: Iterable[Event], children: str, *, owned: bool = True) -> None:
        self.store = InMemoryStore()
        self.operations: list[Operation] = []
        # Number of child runs before the last event.
        self.runs_before_end = 0
        for event in events:
            if isinstance(event, SearchStarted):
                event = dataclasses.replace(event, children=children)
                self.result = SearchState(event)
                destination = Destination(tracking_uri="memory:", owned=owned)
                self.recorder = Recorder(destination)
            if isinstance(event, CandidateScored):
                # At the time of the last score, as in Spark's loop.
                end_ms = self.result.candidates[event.candidate].end_ms
                event = dataclasses.replace(event, time_ms=end_ms)
            self.runs_before_end = len(self.store.children())
            self.result.apply(event)
            self.take(self.recorder.operations(event, self.result))

    def take(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            self.operations.append(operation)
            self.store.apply(operation)

    @property
    def children(self) -> dict[int, RecordedRun]:
        return {run.candidate: run for run in self.store.children()}

    @property
    def parent_run(self) -> RecordedRun:
        (run,) = self.store.parent_runs()
        return run

    @property
    def created(self) -> list[int]:
        """The candidates in the order in which their runs were created."""
        return [each.candidate for each in self.operations if isinstance(each, CreateChildRun)]

    def requests(self, candidate: int) -> int:
        """Count the requests for a child run created at the end."""
        rows = [
            Row(number, operation)
            for number, operation in enumerate(self.operations)
            if operation.candidate == candidate
        ]
        return len(coalesce(rows))


def content(run: RecordedRun) -> dict:
    """A run as text, in which NaN equals NaN; without the times of costs."""
    data = dataclasses.asdict(run)
    data["metrics"] = {
        key: [
            point._replace(time_ms=0 if key.startswith("spark.") else point.time_ms)
            for point in points
        ]
        for key, points in sorted(run.metrics.items())
    }
    return {key: repr(value) for key, value in data.items()}


def same(one: Recorded, other: Recorded, candidates: Iterable[int]) -> bool:
    return all(
        content(one.children[index]) == content(other.children[index]) for index in candidates
    )


CASES = {
    "larger is better": (lambda: search(SCORES, AVERAGES, 1), [1, 3]),
    "smaller is better": (lambda: search(SCORES, AVERAGES, 0, larger_is_better=False), [0, 4]),
    "the winner counts": (lambda: search(SCORES, AVERAGES, 2), [2, 1]),
    "NaN wins": (
        lambda: search([[NAN, 0.5], [0.5, 0.5], [0.7, 0.7]], [NAN, 0.5, 0.7], 0),
        [0, 2],
    ),
    "NaN comes last": (
        lambda: search([[NAN, 0.5], [0.5, 0.5], [-INF, 0]], [NAN, 0.5, -INF], 1),
        [1, 2],
    ),
    "a split": (lambda: search([[0.5], [0.9], [0.7]], [0.5, 0.9, 0.7], 1, averaged=False), [1, 2]),
    "fewer than two": (lambda: search([[0.5, 0.5]], [0.5], 0), [0]),
}


@pytest.mark.parametrize("case", CASES)
def test_runs_of_the_best_are_those_of_children_all(case):
    events, best = list(CASES[case][0]()), CASES[case][1]
    everything, some = Recorded(events, "all"), Recorded(events, "best:2")
    assert some.created == best
    assert some.runs_before_end == 0
    assert same(some, everything, best)
    assert all(some.requests(index) <= 3 for index in best)
    for file in (artifacts.RESULTS, artifacts.OUTCOME, artifacts.BEST_PARAMS):
        assert some.parent_run.artifacts[file] == everything.parent_run.artifacts[file]
    assert some.parent_run.metrics == everything.parent_run.metrics
    assert some.parent_run.description == everything.parent_run.description
    assert some.parent_run.status == "FINISHED"


def test_parent_run_tells_which_candidates_have_runs():
    some = Recorded(search(SCORES, AVERAGES, 1), "best:2")
    everything = Recorded(search(SCORES, AVERAGES, 1), "all")
    assert some.parent_run.tags["trackmllib.children"] == "best:2"
    assert "trackmllib.children" not in everything.parent_run.tags
    text = some.parent_run.artifacts[artifacts.SEARCH]
    assert artifact_reader.read_state(text).children == "best:2"
    before = text.replace('  "children": "best:2",\n', "")
    assert before != text
    assert artifact_reader.read_state(before).children == "all"


def test_results_csv_has_all_candidates():
    some = Recorded(search(SCORES, AVERAGES, 1), "best:2")
    rows = list(csv.DictReader(io.StringIO(some.parent_run.artifacts[artifacts.RESULTS])))
    assert [float(row["fold_1"]) for row in rows] == [scores[1] for scores in SCORES]
    assert [float(row["average"]) for row in rows] == AVERAGES
    assert {row["status"] for row in rows} == {"FINISHED"}


@pytest.mark.parametrize("after", range(1, 9))
def test_needed_run_exists_from_then_on(after):
    """Candidate 4 is among the worst; its run is needed after so many of its events."""

    def events():
        seen = 0
        for event in everything:
            yield event
            if getattr(event, "candidate", None) == 4:
                seen += 1
                if seen == after:
                    yield ChildRunNeeded(
                        search_id=event.search_id, time_ms=event.time_ms, candidate=4
                    )

    # FitStarted, FitScored, FitCostMeasured on two folds, CandidateScored and nothing after it.
    everything = list(search(SCORES, AVERAGES, 1))
    needed = Recorded(events(), "best:2")
    wanted = Recorded(everything, "all")
    assert needed.created == ([4, 1, 3] if after <= 7 else [1, 3])
    assert same(needed, wanted, needed.created)


def test_winner_whose_run_was_needed_is_marked_once():
    begin, *others = search(SCORES, AVERAGES, 1)
    first = next(n for n, event in enumerate(others) if getattr(event, "candidate", None) == 1)
    need = ChildRunNeeded(search_id=begin.search_id, time_ms=begin.time_ms, candidate=1)
    events = [begin, *others[: first + 1], need, *others[first + 1 :]]
    some = Recorded(events, "best:2")
    assert some.created == [1, 3]
    assert same(some, Recorded([begin, *others], "all"), [1, 3])


def test_failed_candidate_has_a_run_with_its_error():
    events = list(failing())
    some, everything = Recorded(events, "best:1"), Recorded(events, "all")
    assert some.runs_before_end == 0
    assert some.created == [0, 1]
    assert same(some, everything, [0, 1])
    failed = some.children[1]
    assert (failed.status, failed.tags["trackmllib.error"]) == ("FAILED", "ValueError: no")
    assert failed.artifacts[artifacts.TRACEBACK] == "trace"
    assert some.parent_run.status == "FAILED"


def interrupted(scores: list[list[float]], *, complete: bool) -> list[Event]:
    """A Ctrl-C after these scores, fold by fold."""
    begin = started(describe(one_param(*range(len(scores))), folds=2))
    events: list[Event] = [begin]
    for fold in range(2):
        for index, of_candidate in enumerate(scores):
            if fold < len(of_candidate):
                events += fold_fit(begin.search_id, index, fold, of_candidate[fold])
            if fold == 1 and len(of_candidate) == 2 and complete:
                events.append(
                    CandidateScored(
                        search_id=begin.search_id,
                        time_ms=events[-1].time_ms,
                        candidate=index,
                        average=sum(of_candidate) / 2,
                        deviation=0.1,
                    )
                )
    end_ms = events[-1].time_ms + 1000
    return [*events, SearchFailed(search_id=begin.search_id, time_ms=end_ms, failure=KILLED)]


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        # Some candidates have the first fold.
        ([[0.1], [0.9], [0.5], []], [1, 2]),
        # All candidates have the first fold, some the second.
        ([[0.1, 1.0], [0.9], [0.5, 0.6], [0.4]], [1, 2]),
        # No candidate has a score.
        ([[], []], []),
    ],
)
def test_leaders_of_an_interrupted_search_have_runs(scores, best):
    events = interrupted(scores, complete=False)
    some, everything = Recorded(events, "best:2"), Recorded(events, "all")
    assert some.created == best
    assert same(some, everything, best)
    assert {run.status for run in some.children.values()} <= {"KILLED"}
    assert some.parent_run.status == "KILLED"


def test_complete_candidates_of_an_interrupted_search_come_first():
    events = interrupted([[0.1, 0.2], [0.9], [0.5, 0.6]], complete=True)
    some, everything = Recorded(events, "best:3"), Recorded(events, "all")
    assert some.created == [2, 0, 1]
    assert same(some, everything, [0, 1, 2])
    assert [run.status for run in some.store.children()] == ["FINISHED", "KILLED", "FINISHED"]


def test_complete_nan_of_an_interrupted_search_comes_before_incomplete_candidates():
    events = interrupted([[NAN, 0.2], [0.9], [0.5, 0.6]], complete=True)
    some, everything = Recorded(events, "best:2"), Recorded(events, "all")
    assert some.created == [2, 0]
    assert same(some, everything, [2, 0])


@pytest.mark.parametrize(("sign", "best"), [(1.0, [0, 4, 5]), (-1.0, [0, 1, 2])])
def test_incomplete_candidates_of_an_interrupted_search_are_ranked(sign, best):
    """By the first fold, the only one that all of them have."""
    scores = [[0.5, 0.5], [0.1], [0.2], [0.3, 9.0 * sign], [0.9], [0.8]]
    events = interrupted(scores, complete=False)
    begin = events[0]
    larger = dataclasses.replace(begin.description, larger_is_better=sign > 0)
    complete = CandidateScored(
        search_id=begin.search_id,
        time_ms=events[-1].time_ms,
        candidate=0,
        average=0.5,
        deviation=0.0,
    )
    events = [
        dataclasses.replace(begin, description=larger),
        *events[1:-1],
        complete,
        events[-1],
    ]
    some, everything = Recorded(events, "best:3"), Recorded(events, "all")
    assert some.created == best
    assert same(some, everything, best)


def test_unobserved_candidates_have_the_times_of_the_search():
    begin = started(describe(one_param(1, 2, 3), 2))
    end = SearchFinished(
        search_id=begin.search_id,
        time_ms=begin.time_ms + 5000,
        refit_seconds=None,
        averages=(0.1, 0.9, 0.5),
        deviations=None,
        best=1,
    )
    some, everything = Recorded([begin, end], "best:2"), Recorded([begin, end], "all")
    assert some.created == [1, 2]
    assert same(some, everything, [1, 2])
    assert some.children[1].tags["trackmllib.times"] == "search"


def test_late_costs_reach_existing_runs():
    begin = started(describe(one_param(1, 2), 2))
    where = {"search_id": begin.search_id, "time_ms": begin.time_ms, "candidate": 0}
    seconds = {"fit_seconds": 1.0, "evaluate_seconds": 1.0}
    some = Recorded(
        [
            begin,
            FitStarted(**where, fold=0),
            ChildRunNeeded(**where),
            FitScored(**where, fold=0, score=0.5, **seconds),
            FitCostMeasured(**where, fold=0, cost=COST),
        ],
        "best:1",
    )
    (point,) = some.children[0].metrics["spark.executorRunTime"]
    assert point.value == COST.executor_run_time


def test_abandoned_search_leaves_no_run_running():
    events = list(search(SCORES, AVERAGES, 1))
    some = Recorded(events[:-1], "best:2")
    some.result.apply(ChildRunNeeded(search_id=events[0].search_id, time_ms=0, candidate=4))
    some.result.apply(events[-1])
    ended = [
        each.candidate
        for each in some.recorder.abandon(events[-1], some.result, [1, 4])
        if isinstance(each, EndRun)
    ]
    assert ended == [1, 4, None]


def test_abandoned_search_ends_only_runs_that_were_created(tmp_path):
    """Runs of the best and of failed candidates are created at the end; the second one fails."""
    refused = []

    class Store(InMemoryStore):
        def apply(self, operation, redelivered=False):
            try:
                super().apply(operation, redelivered)
            except Rejected:
                refused.append(operation)

    store = Store()
    session = new_session(tmp_path, "memory:", store, children="best:1")
    begin = started(describe(one_param(0, 1, 2, 3), folds=1))
    unreadable = Failure(type="Odd", message=None, traceback="", interrupted=False)
    events = [begin, *fold_fit(begin.search_id, 0, 0, 0.5)]
    for index, failure in enumerate((unreadable, KILLED), start=1):
        where = {"search_id": begin.search_id, "time_ms": begin.time_ms, "candidate": index}
        events.append(FitStarted(**where, fold=0))
        events.append(FitFailed(**where, fold=0, failure=failure))
    end_ms = events[-1].time_ms + 1000
    events.append(SearchFailed(search_id=begin.search_id, time_ms=end_ms, failure=KILLED))
    for event in events:
        session.callbacks.emit(event)
    assert session.flush(20)
    assert [run.candidate for run in store.children()] == [0, 1]
    assert "RUNNING" not in {run.status for run in [*store.parent_runs(), *store.children()]}
    assert refused == []


def test_end_of_a_large_search_has_few_operations():
    count = 1000
    scores = [[index / count, index / count] for index in range(count)]
    some = Recorded(search(scores, [each[0] for each in scores], count - 1), "best:20")
    assert some.created == list(range(count - 1, count - 21, -1))
    assert sum(isinstance(each, LogArtifact) for each in some.operations) == 4


# With an outbox and a store.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("children")


@pytest.fixture(scope="module")
def uri(folder) -> str:
    return sqlite_store(folder)


@pytest.fixture
def player(folder, uri, request) -> Player:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment(request.node.name, (folder / "files").as_uri())
    return Player(folder / request.node.name, uri, experiment, children="best:2")


def runs_of(player: Player, search_id: str) -> dict[int | None, mlflow.entities.Run]:
    """The runs of a search by candidate."""
    found = MlflowClient(tracking_uri=player.uri).search_runs(
        [player.experiment_id], f"tags.`{SEARCH_ID}` = '{search_id}'"
    )
    numbers = [run.data.tags.get(CANDIDATE) for run in found]
    return {None if n is None else int(n): run for n, run in zip(numbers, found, strict=True)}


@pytest.mark.parametrize("events", [lambda: search(SCORES, AVERAGES, 1), failing])
def test_loaded_state_is_that_of_the_live_search(player, events):
    search_id = player.play(events())
    runs = runs_of(player, search_id)
    assert len(runs) == 3
    live = player.tables[search_id]
    children = {n: run.info.run_id for n, run in runs.items() if n is not None}
    names = GridNames(live.description.candidates)
    rows = table.rows(live, names, RunLinks(children=children))
    loaded = trackmllib.load_results(runs[None].info.run_id, player.uri)
    assert repr(table.rows(loaded.search, loaded.grid, loaded.runs)) == repr(rows)
    assert {row["run_id"] is None for row in rows} == {True, False}
    assert loaded.search.children == "best:2"


def test_progress_of_a_running_search_is_loaded(player):
    search_id = player.play(search(SCORES, AVERAGES, 1, stop=34))
    (parent,) = runs_of(player, search_id).values()
    loaded = trackmllib.load_results(parent.info.run_id, player.uri)
    live = player.tables[search_id]
    assert loaded.search.fits_finished == live.fits_finished > 0
    assert loaded.search.candidates_finished == live.candidates_finished > 0
    assert loaded.search.status == "RUNNING"


def test_user_logs_to_the_run_of_the_candidate(player, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", player.uri)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(player.uri)
    events = iter(search(SCORES, AVERAGES, 1))
    search_id = ""
    try:
        for event in events:
            search_id = player.play([event])
            is_fit = isinstance(event, FitStarted) and event.candidate == 4
            if is_fit:
                with player.session.callbacks.active_run(search_id, lambda: 4, event.fold):
                    mlflow.log_metric("mine", 1.0 + event.fold, step=event.fold)
                assert 4 in runs_of(player, search_id)
    finally:
        mlflow.set_tracking_uri(before)
    runs = runs_of(player, search_id)
    assert sorted(runs, key=str) == [1, 3, 4, None]
    points = MlflowClient(tracking_uri=player.uri).get_metric_history(runs[4].info.run_id, "mine")
    assert sorted((point.step, point.value) for point in points) == [(0, 1.0), (1, 2.0)]
    assert runs[4].data.metrics["avg_weightedPrecision"] == AVERAGES[4]
    assert runs[4].info.status == "FINISHED"


def test_thread_finds_the_parent_run_after_the_end(player, monkeypatch):
    search_id = player.play(search(SCORES, AVERAGES, 1))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", player.uri)
    with player.session.callbacks.active_run(search_id, lambda: 0, 0):
        assert mlflow.active_run().info.run_id == runs_of(player, search_id)[None].info.run_id


def test_inner_search_is_nested_under_a_child_run(player):
    outer = list(search(SCORES, AVERAGES, 1))
    inside = ParentFit(search_id=outer[0].search_id, candidate=4, fold=0)
    inner = list(search([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]], [0.15, 0.35, 0.55], 2, parent=inside))
    begins = next(n for n, e in enumerate(outer) if getattr(e, "candidate", None) == 4) + 1
    search_id = player.play([*outer[:begins], *inner, *outer[begins:]])
    runs = runs_of(player, search_id)
    assert sorted(runs, key=str) == [1, 3, 4, None]
    of_inner = runs_of(player, inner[0].search_id)
    assert sorted(of_inner, key=str) == [1, 2, None]
    assert of_inner[None].data.tags["mlflow.parentRunId"] == runs[4].info.run_id


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 4, 17, 18])
def test_recovered_search_has_the_runs_of_its_best(tmp_path, after):
    """Five candidates on three folds; after so many events none, some or all have a score."""
    search_id = create_orphaned_outbox(tmp_path, "databricks", 5, after=after, children="best:2")
    store = InMemoryStore()
    orphaned = OrphanedOutbox(lambda sentence: None)
    recover(OutboxDirectory(tmp_path / "outbox"), orphaned, lambda sentence: None)
    while rows := orphaned.peek(1000):
        for row in rows:
            store.apply(row.operation)
        orphaned.acknowledge([row.number for row in rows])
    children = store.children(search_id)
    # The scores are 0, 4/5, 3/5, 2/5, 1/5.
    begun = {1: [], 4: [0], 17: [1, 2], 18: [1, 2]}[after]
    assert [run.candidate for run in children] == begun
    assert {run.status for run in children} <= {"KILLED"}
    assert all(LAST_SIGN_OF_LIFE in run.tags for run in children)
    (parent,) = store.parent_runs()
    assert parent.status == "KILLED"
    assert len(parent.artifacts[artifacts.RESULTS].splitlines()) == 6
