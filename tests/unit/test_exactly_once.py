"""Exactly once: whatever dies, and whenever, the record is that of a delivery nobody disturbed.

Searches are recorded by the real Recorder into real outbox files, and delivered by the real
Delivery and MlflowTracking to a fake server that behaves like MLflow's file store: it appends every
metric point that it is sent, and makes a run each time that it is asked to. Where a request takes
effect late it behaves like MLflow's SQL store, which drops an equal point.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import shutil
import sqlite3
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations, count
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.entities import FileInfo, Param, RunData, RunInfo, RunStatus, RunTag
from mlflow.entities import Metric as MlflowMetric
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry

from trackmllib.delivery import worker
from trackmllib.delivery.backoff import Backoff
from trackmllib.delivery.worker import Delivery
from trackmllib.errors import Rejected
from trackmllib.events import (
    Candidate,
    CandidateScored,
    CellFailed,
    CellScored,
    CellStarted,
    ChildRunNeeded,
    Component,
    Failure,
    GridSetting,
    ParamSetting,
    RefitStarted,
    SearchDescription,
    SearchFailed,
    SearchFinished,
    SearchStarted,
    Value,
)
from trackmllib.operations import Destination, LogBatch, Metric, coalesce
from trackmllib.outbox.left_behind import LeftBehind
from trackmllib.recorder.record import Recorder
from trackmllib.search_result import SearchResult
from trackmllib.takeover import end_dead_searches
from trackmllib.tracking import client as calls
from trackmllib.tracking.apply import MlflowTracking
from trackmllib.tracking.points import StandingPoints

ENDED = {"FINISHED", "FAILED", "KILLED"}
URI = "http://server"
RUN_INFO_TAKES = set(inspect.signature(RunInfo).parameters)

MODERATE = settings(
    deadline=None,
    database=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


# The server.


@dataclass
class Fault:
    """What befalls the call after the next ``calls``. ``kind`` is "die" (our process), "cut" (the
    connection), "fail" (the answer is an error), or "late" (cut, and what was asked for happens two
    calls later).
    """

    calls: int
    kind: str
    moment: str = "before"


@dataclass
class Run:
    run_id: str
    experiment_id: str
    name: str
    start_ms: int
    tags: dict[str, str]
    status: str = "RUNNING"
    end_ms: int | None = None
    params: dict[str, str] = field(default_factory=dict)
    points: list[tuple[str, str, int, int]] = field(default_factory=list)
    artifacts: dict[str, str] = field(default_factory=dict)
    deleted: bool = False

    def as_mlflow(self):
        latest: dict[str, MlflowMetric] = {}
        for key, value, time_ms, step in sorted(
            self.points, key=lambda point: (point[3], point[2], float(point[1]))
        ):
            latest[key] = MlflowMetric(key, float(value), time_ms, step)
        return MlflowRun(
            RunInfo(
                # MLflow 2 wants the id under its old name as well.
                **dict.fromkeys({"run_id", "run_uuid"} & RUN_INFO_TAKES, self.run_id),
                experiment_id=self.experiment_id,
                user_id="",
                status=self.status,
                start_time=self.start_ms,
                end_time=self.end_ms,
                lifecycle_stage="deleted" if self.deleted else "active",
                artifact_uri=f"fake://server/{self.run_id}",
                run_name=self.name,
            ),
            RunData(
                metrics=list(latest.values()),
                params=[Param(*item) for item in self.params.items()],
                tags=[RunTag(*item) for item in self.tags.items()],
            ),
        )


class Page(list):
    token: str | None = None


class FakeServer:
    """A tracking server, and MLflow's client for it: the calls that trackmllib makes."""

    def __init__(self, store: str = "file", page: int = 3) -> None:
        self.runs: dict[str, Run] = {}
        self.faults: list[Fault] = []
        self.calls = 0
        self._store = store
        self._page = page
        self._numbers = count(1)
        self._late: list[tuple[int, object]] = []
        self.tracking_uri = URI
        self._tracking_client = SimpleNamespace(
            store=SimpleNamespace(update_run_info=self._update_run_info)
        )

    def active(self) -> list[Run]:
        return [run for run in self.runs.values() if not run.deleted]

    def users_run(self, run_id: str, params=(), points=(), tags=(), artifacts=()) -> None:
        """A run that the user has made, with what the user has logged."""
        self.runs[run_id] = Run(
            run_id=run_id,
            experiment_id="7",
            name="of the user",
            start_ms=1,
            tags=dict(tags),
            params=dict(params),
            points=list(points),
            artifacts=dict(artifacts),
        )

    @contextmanager
    def call(self, *effects, answer=None):
        """One request: its effects, with what befalls it before, between or after them."""
        self.calls += 1
        for when, effect in list(self._late):
            if when <= self.calls:
                self._late.remove((when, effect))
                effect()
        fault = None
        if self.faults:
            if self.faults[0].calls <= 0:
                fault = self.faults.pop(0)
            else:
                self.faults[0].calls -= 1
        if fault is None:
            for effect in effects:
                effect()
            yield
            return
        if fault.kind == "late":
            self._late.extend((self.calls + 2, effect) for effect in effects)
        elif fault.moment != "before":
            kept = effects[: len(effects) // 2] if fault.moment == "halfway" else effects
            for effect in kept:
                effect()
        if fault.kind == "die":
            raise SystemExit("kill -9")
        if fault.kind == "fail":
            raise MlflowException("Internal error", INTERNAL_ERROR)
        raise requests.ConnectionError("Connection aborted")

    # MlflowClient.

    def get_run(self, run_id):
        with self.call():
            return self.runs[run_id].as_mlflow()

    def get_experiment_by_name(self, name):
        with self.call():
            return SimpleNamespace(experiment_id="7")

    def create_run(self, experiment_id, start_time, tags, run_name):
        run = Run(f"run-{next(self._numbers)}", experiment_id, run_name, start_time, dict(tags))
        with self.call(lambda: self.runs.update({run.run_id: run})):
            return run.as_mlflow()

    def search_runs(
        self, experiment_ids, filter_string="", max_results=1000, page_token=None, order_by=()
    ):
        wanted = dict(re.findall(r"tags\.`([^`]+)` = '([^']*)'", filter_string))
        with self.call():
            found = [
                run
                for run in self.active()
                if run.experiment_id in experiment_ids and wanted.items() <= run.tags.items()
            ]
            sign = 1 if "attributes.start_time ASC" in order_by else -1
            found.sort(key=lambda run: (sign * run.start_ms, run.run_id))
            begin = int(page_token or 0)
            page = Page(run.as_mlflow() for run in found[begin : begin + self._page])
            page.token = str(begin + self._page) if begin + self._page < len(found) else None
            return page

    def get_metric_history(self, run_id, key):
        with self.call():
            return [
                MlflowMetric(key, float(value), time_ms, step)
                for found, value, time_ms, step in self.runs[run_id].points
                if found == key
            ]

    def log_batch(self, run_id, metrics=(), params=(), tags=(), synchronous=None):
        run = self.runs[run_id]
        for param in params:
            if run.params.get(param.key, param.value) != param.value:
                raise MlflowException(
                    f"Changing param values is not allowed: {param.key}", INVALID_PARAMETER_VALUE
                )
        effects = [lambda p=p: run.params.update({p.key: p.value}) for p in params]

        def add(metric):
            point = (metric.key, repr(float(metric.value)), metric.timestamp, metric.step)
            if self._store == "file" or point not in run.points:
                run.points.append(point)

        effects += [lambda m=m: add(m) for m in metrics]
        effects += [lambda t=t: run.tags.update({t.key: t.value}) for t in tags]
        with self.call(*effects):
            return

    def set_tag(self, run_id, key, value, synchronous=None):
        with self.call(lambda: self.runs[run_id].tags.update({key: value})):
            return

    def delete_run(self, run_id):
        def delete():
            self.runs[run_id].deleted = True

        with self.call(delete):
            return

    def _update_run_info(self, run_id, status, end_ms, name):
        def update():
            self.runs[run_id].status = RunStatus.to_string(status)
            self.runs[run_id].end_ms = end_ms

        with self.call(update):
            return


class FakeFiles:
    """The files of one run, as MLflow's artifact repositories give them."""

    def __init__(self, artifact_uri, tracking_uri=None, registry_uri=None) -> None:
        self._server = _server[-1]
        self._files = self._server.runs[artifact_uri.rpartition("/")[2]].artifacts

    def list_artifacts(self, path=None):
        with self._server.call():
            names = [name for name in self._files if name.startswith(f"{path}/")]
            return [FileInfo(name, False, 0) for name in names]

    def log_artifact(self, local_file, artifact_path=None):
        file = Path(local_file)
        text = file.read_text(encoding="utf-8")
        with self._server.call(lambda: self._files.update({f"{artifact_path}/{file.name}": text})):
            return


_server: list[FakeServer] = []


@pytest.fixture(scope="module", autouse=True)
def _connected():
    """Every MLflow client is one of the fake server; a delivery thread does not idle for long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls, "connect", lambda uri: _server[-1])
        patch.setitem(_artifact_repository_registry._registry, "fake", FakeFiles)
        patch.setattr(worker, "IDLE_SECONDS", 0.005)
        patch.setattr(worker, "LOOK_AGAIN_SECONDS", 0.001)
        others = threading.excepthook

        def unless_killed(found):
            if found.exc_type is not SystemExit:
                others(found)

        patch.setattr(threading, "excepthook", unless_killed)
        yield
    _server.clear()


# The process that records and delivers.


class NoWait(Backoff):
    SECONDS = 0.0005

    def away(self) -> float:
        return self.SECONDS


class MortalOutbox(LeftBehind):
    """Whoever waits for the delivery of a process that is dead does not wait in vain."""

    def __init__(self, path: Path) -> None:
        self.condition = threading.Condition()
        self.dead = False
        super().__init__(path, self.condition)

    def die(self) -> None:
        with self.condition:
            self.dead = True
            self.condition.notify_all()

    def wait_until_empty(self, search_id, timeout):
        with self.condition:
            self.condition.wait_for(lambda: self.dead or not self.waiting(search_id), timeout)
            return self.dead or not self.waiting(search_id)


class MortalTarget:
    def __init__(self, tracking: MlflowTracking, outbox: MortalOutbox) -> None:
        self._tracking = tracking
        self._outbox = outbox

    def apply(self, operation, again=False):
        try:
            self._tracking.apply(operation, again)
        except SystemExit:
            self._outbox.die()
            raise

    def answers(self, search_id):
        return self._tracking.answers(search_id)

    def forget(self, search_id):
        self._tracking.forget(search_id)


class Process:
    """A driver, or a ``sync``, from its start to its death; the next one begins with its files."""

    def __init__(self, folder: Path, server: FakeServer) -> None:
        self._folder = folder
        self._server = server
        self._lives = 0
        self.said: list[str] = []
        self.rejected: list[str] = []
        # Other tests may have left theirs, which try to reach servers that are away.
        self._others = set(threading.enumerate())
        self._start(folder / "0.db")

    def _start(self, path: Path) -> None:
        _server.append(self._server)
        self.outbox = MortalOutbox(path)
        self._running: dict[str, tuple[SearchResult, Recorder]] = {}
        target = MortalTarget(
            MlflowTracking(lambda _, text: self.said.append(text), self.outbox), self.outbox
        )
        self._delivery = Delivery(self.outbox, target, lambda o, e: self._missing(o, e), NoWait)

    def _missing(self, operation, error) -> None:
        # What is deferred, the next process sends.
        if isinstance(error, Rejected):
            self.rejected.append(f"{operation}: {error}")

    def emit(self, destination: Destination, event) -> None:
        if isinstance(event, SearchStarted):
            result = SearchResult(event)
            self._running[event.search_id] = (result, Recorder(destination, result))
        result, recorder = self._running[event.search_id]
        result.apply(event)
        self.outbox.put(list(recorder.operations(event, result)), event)

    def records(self, search_id: str) -> bool:
        return search_id in self._running

    def deliver(self, *faults: Fault) -> bool:
        """Deliver all there is; False if the process died over it."""
        self._server.faults = list(faults)
        self._delivery.start()
        assert self._delivery.flush(None, 20.0) == 0 or self.outbox.dead
        self._server.faults = []
        return not self.outbox.dead

    def deliver_until_failure(self) -> None:
        """Deliver all there is, or until the next fault; what failed waits then."""
        faults = len(self._server.faults)
        # Somebody waits, so that no row lingers.
        with self._delivery._hurry():
            while self.outbox.waiting() and len(self._server.faults) == faults:
                time.sleep(NoWait.SECONDS)
                self._delivery._deliver()

    def put_down(self, snapshot: Path | None = None) -> None:
        """Die without a word. ``snapshot``: of the files, what stood on the disk before."""
        self._stop()
        self._lives += 1
        path = self._folder / f"{self._lives}.db"
        _copy(snapshot or self.outbox.path, path)
        self.outbox.close()
        self._start(path)

    def crash(self) -> None:
        """kill -9, and the next process takes over what it left."""
        self.put_down()
        end_dead_searches(self.outbox)

    def end(self) -> None:
        self._stop()
        self.outbox.close()

    def _stop(self) -> None:
        self._delivery.stop()
        for thread in set(threading.enumerate()) - self._others:
            if thread.name == "trackmllib-delivery":
                thread.join(5)


def _copy(from_path: Path, to_path: Path) -> None:
    for suffix in ("", "-wal"):
        if Path(f"{from_path}{suffix}").exists():
            shutil.copy(f"{from_path}{suffix}", f"{to_path}{suffix}")


@contextmanager
def process(server: FakeServer):
    with tempfile.TemporaryDirectory() as folder:
        running = Process(Path(folder), server)
        try:
            yield running
        finally:
            running.end()


# Searches.

SCORES = st.sampled_from([0.5, 0.1 + 0.2, -0.0, 1e-320, math.nan, math.inf, 0.75, 3.0])
FAILURE = Failure(type="ValueError", message="no", traceback="Traceback\nno", interrupted=False)


def component(name, **params):
    return Component(
        class_name=name,
        module="pyspark.ml",
        uid=f"{name}_1",
        params=tuple(
            ParamSetting(name=key, value=Value(text=str(value), data=value), is_default=False)
            for key, value in params.items()
        ),
    )


def description(candidates: int, folds: int, averaged: bool, seed: int) -> SearchDescription:
    return SearchDescription(
        tuner=component("CrossValidator", numFolds=folds, seed=seed),
        estimator=component("DecisionTree"),
        evaluator=component("Evaluator"),
        metric="areaUnderROC",
        larger_is_better=True,
        averaged=averaged,
        folds=folds,
        candidates=tuple(
            Candidate(
                index=index,
                settings=(
                    GridSetting(
                        name="maxDepth",
                        owner="DecisionTree_1",
                        owner_class="DecisionTree",
                        owner_position=None,
                        value=Value(text=str(index), data=index),
                    ),
                ),
            )
            for index in range(candidates)
        ),
        schema=(("label", "double"),),
        versions=(("pyspark_version", "4.0.0"),),
        application_id="app-1",
    )


@st.composite
def searches(draw, number: int, most_candidates: int = 3):
    """The events of one search in an order that Spark may produce; it may be cut off anywhere."""
    search_id = f"search{number}"
    candidates = draw(st.integers(1, most_candidates))
    averaged = draw(st.booleans())
    folds = draw(st.integers(1, 2)) if averaged else 1
    times = count(1_700_000_000_000 + number * 1_000_000)
    plan = description(candidates, folds, averaged, draw(st.integers(1, 2)))
    events = []

    def add(cls, **fields):
        events.append(cls(search_id=search_id, time_ms=next(times), **fields))

    add(SearchStarted, description=plan)
    scores: dict[int, list[float]] = {index: [] for index in range(candidates)}
    failed = False
    for fold in range(folds):
        waiting, running = list(range(candidates)), []
        while (waiting or running) and not failed:
            if waiting and (not running or draw(st.booleans())):
                running.append(waiting.pop(0))
                add(CellStarted, candidate=running[-1], fold=fold)
                continue
            index = running.pop(draw(st.integers(0, len(running) - 1)))
            if draw(st.integers(0, 15)) == 13:
                failed = True
                add(CellFailed, candidate=index, fold=fold, failure=FAILURE)
                continue
            score = draw(SCORES)
            scores[index].append(score)
            add(
                CellScored,
                candidate=index,
                fold=fold,
                score=score,
                fit_seconds=0.25,
                evaluate_seconds=0.125,
            )
            if fold == folds - 1:
                average = sum(scores[index]) / folds
                add(
                    CandidateScored,
                    candidate=index,
                    average=average,
                    deviation=0.5 if averaged else None,
                )
    if failed:
        add(SearchFailed, failure=FAILURE)
    else:
        best = draw(st.integers(0, candidates - 1))
        add(RefitStarted, best=best)
        add(
            SearchFinished,
            refit_seconds=1.5,
            averages=tuple(sum(scores[index]) / folds for index in range(candidates)),
            deviations=(0.5,) * candidates if averaged else None,
            best=best,
        )
    if draw(st.integers(0, 3)) == 0:
        events = events[: draw(st.integers(1, len(events)))]
    return events


@st.composite
def merged(draw, most: int = 3):
    """The events of one to three searches, in one order."""
    left = [draw(searches(number)) for number in range(draw(st.integers(1, most)))]
    events = []
    while left:
        of_search = left[draw(st.integers(0, len(left) - 1))] if len(left) > 1 else left[0]
        burst = draw(st.integers(1, 6))
        events.extend(of_search[:burst])
        del of_search[:burst]
        left = [rest for rest in left if rest]
    return events


MOMENTS = st.sampled_from(["before", "halfway", "after"])
DEATHS = st.builds(Fault, st.integers(0, 9), st.just("die"), MOMENTS)
CUTS = st.builds(Fault, st.integers(0, 9), st.just("cut"), MOMENTS)
LATE = st.builds(Fault, st.integers(0, 9), st.just("late"))
FAULTS = {"file": st.lists(DEATHS | CUTS, max_size=3), "sql": st.lists(DEATHS | LATE, max_size=3)}


def shared_destination(_search_id: str) -> Destination:
    return Destination(tracking_uri=URI, run_id="users", owned=False)


def own_destination(_search_id: str) -> Destination:
    return Destination(tracking_uri=URI, experiment_name="trees")


# What stands on the server.

NAME_OF = re.compile(r"_(search\d)$")


def record(server: FakeServer) -> dict:
    """All runs by search and candidate, with all that they hold; run ids taken out."""
    found: dict = {}
    for run in server.active():
        tags = {k: v for k, v in run.tags.items() if not k.startswith("mlflow.")}
        parent = run.tags.get("mlflow.parentRunId")
        key = (run.tags["trackmllib.search_id"], run.tags.get("trackmllib.candidate"))
        assert key not in found, f"two runs for {key}"
        found[key] = {
            "name": run.name,
            "start": run.start_ms,
            "status": run.status,
            "end": run.end_ms,
            "params": run.params,
            "tags": tags,
            "description": run.tags.get("mlflow.note.content"),
            "points": sorted(run.points),
            "artifacts": run.artifacts,
            "parent": None if parent is None else server.runs[parent].tags["trackmllib.search_id"],
        }
    return found


def expected_points(events) -> dict:
    """The points that must stand on the child runs: what Spark computed, from the events alone."""
    points: dict = {}
    for event in events:
        if isinstance(event, CellScored):
            of_child = points.setdefault((event.search_id, str(event.candidate)), [])
            for key, value in (
                ("areaUnderROC", event.score),
                ("fit_seconds", event.fit_seconds),
                ("evaluate_seconds", event.evaluate_seconds),
            ):
                of_child.append((key, repr(value), event.time_ms, event.fold))
    return points


def assert_true_to(events, found: dict) -> None:
    """Nothing lost, nothing doubled, nothing RUNNING; measured by the events themselves."""
    started = {(e.search_id, str(e.candidate)) for e in events if isinstance(e, CellStarted)}
    begun = {(e.search_id, None) for e in events if isinstance(e, SearchStarted)}
    assert set(found) == started | begun
    for key, points in expected_points(events).items():
        standing = [p for p in found[key]["points"] if not p[0].startswith(("avg_", "std_"))]
        assert sorted(standing) == sorted(points)
    for run in found.values():
        assert run["status"] in ENDED
        assert len(set(run["points"])) == len(run["points"])
        assert run["end"] >= run["start"]


def undisturbed(events) -> dict:
    """The record of the same events, put and then delivered in one go."""
    server = FakeServer()
    with process(server) as only:
        for event in events:
            only.emit(own_destination(event.search_id), event)
        end_dead_searches(only.outbox)
        assert only.deliver()
        assert only.outbox.waiting() == 0
    return record(server)


def settle(running: Process) -> None:
    """Deliver until nothing is left, by as many processes as it takes."""
    running.crash()
    assert running.deliver()
    assert running.outbox.waiting() == 0
    assert running.outbox.open_searches() == []
    assert running.rejected == []


@settings(MODERATE, max_examples=50)
@given(st.data())
def test_any_crash_and_any_lost_answer_leave_the_record_that_nobody_disturbed(data):
    events = data.draw(merged())
    store = data.draw(st.sampled_from(["file", "sql"]))
    server, some_faults = FakeServer(store), FAULTS[store]
    put = []
    with process(server) as running:
        for event in events:
            search_id = event.search_id
            if not (isinstance(event, SearchStarted) or running.records(search_id)):
                continue  # It died with its process.
            running.emit(own_destination(search_id), event)
            put.append(event)
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
    assert_true_to(put, found)
    assert found == undisturbed(put)


@settings(MODERATE, max_examples=40)
@given(merged(), st.lists(st.lists(DEATHS, min_size=1, max_size=1), max_size=12))
def test_a_sync_that_is_killed_again_and_again_is_complete_in_the_end(events, killings):
    server = FakeServer()
    with process(server) as running:
        for event in events:
            running.emit(own_destination(event.search_id), event)
        for faults in killings:
            running.crash()
            running.deliver(*faults)
        settle(running)
    assert record(server) == undisturbed(events)


def plain_search(number: int = 0, candidates: int = 2):
    """A search of two folds that finishes, without luck."""
    times = count(1_700_000_000_000 + number * 1_000_000)
    search_id = f"search{number}"

    def event(cls, **fields):
        return cls(search_id=search_id, time_ms=next(times), **fields)

    yield event(SearchStarted, description=description(candidates, 2, True, number))
    for fold in range(2):
        for index in range(candidates):
            yield event(CellStarted, candidate=index, fold=fold)
            yield event(
                CellScored,
                candidate=index,
                fold=fold,
                score=0.5 + fold + index,
                fit_seconds=0.25,
                evaluate_seconds=0.125,
            )
            if fold == 1:
                yield event(CandidateScored, candidate=index, average=1.0 + index, deviation=0.5)
    yield event(RefitStarted, best=candidates - 1)
    yield event(
        SearchFinished,
        refit_seconds=1.5,
        averages=tuple(1.0 + index for index in range(candidates)),
        deviations=(0.5,) * candidates,
        best=candidates - 1,
    )


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
def test_at_every_single_request_of_a_search_it_may_happen(store, kind, moment):
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
def test_any_two_requests_of_a_search_may_fail(candidates):
    """A score that fails lets the next one go first, which may fail too; both go together then."""
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
                if isinstance(event, (CellScored, SearchFinished)):
                    running.deliver_until_failure()
            while running.outbox.waiting():
                running.deliver_until_failure()
        assert server.faults == []
        assert record(server) == wanted, f"requests {first} and {second}"


def test_the_process_may_die_between_any_two_events():
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
            main = found["search0", None]
            assert (main["status"], main["end"]) == ("KILLED", events[number - 1].time_ms)


@pytest.mark.parametrize("needed", [False, True])
def test_of_a_process_that_dies_the_best_have_their_runs_once(needed):
    """Candidate 0 is the worst of three; its run is needed in its first cell, or never."""
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
def test_at_every_request_of_the_end_it_may_happen_where_the_best_have_runs(moment):
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


def test_a_process_that_dies_while_it_ends_dead_searches_is_taken_over_in_its_turn():
    events = [*list(plain_search(0))[:6], *list(plain_search(1))[:9]]
    server = FakeServer()
    with process(server) as running:
        for event in events:
            running.emit(own_destination(event.search_id), event)
        put, died = running.outbox.put, []

        def dies_after_the_first(operations, event=None):
            if died:
                raise SystemExit("kill -9")
            died.append(event)
            put(operations, event)

        running.put_down()
        put = running.outbox.put
        running.outbox.put = dies_after_the_first
        with pytest.raises(SystemExit):
            end_dead_searches(running.outbox)
        settle(running)
    found = record(server)
    assert_true_to(events, found)
    assert found == undisturbed(events)


@pytest.mark.parametrize("put_before", [0, 1, 5, 9])
@pytest.mark.parametrize("calls_before", [0, 1, 3, 8, 15, 25])
def test_after_a_crash_of_the_machine_nothing_is_doubled(put_before, calls_before, tmp_path):
    """The disk has what it had some moments before: acknowledgements and facts may be gone."""
    events = list(plain_search())
    server = FakeServer()
    snapshot = tmp_path / "snapshot.db"
    with process(server) as running:
        for event in events[:put_before]:
            running.emit(own_destination(event.search_id), event)
            running.deliver()
        for event in events[put_before:]:
            running.emit(own_destination(event.search_id), event)
        if not running.deliver(Fault(calls_before, "die")):
            running.crash()
        _copy(running.outbox.path, snapshot)
        running.deliver()
        running.put_down(snapshot)
        running.outbox.mark_all_as_sent()
        settle(running)
    assert record(server) == undisturbed(events)


@pytest.mark.parametrize("calls_before", [5, 9])
def test_rows_whose_facts_are_lost_with_a_damaged_page_find_their_runs_again(calls_before):
    """What can be read of a damaged file is delivered; which runs there are, the server knows."""
    events = list(plain_search())
    server = FakeServer()
    with process(server) as running:
        for event in events:
            running.emit(own_destination(event.search_id), event)
        assert not running.deliver(Fault(calls_before, "die"))
        running.put_down()
        with sqlite3.connect(running.outbox.path) as other:
            other.execute("DELETE FROM facts")
        other.close()
        # What salvaging a damaged file does with what it could read.
        running.outbox.open_main_runs_again()
        running.outbox.mark_all_as_sent()
        settle(running)
    found = record(server)
    assert set(found) == {("search0", None), ("search0", "0"), ("search0", "1")}
    assert_true_to(events, found)


def test_a_candidate_whose_first_row_is_lost_with_a_damaged_page_has_a_run_nevertheless():
    events = list(plain_search())
    server = FakeServer()
    with process(server) as running:
        for event in events:
            running.emit(own_destination(event.search_id), event)
        running.put_down()
        with sqlite3.connect(running.outbox.path) as other:
            lost = other.execute("DELETE FROM rows WHERE body LIKE '%CreateChildRun%'").rowcount
            # These events are from another day than this one.
            other.execute("UPDATE rows SET put_ms = ?", (events[0].time_ms,))
        other.close()
        running.outbox.create_child_runs_again()
        running.outbox.open_main_runs_again()
        running.outbox.mark_all_as_sent()
        settle(running)
    assert lost == 2
    found = record(server)
    assert set(found) == {("search0", None), ("search0", "0"), ("search0", "1")}
    assert_true_to(events, found)


# Two searches, and the user, on one main run.

USERS = {
    "params": {"numFolds": "99", "mine": "1"},
    "points": [("cells_finished", "7.0", 5, 0), ("refit_seconds", "1.5", 5, 0)],
    "tags": {"trackmllib.pyspark_version": "1", "mine": "1"},
    "artifacts": {"trackmllib/mine.txt": "mine"},
}


def logged_by(search_id: str, events) -> tuple[dict, dict, list, dict]:
    """Params, tags, points and files that a search gives to its main run, under plain names."""
    run = undisturbed([event for event in events if event.search_id == search_id])
    main = run[search_id, None]
    return main["params"], main["tags"], main["points"], main["artifacts"]


def assert_stands_once(search_id: str, server: FakeServer, events) -> None:
    """All of a search is on the shared main run once, each name under one name only."""
    run = server.runs["users"]
    params, tags, points, artifacts = logged_by(search_id, events)
    own = f"_{search_id}"
    for wanted, standing in ((params, run.params), (tags, run.tags)):
        for key, value in wanted.items():
            under = {name for name in (key, key + own) if standing.get(name) == value}
            assert len(under) == 1, f"{key} of {search_id} is under {under}"
        suffixed = {name for name in standing if name.endswith(own)}
        assert suffixed <= {key + own for key in wanted}
    first, last = events[0].time_ms, events[0].time_ms + 999_999
    standing_points = [point for point in run.points if first <= point[2] <= last]
    plain = [(key.removesuffix(own), *rest) for key, *rest in standing_points]
    assert sorted(plain) == points
    names = {key for key, *_ in standing_points}
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


def assert_series_are_apart(server: FakeServer) -> None:
    """No two searches, nor the user, in one series."""
    for key in ("cells_finished", "candidates_finished"):
        of = {
            time_ms // 1_000_000
            for name, _, time_ms, _ in server.runs["users"].points
            if name == key
        }
        assert len(of) <= 1


@settings(MODERATE, max_examples=50)
@given(st.data())
def test_on_a_shared_main_run_names_are_settled_once_whatever_happens(data):
    events = data.draw(merged(most=2))
    store = data.draw(st.sampled_from(["file", "sql"]))
    server, some_faults = FakeServer(store), FAULTS[store]
    server.users_run("users", **(USERS if data.draw(st.booleans()) else {}))
    users_before = server.runs["users"].as_mlflow()
    points_before = list(server.runs["users"].points)
    put = []
    with process(server) as running:
        for event in events:
            search_id = event.search_id
            if not (isinstance(event, SearchStarted) or running.records(search_id)):
                continue
            running.emit(shared_destination(search_id), event)
            put.append(event)
            step = data.draw(st.sampled_from(["go on"] * 4 + ["deliver", "deliver", "crash"]))
            faults = data.draw(some_faults) if step == "deliver" else []
            lives = step != "crash" and (step != "deliver" or running.deliver(*faults))
            if not lives:
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
    for search_id in dict.fromkeys(event.search_id for event in put):
        assert_stands_once(search_id, server, [e for e in put if e.search_id == search_id])


def test_no_request_of_two_clashing_searches_can_be_lost_or_doubled():
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
            assert_stands_once(search_id, server, of_search)
        assert_series_are_apart(server)
        run = server.runs["users"]
        names.add(tuple(sorted([*run.params, *{point[0] for point in run.points}])))
        number += 1
    assert number > 30
    assert len(names) == 1, "the names depend on the moment of the crash"


def test_any_request_of_two_clashing_searches_may_fail():
    """While one search waits, the other one settles its names on the same run."""
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
            assert_stands_once(search_id, server, of_search)
        assert_series_are_apart(server)
        number += 1
    assert number > 60


def test_the_same_rows_replayed_by_hand_are_one_record():
    """Each operation sent three times, the last two as if after a crash."""
    events = list(plain_search())
    server = FakeServer()
    with process(server) as running:
        for event in events:
            running.emit(own_destination(event.search_id), event)
        tracking = MlflowTracking(lambda *_: None, running.outbox)
        while rows := running.outbox.peek(1000):
            for sending in coalesce(rows):
                tracking.apply(sending.operation, sending.again)
                tracking.apply(sending.operation, again=True)
                MlflowTracking(lambda *_: None, running.outbox).apply(sending.operation, again=True)
                running.outbox.acknowledge(sending.numbers)
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
def test_a_batch_that_was_cut_anywhere_is_completed_and_not_doubled(points, others, data):
    """A file store may die in the middle of a batch, and steps need not come in order."""
    wanted = [(m.key, repr(m.value), m.time_ms, m.step) for m in points]
    of_others = [(m.key, repr(m.value), m.time_ms, m.step) for m in others]
    of_others = [point for point in of_others if point not in wanted]
    standing = data.draw(st.integers(0, len(wanted)))
    server = FakeServer()
    server.users_run("run", points=[*of_others, *wanted[:standing]])
    batch = LogBatch(search_id="search0", metrics=tuple(points))
    calls.log_batch(server, "run", StandingPoints().without_them(server, "run", batch))
    assert sorted(server.runs["run"].points) == sorted([*of_others, *wanted])


def sent_again(standing, batch) -> list[tuple[str, str, int, int]]:
    """The points on a run on which some stand, after a batch was sent to it once more."""
    server = FakeServer()
    server.users_run("run", points=[(m.key, repr(m.value), m.time_ms, m.step) for m in standing])
    batch = LogBatch(search_id="search0", metrics=tuple(batch))
    calls.log_batch(server, "run", StandingPoints().without_them(server, "run", batch))
    return sorted(server.runs["run"].points)


def test_a_point_of_a_lower_step_is_not_lost_because_the_highest_stands():
    """A subclass that runs Spark's loop twice scores fold 0 after fold 1."""
    first, second = Metric("auc", 0.5, 10, 1), Metric("auc", 0.625, 20, 0)
    assert sent_again([first], [first, second]) == [("auc", "0.5", 10, 1), ("auc", "0.625", 20, 0)]


def test_a_batch_that_stands_is_not_sent_again():
    """A request of which each answer is lost would be sent for ever."""
    server = FakeServer()
    server.users_run("run", [("a", "1")], [("auc", "0.5", 10, 0)], [("t", "x"), ("u", "y")])
    batch = LogBatch(
        search_id="search0",
        params=(("a", "1"),),
        metrics=(Metric("auc", 0.5, 10, 0),),
        tags=(("t", "x"),),
    )
    calls.log_batch(server, "run", StandingPoints().without_them(server, "run", batch))
    assert server.calls == 1


def test_a_point_is_not_lost_because_a_later_one_of_its_batch_stands():
    """A row that fails lets later rows go first, and is merged with them if they fail too."""
    first, second = Metric("auc", 0.5, 10, 0), Metric("auc", 0.625, 20, 1)
    assert sent_again([second], [first, second]) == [("auc", "0.5", 10, 0), ("auc", "0.625", 20, 1)]


def test_a_point_is_not_doubled_because_another_search_logged_the_same_value_later():
    """Two searches on one main run share a name where they have the same value."""
    ours, theirs = Metric("best_avg", 0.5, 10), Metric("best_avg", 0.5, 20)
    assert sent_again([ours, theirs], [ours]) == [
        ("best_avg", "0.5", 10, 0),
        ("best_avg", "0.5", 20, 0),
    ]
