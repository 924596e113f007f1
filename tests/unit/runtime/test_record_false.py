"""``record=False``: results without a record in MLflow."""

from __future__ import annotations

import gc
import io
import sys
import threading
import time
import weakref
from pathlib import Path

import mlflow
import pytest
from mlflow.utils import autologging_utils
from pyspark.ml.tuning import CrossValidator

from support.orphaned_search import create_orphaned_outbox
from support.search_events import failing, search
from trackmllib.config.settings import Settings
from trackmllib.domain.descriptions import ParentFit
from trackmllib.domain.events import SearchStarted
from trackmllib.domain.operations import CreateChildRun, Destination, OpenParentRun
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.reporting.run_links import RunLinks
from trackmllib.runtime.active_searches import MAX_FAILED, ActiveSearches
from trackmllib.runtime.session import Session

pytestmark = pytest.mark.versions

SCORES = [[0.1, 0.2], [0.8, 0.9]]
AVERAGES = [0.15, 0.85]
ON, OFF = Settings(silent=True, wait=False, progress=False), Settings(record=False)


class Model:
    """A model that ``fit()`` returns."""


class StubTarget:
    """A target that keeps what it is given."""

    def __init__(self) -> None:
        self.reached: list[object] = []

    def apply(self, operation, redelivered=False) -> None:
        self.reached.append(operation)

    def forget(self, search_id: str) -> None: ...


def no_destination(exclusive: bool = False) -> Destination:
    raise AssertionError("MLflow's destination was read")


def new_session(folder: Path, settings: Settings = OFF, **arguments) -> Session:
    arguments = {"destination": no_destination, **arguments}
    return Session(settings, directory=OutboxDirectory(folder / "outbox"), **arguments)


def play(session: Session, events, settings: Settings | None = None) -> Model:
    """Emit the events of a search; return the model that it is registered for."""
    model = Model()
    for event in events:
        if isinstance(event, SearchStarted):
            session.callbacks.emit(event, settings)
            session.callbacks.register(event.search_id, model)
        else:
            session.callbacks.emit(event)
    return model


@pytest.mark.parametrize("events", [lambda: search(SCORES, AVERAGES, 1), failing])
def test_results_exist_without_record(tmp_path, events, recwarn):
    target = StubTarget()
    session = new_session(tmp_path, target=target)
    model = play(session, events())
    results = session.results_registry.results(model)
    assert results is not None
    assert results.runs == RunLinks()
    frame = results.to_pandas()
    assert frame["run_id"].isna().all()
    assert results.best is None or results.best.run_id is None
    assert session.flush(5)
    assert target.reached == []
    assert not (tmp_path / "outbox").exists()
    assert [str(each.message) for each in recwarn] == []


def test_no_report_is_created(tmp_path):
    session = new_session(tmp_path)
    play(session, search(SCORES, AVERAGES, 1))
    assert session.reports.wait(0.0) == 0


def test_results_live_as_long_as_model(tmp_path):
    session = new_session(tmp_path)
    model = play(session, search(SCORES, AVERAGES, 1))
    results = session.results_registry.results(model)
    assert results is not None
    table = weakref.ref(session.results_registry.results(model).search.description)
    del results
    del model
    gc.collect()
    assert table() is None


def test_no_run_is_active_in_a_fit(tmp_path):
    session = new_session(tmp_path)
    begin, *others = failing()
    play(session, [begin])
    for event in others:
        session.callbacks.emit(event)
        # Threads of a failed search may continue after its end.
        with session.callbacks.active_run(begin.search_id, lambda: 0, 0):
            assert mlflow.active_run() is None
        session.callbacks.log_model(begin.search_id, 0, 0, object(), object())


def test_spark_conf_switches_recording_of_one_search_off(tmp_path):
    target = StubTarget()
    session = new_session(
        tmp_path, ON, target=target, destination=lambda: Destination(tracking_uri="memory:")
    )
    settings = session.callbacks.search_settings({"spark.trackmllib.record": "false"})
    model = play(session, search(SCORES, AVERAGES, 1), settings)
    assert session.results_registry.results(model) is not None
    assert not (tmp_path / "outbox").exists()
    play(session, search(SCORES, AVERAGES, 1))
    assert session.flush(20)
    assert target.reached


def test_number_of_remembered_failed_searches_is_bounded():
    """A process may run for months."""
    searches = ActiveSearches(no_destination)
    ids = []
    for _ in range(MAX_FAILED + 2):
        begin, *_, end = failing()
        ids.append(begin.search_id)
        searches.begin(begin, OFF)
        searches.get(begin.search_id).state.apply(end)
        searches.forget(begin.search_id)
    assert [searches.is_in_mlflow(each) for each in ids].count(False) == MAX_FAILED
    assert not searches.is_in_mlflow(ids[-1])


def test_recorded_search_in_unrecorded_search_has_parent_run_of_its_own(tmp_path):
    target, destination = StubTarget(), Destination(tracking_uri="memory:")
    session = new_session(tmp_path, ON, target=target, destination=lambda: destination)
    begin, *others = search(SCORES, AVERAGES, 1)
    inside = ParentFit(search_id=begin.search_id, candidate=0, fold=0)
    play(session, [begin, *others[:1]], OFF)
    inner = play(session, search(SCORES, AVERAGES, 1, parent=inside), ON)
    not_recorded = play(session, search(SCORES, AVERAGES, 1, parent=inside), OFF)
    play(session, others[1:])
    assert session.flush(20)
    (opened,) = (each for each in target.reached if isinstance(each, OpenParentRun))
    assert opened.destination == destination
    assert opened.search_id == session.results_registry.results(inner).search.search_id
    assert session.results_registry.results(not_recorded).search.parent == inside


def test_unrecorded_nested_search_creates_no_child_run(tmp_path):
    target = StubTarget()
    session = new_session(
        tmp_path,
        ON.model_copy(update={"children": "best:1"}),
        target=target,
        destination=lambda: Destination(tracking_uri="memory:"),
    )
    begin, *others = search(SCORES, AVERAGES, 1)
    inside = ParentFit(search_id=begin.search_id, candidate=0, fold=0)
    play(session, [begin, *others[:1]])
    play(session, search(SCORES, AVERAGES, 1, parent=inside), OFF)
    play(session, others[1:])
    assert session.flush(20)
    made = [each.candidate for each in target.reached if isinstance(each, CreateChildRun)]
    assert made == [1]


def test_progress_is_shown(tmp_path, monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)

    class Late:
        """Time flies."""

        seconds = 0.0

        def monotonic(self) -> float:
            self.seconds += 5.0
            return self.seconds

        def now_ms(self) -> int:
            return 1_700_000_000_000 + round(1000 * self.seconds)

    session = new_session(tmp_path, clock=Late())
    events = list(search(SCORES, AVERAGES, 1))
    play(session, events[:-1])
    for _ in range(100):
        if shown.getvalue():
            break
        time.sleep(0.05)
    session.callbacks.emit(events[-1])
    assert "CrossValidator" in shown.getvalue()


@pytest.mark.slow
def test_nothing_is_recovered(tmp_path):
    create_orphaned_outbox(tmp_path, "memory:", 2, after=4)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "outbox").iterdir()}
    session = new_session(tmp_path)
    session.start()
    try:
        assert "trackmllib-recovery" not in {thread.name for thread in threading.enumerate()}
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "outbox").iterdir()} == before
    finally:
        session.stop()


@pytest.mark.parametrize("settings", [ON, OFF])
def test_mlflow_autologging_is_suppressed_only_while_recording(tmp_path, settings, monkeypatch):
    """With a tuner that reads MLflow's configuration, and needs no Spark."""
    integrations = autologging_utils.AUTOLOGGING_INTEGRATIONS
    monkeypatch.setitem(integrations, "pyspark.ml", {"disable": False})
    seen: list[object] = []

    class Looks(CrossValidator):
        def _fit(self, dataset):
            seen.append(autologging_utils.get_autologging_config("pyspark.ml", "disable", False))
            return Model()

    session = new_session(
        tmp_path,
        settings,
        target=StubTarget(),
        destination=lambda: Destination(tracking_uri="memory:"),
    )
    session.start()
    try:
        Looks(estimatorParamMaps=[{}]).fit(object())
    finally:
        session.stop()
    assert seen == [settings is ON]
