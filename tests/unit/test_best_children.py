"""``children="best:N"``: all candidates are recorded, and only the best have runs."""

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
from made import leave_behind, new_session
from played import COST, Player, cell, described, failing, grid, search, started
from trackmllib.errors import Rejected
from trackmllib.events import (
    CandidateScored,
    CellCosted,
    CellFailed,
    CellScored,
    CellStarted,
    ChildRunNeeded,
    Event,
    Failure,
    Place,
    SearchFailed,
    SearchFinished,
    SearchStarted,
)
from trackmllib.names import GridNames
from trackmllib.operations import (
    CreateChildRun,
    Destination,
    EndRun,
    LogArtifact,
    Operation,
    Row,
    coalesce,
)
from trackmllib.options.children import is_good, most
from trackmllib.outbox.estate import Estate
from trackmllib.outbox.home import Home
from trackmllib.recorder import files, read_back
from trackmllib.recorder.record import LAST_SIGN_OF_LIFE, Recorder
from trackmllib.search_result import SearchResult
from trackmllib.takeover import take_over
from trackmllib.testing import InMemoryStore, RecordedRun
from trackmllib.tracking.client import CANDIDATE, SEARCH_ID
from trackmllib.view import table
from trackmllib.view.runs import Runs

NAN, INF = math.nan, math.inf
SCORES = [[0.1, 0.2], [0.8, 0.9], [0.5, 0.6], [0.8, 0.9], [0.3, 0.3]]
AVERAGES = [0.15, 0.85, 0.55, 0.85, 0.3]
KILLED = Failure(type="KeyboardInterrupt", message="", traceback="", interrupted=True)


class Recorded:
    """What became of the events of one search, without any I/O."""

    def __init__(self, events: Iterable[Event], children: str, *, owned: bool = True) -> None:
        self.store = InMemoryStore()
        self.operations: list[Operation] = []
        # How many runs of candidates there were before the last event.
        self.on_the_way = 0
        for event in events:
            if isinstance(event, SearchStarted):
                event = dataclasses.replace(event, children=children)
                self.result = SearchResult(event)
                destination = Destination(tracking_uri="memory:", owned=owned)
                self.recorder = Recorder(destination, self.result)
            if isinstance(event, CandidateScored):
                # As Spark's loop says it, in the moment of the last score.
                end_ms = self.result.candidates[event.candidate].end_ms
                event = dataclasses.replace(event, time_ms=end_ms)
            self.on_the_way = len(self.store.children())
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
    def main(self) -> RecordedRun:
        (run,) = self.store.main_runs()
        return run

    @property
    def made(self) -> list[int]:
        """The candidates in the order in which their runs were made."""
        return [each.candidate for each in self.operations if isinstance(each, CreateChildRun)]

    def requests(self, candidate: int) -> int:
        """How many requests the run of a candidate takes that is made at the end."""
        rows = [
            Row(number, operation)
            for number, operation in enumerate(self.operations)
            if operation.candidate == candidate
        ]
        return len(coalesce(rows))


def content(run: RecordedRun) -> dict:
    """All of a run, in words as NaN is no NaN; of costs not when they became known."""
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


@pytest.mark.parametrize(("words", "number"), [("all", None), ("best:1", 1), ("best:200", 200)])
def test_how_many_are_the_best(words, number):
    assert is_good(words)
    assert most(words) == number


@pytest.mark.parametrize("words", ["", "none", "best", "best:0", "best:-1", "best:2 ", "best:²"])
def test_other_words_say_nothing(words):
    assert not is_good(words)
    with pytest.raises(ValueError, match="does not say"):
        most(words)


@pytest.mark.parametrize("case", CASES)
def test_the_best_have_the_runs_that_all_would_have(case):
    events, best = list(CASES[case][0]()), CASES[case][1]
    everything, some = Recorded(events, "all"), Recorded(events, "best:2")
    assert some.made == best
    assert some.on_the_way == 0
    assert same(some, everything, best)
    assert all(some.requests(index) <= 3 for index in best)
    for file in (files.RESULTS, files.OUTCOME, files.BEST_PARAMS):
        assert some.main.artifacts[file] == everything.main.artifacts[file]
    assert some.main.metrics == everything.main.metrics
    assert some.main.description == everything.main.description
    assert some.main.status == "FINISHED"


def test_the_record_says_that_only_the_best_have_runs():
    some = Recorded(search(SCORES, AVERAGES, 1), "best:2")
    everything = Recorded(search(SCORES, AVERAGES, 1), "all")
    assert some.main.tags["trackmllib.children"] == "best:2"
    assert "trackmllib.children" not in everything.main.tags
    text = some.main.artifacts[files.SEARCH]
    assert read_back.search_result(text).children == "best:2"
    before = text.replace('  "children": "best:2",\n', "")
    assert before != text
    assert read_back.search_result(before).children == "all"


def test_a_file_of_all_candidates_is_there():
    some = Recorded(search(SCORES, AVERAGES, 1), "best:2")
    rows = list(csv.DictReader(io.StringIO(some.main.artifacts[files.RESULTS])))
    assert [float(row["fold_1"]) for row in rows] == [scores[1] for scores in SCORES]
    assert [float(row["average"]) for row in rows] == AVERAGES
    assert {row["status"] for row in rows} == {"FINISHED"}


@pytest.mark.parametrize("after", range(1, 9))
def test_a_run_that_is_needed_is_there_from_then_on(after):
    """Candidate 4 is among the worst; its run is needed after so many events of it."""

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

    # CellStarted, CellScored, CellCosted on two folds, CandidateScored and nothing after it.
    everything = list(search(SCORES, AVERAGES, 1))
    needed = Recorded(events(), "best:2")
    wanted = Recorded(everything, "all")
    assert needed.made == ([4, 1, 3] if after <= 7 else [1, 3])
    assert same(needed, wanted, needed.made)


def test_a_winner_whose_run_was_needed_is_marked_once():
    begin, *others = search(SCORES, AVERAGES, 1)
    first = next(n for n, event in enumerate(others) if getattr(event, "candidate", None) == 1)
    need = ChildRunNeeded(search_id=begin.search_id, time_ms=begin.time_ms, candidate=1)
    events = [begin, *others[: first + 1], need, *others[first + 1 :]]
    some = Recorded(events, "best:2")
    assert some.made == [1, 3]
    assert same(some, Recorded([begin, *others], "all"), [1, 3])


def test_a_failed_candidate_has_its_run_with_the_error():
    events = list(failing())
    some, everything = Recorded(events, "best:1"), Recorded(events, "all")
    assert some.on_the_way == 0
    assert some.made == [0, 1]
    assert same(some, everything, [0, 1])
    failed = some.children[1]
    assert (failed.status, failed.tags["trackmllib.error"]) == ("FAILED", "ValueError: no")
    assert failed.artifacts[files.TRACEBACK] == "trace"
    assert some.main.status == "FAILED"


def interrupted(scores: list[list[float]], *, complete: bool) -> list[Event]:
    """A Ctrl-C after these scores, fold by fold."""
    begin = started(described(grid(*range(len(scores))), folds=2))
    events: list[Event] = [begin]
    for fold in range(2):
        for index, of_candidate in enumerate(scores):
            if fold < len(of_candidate):
                events += cell(begin.search_id, index, fold, of_candidate[fold])
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
        # The first fold of some of them.
        ([[0.1], [0.9], [0.5], []], [1, 2]),
        # All have the first fold, some the second: the first one is what they have in common.
        ([[0.1, 1.0], [0.9], [0.5, 0.6], [0.4]], [1, 2]),
        # Nobody has a score.
        ([[], []], []),
    ],
)
def test_of_an_interrupted_search_those_that_led_have_runs(scores, best):
    events = interrupted(scores, complete=False)
    some, everything = Recorded(events, "best:2"), Recorded(events, "all")
    assert some.made == best
    assert same(some, everything, best)
    assert {run.status for run in some.children.values()} <= {"KILLED"}
    assert some.main.status == "KILLED"


def test_of_an_interrupted_search_complete_candidates_come_first():
    events = interrupted([[0.1, 0.2], [0.9], [0.5, 0.6]], complete=True)
    some, everything = Recorded(events, "best:3"), Recorded(events, "all")
    assert some.made == [2, 0, 1]
    assert same(some, everything, [0, 1, 2])
    assert [run.status for run in some.store.children()] == ["FINISHED", "KILLED", "FINISHED"]


@pytest.mark.parametrize(("sign", "best"), [(1.0, [0, 4, 5]), (-1.0, [0, 1, 2])])
def test_of_an_interrupted_search_incomplete_candidates_are_ranked_too(sign, best):
    """By the first fold, which they have in common: the second score of candidate 3 says little."""
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
    assert some.made == best
    assert same(some, everything, best)


def test_candidates_that_nobody_saw_have_the_times_of_the_search():
    begin = started(described(grid(1, 2, 3)))
    end = SearchFinished(
        search_id=begin.search_id,
        time_ms=begin.time_ms + 5000,
        refit_seconds=None,
        averages=(0.1, 0.9, 0.5),
        deviations=None,
        best=1,
    )
    some, everything = Recorded([begin, end], "best:2"), Recorded([begin, end], "all")
    assert some.made == [1, 2]
    assert same(some, everything, [1, 2])
    assert some.children[1].tags["trackmllib.times"] == "search"


def test_costs_that_come_late_reach_the_runs_that_are_there():
    begin = started(described(grid(1, 2)))
    where = {"search_id": begin.search_id, "time_ms": begin.time_ms, "candidate": 0}
    seconds = {"fit_seconds": 1.0, "evaluate_seconds": 1.0}
    some = Recorded(
        [
            begin,
            CellStarted(**where, fold=0),
            ChildRunNeeded(**where),
            CellScored(**where, fold=0, score=0.5, **seconds),
            CellCosted(**where, fold=0, cost=COST),
        ],
        "best:1",
    )
    (point,) = some.children[0].metrics["spark.executorRunTime"]
    assert point.value == COST.executor_run_time


def test_errors_of_ours_at_the_end_leave_no_run_open():
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


def test_after_errors_of_ours_nothing_is_said_of_runs_that_were_not_made(tmp_path):
    """The runs of the best one and of those that failed are made at the end; the second raises."""
    refused = []

    class Store(InMemoryStore):
        def apply(self, operation, again=False):
            try:
                super().apply(operation, again)
            except Rejected:
                refused.append(operation)

    store = Store()
    session = new_session(tmp_path, "memory:", store, children="best:1")
    begin = started(described(grid(0, 1, 2, 3), folds=1))
    unreadable = Failure(type="Odd", message=None, traceback="", interrupted=False)
    events = [begin, *cell(begin.search_id, 0, 0, 0.5)]
    for index, failure in enumerate((unreadable, KILLED), start=1):
        where = {"search_id": begin.search_id, "time_ms": begin.time_ms, "candidate": index}
        events.append(CellStarted(**where, fold=0))
        events.append(CellFailed(**where, fold=0, failure=failure))
    end_ms = events[-1].time_ms + 1000
    events.append(SearchFailed(search_id=begin.search_id, time_ms=end_ms, failure=KILLED))
    for event in events:
        session.emit(event)
    assert session.flush(20)
    assert [run.candidate for run in store.children()] == [0, 1]
    assert "RUNNING" not in {run.status for run in [*store.main_runs(), *store.children()]}
    assert refused == []


def test_the_end_of_a_large_search_says_little():
    count = 1000
    scores = [[index / count, index / count] for index in range(count)]
    some = Recorded(search(scores, [each[0] for each in scores], count - 1), "best:20")
    assert some.made == list(range(count - 1, count - 21, -1))
    assert sum(isinstance(each, LogArtifact) for each in some.operations) == 4


# With an outbox and a store.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("children")


@pytest.fixture(scope="module")
def uri(folder) -> str:
    return f"sqlite:///{folder}/mlflow.db"


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
def test_the_table_that_is_loaded_is_that_of_the_live_search(player, events):
    search_id = player.play(events())
    runs = runs_of(player, search_id)
    assert len(runs) == 3
    live = player.tables[search_id]
    children = {n: run.info.run_id for n, run in runs.items() if n is not None}
    names = GridNames(live.description.candidates)
    rows = table.rows(live, names, Runs(children=children))
    loaded = trackmllib.load_results(runs[None].info.run_id, player.uri)
    assert repr(table.rows(loaded.search, loaded.grid, loaded.runs)) == repr(rows)
    assert {row["run_id"] is None for row in rows} == {True, False}
    assert loaded.search.children == "best:2"


def test_of_a_search_that_runs_it_is_known_how_far_it_is(player):
    search_id = player.play(search(SCORES, AVERAGES, 1, stop=34))
    (main,) = runs_of(player, search_id).values()
    loaded = trackmllib.load_results(main.info.run_id, player.uri)
    live = player.tables[search_id]
    assert loaded.search.cells_finished == live.cells_finished > 0
    assert loaded.search.candidates_finished == live.candidates_finished > 0
    assert loaded.search.status == "RUNNING"


def test_what_a_user_logs_in_a_cell_finds_the_run_of_the_candidate(player, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", player.uri)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(player.uri)
    events = iter(search(SCORES, AVERAGES, 1))
    search_id = ""
    try:
        for event in events:
            search_id = player.play([event])
            is_cell = isinstance(event, CellStarted) and event.candidate == 4
            if is_cell:
                with player.session.active_run(search_id, lambda: 4, event.fold):
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


def test_a_thread_that_runs_on_after_the_end_finds_the_main_run_at_once(player, monkeypatch):
    search_id = player.play(search(SCORES, AVERAGES, 1))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", player.uri)
    with player.session.active_run(search_id, lambda: 0, 0):
        assert mlflow.active_run().info.run_id == runs_of(player, search_id)[None].info.run_id


def test_a_search_inside_of_a_cell_has_a_run_to_stand_under(player):
    outer = list(search(SCORES, AVERAGES, 1))
    inside = Place(search_id=outer[0].search_id, candidate=4, fold=0)
    inner = list(search([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]], [0.15, 0.35, 0.55], 2, parent=inside))
    begins = next(n for n, e in enumerate(outer) if getattr(e, "candidate", None) == 4) + 1
    search_id = player.play([*outer[:begins], *inner, *outer[begins:]])
    runs = runs_of(player, search_id)
    assert sorted(runs, key=str) == [1, 3, 4, None]
    of_inner = runs_of(player, inner[0].search_id)
    assert sorted(of_inner, key=str) == [1, 2, None]
    assert of_inner[None].data.tags["mlflow.parentRunId"] == runs[4].info.run_id


@pytest.mark.parametrize("after", [1, 4, 17, 18])
def test_a_driver_that_was_killed_is_ended_with_its_best(tmp_path, after):
    """Five candidates on three folds; after so many events nobody has, some have, and all have the
    first score.
    """
    search_id = leave_behind(tmp_path, "databricks", 5, after=after, children="best:2")
    store = InMemoryStore()
    estate = Estate(lambda sentence: None)
    take_over(Home(tmp_path / "outbox"), estate, lambda sentence: None)
    while rows := estate.peek(1000):
        for row in rows:
            store.apply(row.operation)
        estate.acknowledge([row.number for row in rows])
    children = store.children(search_id)
    # The scores are 0, 4/5, 3/5, 2/5, 1/5.
    begun = {1: [], 4: [0], 17: [1, 2], 18: [1, 2]}[after]
    assert [run.candidate for run in children] == begun
    assert {run.status for run in children} <= {"KILLED"}
    assert all(LAST_SIGN_OF_LIFE in run.tags for run in children)
    (main,) = store.main_runs()
    assert main.status == "KILLED"
    assert len(main.artifacts[files.RESULTS].splitlines()) == 6
