"""``record=False``: nothing goes to MLflow, and the results are there all the same."""

from __future__ import annotations

import dataclasses
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

from made import leave_behind
from played import failing, search
from trackmllib.events import Place, SearchStarted
from trackmllib.operations import CreateChildRun, Destination, OpenMainRun
from trackmllib.outbox.home import Home
from trackmllib.running import MOST_FAILED, RunningSearches
from trackmllib.session import Session
from trackmllib.settings import Settings
from trackmllib.view.runs import Runs

SCORES = [[0.1, 0.2], [0.8, 0.9]]
AVERAGES = [0.15, 0.85]
ON, OFF = Settings(silent=True, wait=False, progress=False), Settings(record=False)


class Model:
    """What ``fit()`` would have returned."""


class Nowhere:
    """A target that nothing may reach."""

    def __init__(self) -> None:
        self.reached: list[object] = []

    def apply(self, operation, again=False) -> None:
        self.reached.append(operation)

    def forget(self, search_id: str) -> None: ...


def no_destination() -> Destination:
    raise AssertionError("nobody asks MLflow where to record")


def new_session(folder: Path, settings: Settings = OFF, **arguments) -> Session:
    arguments = {"destination": no_destination, **arguments}
    return Session(settings, home=Home(folder / "outbox"), **arguments)


def play(session: Session, events, settings: Settings | None = None) -> Model:
    """Emit the events of a search; the model that it is remembered by."""
    model = Model()
    for event in events:
        if isinstance(event, SearchStarted):
            session.emit(event, settings)
            session.remember(event.search_id, model)
        else:
            session.emit(event)
    return model


@pytest.mark.parametrize("events", [lambda: search(SCORES, AVERAGES, 1), failing])
def test_the_results_are_there_and_nothing_else(tmp_path, events, recwarn):
    target = Nowhere()
    session = new_session(tmp_path, target=target)
    model = play(session, events())
    results = session.afterwards.results(model)
    assert results is not None
    assert results.runs == Runs()
    frame = results.to_pandas()
    assert frame["run_id"].isna().all()
    assert results.best is None or results.best.run_id is None
    assert session.flush(5)
    assert target.reached == []
    assert not (tmp_path / "outbox").exists()
    assert [str(each.message) for each in recwarn] == []


def test_no_report_is_made(tmp_path):
    session = new_session(tmp_path)
    play(session, search(SCORES, AVERAGES, 1))
    assert session.afterwards.wait(0.0) == 0


def test_the_results_live_as_long_as_the_model(tmp_path):
    session = new_session(tmp_path)
    model = play(session, search(SCORES, AVERAGES, 1))
    results = session.afterwards.results(model)
    assert results is not None
    table = weakref.ref(session.afterwards.results(model).search.description)
    del results
    del model
    gc.collect()
    assert table() is None


def test_no_run_is_active_inside_of_a_cell(tmp_path):
    session = new_session(tmp_path)
    begin, *others = failing()
    play(session, [begin])
    for event in others:
        session.emit(event)
        # Also after the end: threads of a search that failed may run on.
        with session.active_run(begin.search_id, lambda: 0, 0):
            assert mlflow.active_run() is None
        session.keep_model(begin.search_id, 0, 0, object(), object())


def test_one_search_of_a_session_may_be_left_out(tmp_path):
    target = Nowhere()
    session = new_session(
        tmp_path, ON, target=target, destination=lambda: Destination(tracking_uri="memory:")
    )
    settings = session.settings_with({"spark.trackmllib.record": "false"})
    model = play(session, search(SCORES, AVERAGES, 1), settings)
    assert session.afterwards.results(model) is not None
    assert not (tmp_path / "outbox").exists()
    play(session, search(SCORES, AVERAGES, 1))
    assert session.flush(20)
    assert target.reached


def test_of_how_many_failed_searches_it_is_known_that_they_were_not_recorded():
    """By threads that run on: a process that goes on for months may have any number of them."""
    searches = RunningSearches(no_destination)
    ids = []
    for _ in range(MOST_FAILED + 2):
        begin, *_, end = failing()
        ids.append(begin.search_id)
        searches.begin(begin, OFF)
        searches.get(begin.search_id).result.apply(end)
        searches.forget(begin.search_id)
    assert [searches.is_recorded(each) for each in ids].count(False) == MOST_FAILED
    assert not searches.is_recorded(ids[-1])


def test_a_recorded_search_inside_of_one_that_is_not_stands_on_its_own(tmp_path):
    target, stands = Nowhere(), Destination(tracking_uri="memory:")
    session = new_session(tmp_path, ON, target=target, destination=lambda: stands)
    begin, *others = search(SCORES, AVERAGES, 1)
    inside = Place(search_id=begin.search_id, candidate=0, fold=0)
    play(session, [begin, *others[:1]], OFF)
    inner = play(session, search(SCORES, AVERAGES, 1, parent=inside), ON)
    not_recorded = play(session, search(SCORES, AVERAGES, 1, parent=inside), OFF)
    play(session, others[1:])
    assert session.flush(20)
    (opened,) = (each for each in target.reached if isinstance(each, OpenMainRun))
    assert opened.destination == stands
    assert opened.search_id == session.afterwards.results(inner).search.search_id
    assert session.afterwards.results(not_recorded).search.parent == inside


def test_for_a_search_that_is_not_recorded_the_one_around_it_gets_no_run(tmp_path):
    target = Nowhere()
    session = new_session(
        tmp_path,
        dataclasses.replace(ON, children="best:1"),
        target=target,
        destination=lambda: Destination(tracking_uri="memory:"),
    )
    begin, *others = search(SCORES, AVERAGES, 1)
    inside = Place(search_id=begin.search_id, candidate=0, fold=0)
    play(session, [begin, *others[:1]])
    play(session, search(SCORES, AVERAGES, 1, parent=inside), OFF)
    play(session, others[1:])
    assert session.flush(20)
    made = [each.candidate for each in target.reached if isinstance(each, CreateChildRun)]
    assert made == [1]


def test_the_progress_is_shown(tmp_path, monkeypatch):
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
    session.emit(events[-1])
    assert "CrossValidator" in shown.getvalue()


def test_nothing_is_taken_over(tmp_path):
    leave_behind(tmp_path, "memory:", 2, after=4)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "outbox").iterdir()}
    session = new_session(tmp_path)
    session.start()
    try:
        assert "trackmllib-takeover" not in {thread.name for thread in threading.enumerate()}
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "outbox").iterdir()} == before
    finally:
        session.stop()


@pytest.mark.parametrize("settings", [ON, OFF])
def test_autologging_of_mlflow_is_muted_where_we_record(tmp_path, settings, monkeypatch):
    """By a tuner that needs no Spark: it only looks."""
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
        target=Nowhere(),
        destination=lambda: Destination(tracking_uri="memory:"),
    )
    session.start()
    try:
        Looks(estimatorParamMaps=[{}]).fit(object())
    finally:
        session.stop()
    assert seen == [settings is ON]
