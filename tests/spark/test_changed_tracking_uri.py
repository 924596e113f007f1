"""Code in a fit that switches MLflow to another server."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from pyspark.ml.tuning import TrainValidationSplit

import trackmllib
from support.mlflow_reader import Store
from support.searches import regression_search, stub_search
from support.sqlite_store import sqlite_store
from support.stubs import StubEvaluator

pytestmark = pytest.mark.slow

EXPERIMENT = "Default"


@pytest.fixture
def other(tmp_path) -> Store:
    """Another store, with MLflow's own experiment."""
    store = Store(sqlite_store(tmp_path, "other.db"), EXPERIMENT)
    assert MlflowClient(store.uri).get_experiment_by_name(EXPERIMENT) is not None
    return store


def set_uri(uri: str) -> None:
    mlflow.set_tracking_uri(uri)


def set_variable(uri: str) -> None:
    os.environ["MLFLOW_TRACKING_URI"] = uri


def set_in_a_thread(uri: str) -> None:
    thread = threading.Thread(target=mlflow.set_tracking_uri, args=(uri,))
    thread.start()
    thread.join()


def all_calls(folder: Path) -> None:
    """Make every kind of logging call once; an error ends the search."""
    file = folder / f"file-{threading.get_ident()}.txt"
    file.write_text("text")
    mlflow.log_metric("metric", 1.0)
    mlflow.log_metrics({"metrics": 2.0})
    mlflow.log_param("param", "p")
    mlflow.set_tag("tag", "t")
    mlflow.log_artifact(str(file))
    mlflow.log_dict({"a": 1}, "dict.json")
    mlflow.log_text("text", "text.txt")
    active = mlflow.active_run()
    assert active is not None
    assert mlflow.get_run(active.info.run_id).data.params["param"] == "p"
    assert active.data.metrics is not None
    mlflow.get_artifact_uri()
    with mlflow.start_run(nested=True, run_name="nested"):
        mlflow.log_metric("inside", 3.0)
    mlflow.last_active_run()
    mlflow.end_run()
    mlflow.log_metric("after the end", 4.0)


@pytest.mark.parametrize("switch", [set_uri, set_variable, set_in_a_thread])
def test_calls_after_a_switch_go_to_the_other_server(
    points, any_store, other, tmp_path, switch, monkeypatch
):
    original_uri = mlflow.get_tracking_uri()
    if switch is set_variable:
        # The variable counts only without a call of set_tracking_uri().
        mlflow.set_tracking_uri(None)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", original_uri)
    trackmllib.autolog()

    def call(prediction):
        mlflow.log_metric("before", prediction.x)
        if prediction.x != 2.0:
            return
        switch(other.uri)
        all_calls(tmp_path)
        switch(original_uri)
        mlflow.log_metric("back", prediction.x)

    search = stub_search(eva=StubEvaluator(call=call), numFolds=2, parallelism=1)
    model = search.fit(points)
    assert len(model.avgMetrics) == 3
    parent = any_store.only_parent_run()
    children = {run.info.run_name: run for run in any_store.children(parent)}
    assert any_store.history(children["x=2.0"], "back") == [(0, 2.0), (1, 2.0)]
    assert {run.info.status for run in any_store.runs()} == {"FINISHED"}
    assert all("metric" not in run.data.metrics for run in any_store.runs())

    runs = other.runs()
    assert {run.info.status for run in runs} == {"FINISHED"}
    logged = [run for run in runs if "metric" in run.data.metrics]
    # One for each fit, as MLflow starts a run if none is active; its step is MLflow's own.
    assert [other.history(run, "metric") for run in logged] == [[(0, 1.0)]] * 2
    assert {run.data.params["param"] for run in logged} == {"p"}
    assert {"dict.json", "text.txt"} <= set(other.files(logged[0], ""))
    assert [run for run in runs if "inside" in run.data.metrics]
    # After MLflow's run has ended, the next call starts another.
    assert [
        other.history(run, "after the end")
        for run in runs
        if len(run.data.metrics) == 1 and "after the end" in run.data.metrics
    ] == [[(0, 4.0)]] * 2
    assert mlflow.active_run() is None


def test_run_on_other_server_is_not_nested_and_ends_there(points, recorded, other):
    original_uri = mlflow.get_tracking_uri()

    def call(prediction):
        mlflow.set_tracking_uri(other.uri)
        mlflow.start_run(run_name="left open")
        mlflow.log_metric("open", prediction.x)
        mlflow.set_tracking_uri(original_uri)

    stub_search(eva=StubEvaluator(call=call), xs=(1.0,), numFolds=2).fit(points)
    runs = other.runs()
    assert [run.data.metrics for run in runs] == [{"open": 1.0}] * 2
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert all("mlflow.parentRunId" not in run.data.tags for run in runs)
    assert {run.info.status for run in recorded.runs()} == {"FINISHED"}


def test_call_to_unreachable_other_server_raises_mlflows_error(points, recorded, monkeypatch):
    """The call raises what MLflow raises, and the search is recorded."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    original_uri = mlflow.get_tracking_uri()
    raised = []

    def call(prediction):
        mlflow.set_tracking_uri("http://127.0.0.1:9")
        try:
            mlflow.log_metric("metric", prediction.x)
        except MlflowException as error:
            raised.append(str(error))
        mlflow.set_tracking_uri(original_uri)

    stub_search(eva=StubEvaluator(call=call), xs=(1.0,), numFolds=2).fit(points)
    assert len(raised) == 2
    assert all("127.0.0.1" in text for text in raised)
    assert {run.info.status for run in recorded.runs()} == {"FINISHED"}


def test_fits_after_switch_between_two_fits(points, recorded, other):
    """The fits of the failed first search continue, while MLflow is on another server."""
    over, done = threading.Event(), threading.Semaphore(0)
    errors = []

    def call(prediction):
        if prediction.x == 1.0:
            raise ValueError("first")
        over.wait(60)
        try:
            mlflow.log_metric("late", prediction.x)
        except MlflowException as error:
            errors.append(error)
        done.release()

    search = stub_search(eva=StubEvaluator(call=call), xs=(1.0, 2.0, 3.0), parallelism=2)
    with pytest.raises(ValueError, match="first"):
        search.fit(points)
    mlflow.set_tracking_uri(other.uri)
    over.set()
    assert all(done.acquire(timeout=60) for _ in range(2))
    assert errors == []
    mlflow.set_experiment("second")
    stub_search(xs=(1.0,)).fit(points)
    late = [run for run in other.runs() if "late" in run.data.metrics]
    assert sorted(run.data.metrics["late"] for run in late) == [2.0, 3.0]
    assert Store(other.uri, "second").only_parent_run().info.status == "FINISHED"


def test_no_model_is_logged_on_another_server(points, store, other, lenient, caplog):
    trackmllib.autolog(log_models="best")
    split = regression_search(TrainValidationSplit)
    evaluate = split.getEvaluator().evaluate

    class Switching(StubEvaluator):
        def _evaluate(self, prediction):
            mlflow.set_tracking_uri(other.uri)
            return evaluate(prediction)

    split.setEvaluator(Switching())
    split.fit(points)
    assert "the best model is not logged: mlflow.set_tracking_uri()" in caplog.text
    assert store.only_parent_run().info.status == "FINISHED"
    assert other.runs() == []
