"""MLflow calls of users inside a search: they log to the child run of the fit."""

from __future__ import annotations

import logging
import threading

import mlflow
import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient

import trackmllib
from support.searches import stub_search
from support.stubs import FitMultipleEstimator, StubEstimator, StubEvaluator

pytestmark = [pytest.mark.versions, pytest.mark.matrix]


def named(store, parent=None):
    """The child runs by name, of ``parent`` or of the only parent run."""
    return {c.info.run_name: c for c in store.children(parent or store.only_parent_run())}


@pytest.mark.parametrize("parallelism", [1, 3])
def test_calls_in_a_fit_log_to_its_child_run(points, any_store, parallelism, tmp_path):
    trackmllib.autolog()

    def log(prediction):
        x = prediction.x
        mlflow.log_metric("auc_by_region", x)
        mlflow.log_metrics({"twice": 2 * x, "thrice": 3 * x})
        mlflow.log_metric("with_step", x, 17)
        mlflow.log_metric("at_zero", x, step=0)
        mlflow.log_param("region", f"r{x}")
        mlflow.set_tag("owner", f"o{x}")
        mlflow.log_text(f"text of {x}", "notes.txt")
        file = tmp_path / f"of-{x}-{threading.get_ident()}.txt"
        file.write_text(str(x))
        mlflow.log_artifact(str(file), "files")
        mlflow.log_figure(Figure(), "figure.png")

    search = stub_search(eva=StubEvaluator(call=log), numFolds=2, parallelism=parallelism)
    model = search.fit(points)
    assert mlflow.active_run() is None
    parent = any_store.only_parent_run()
    assert len(any_store.runs()) == 4
    for x, average in zip((1.0, 2.0, 3.0), model.avgMetrics, strict=True):
        child = named(any_store)[f"x={x}"]
        assert child.info.status == "FINISHED"
        assert child.data.metrics["avg_stub"] == average
        assert any_store.history(child, "auc_by_region") == [(0, x), (1, x)]
        assert any_store.history(child, "twice") == [(0, 2 * x), (1, 2 * x)]
        assert any_store.history(child, "with_step") == [(17, x), (17, x)]
        assert {step for step, _ in any_store.history(child, "at_zero")} == {0}
        assert child.data.params == {"x": str(x), "region": f"r{x}"}
        assert child.data.tags["owner"] == f"o{x}"
        assert any_store.text(child, "notes.txt") == f"text of {x}"
        assert "figure.png" in any_store.files(child, "")
        assert any(name.startswith(f"of-{x}-") for name in any_store.files(child, "files"))
    assert "auc_by_region" not in parent.data.metrics


def test_calls_in_estimators_and_their_threads_log_to_the_child_run(points, recorded):
    class Logging(StubEstimator):
        def _fit(self, dataset):
            mlflow.log_metric("in_fit", self.getOrDefault(self.x))
            return super()._fit(dataset)

    search = stub_search(est=Logging(), numFolds=2, parallelism=2)
    search.fit(points)
    for name, child in named(recorded).items():
        x = float(name.removeprefix("x="))
        assert recorded.history(child, "in_fit") == [(0, x), (1, x)]
    # In the refit, the parent run is active.
    assert recorded.history(recorded.only_parent_run(), "in_fit") == [(0, 3.0)]
    assert len(recorded.runs()) == 4


def test_child_run_is_active_in_its_fit_only(points, recorded):
    seen = []

    def look(prediction):
        seen.append((prediction.x, mlflow.active_run().info.run_id))

    search = stub_search(eva=StubEvaluator(call=look), numFolds=2, parallelism=2)
    with mlflow.start_run() as run:
        search.fit(points)
        assert mlflow.active_run() is run
        mlflow.log_metric("after", 1.0)
    children = named(recorded)
    assert {(x, children[f"x={x}"].info.run_id) for x in (1.0, 2.0, 3.0)} == set(seen)
    assert recorded.history(recorded.only_parent_run(), "after") == [(0, 1.0)]


def test_refit_logs_to_the_parent_run(points, recorded):
    class Logging(StubEstimator):
        def _fit(self, dataset):
            mlflow.set_tag("fitted", "yes")
            return super()._fit(dataset)

    with mlflow.start_run() as run:
        stub_search(est=Logging()).fit(points)
        assert mlflow.active_run() is run
    assert recorded.only_parent_run().data.tags["fitted"] == "yes"


@pytest.mark.parametrize("nested", [True, False])
def test_run_started_in_a_fit_is_nested_under_the_child_run(points, recorded, nested):
    def start(prediction):
        with mlflow.start_run(run_name=f"of {prediction.x}", nested=nested):
            mlflow.log_metric("inside", prediction.x)

    stub_search(eva=StubEvaluator(call=start), numFolds=2, parallelism=2).fit(points)
    for name, child in named(recorded).items():
        x = float(name.removeprefix("x="))
        runs = recorded.inner(child)
        assert [r.info.run_name for r in runs] == [f"of {x}"] * 2
        assert {r.info.status for r in runs} == {"FINISHED"}
        # The step is MLflow's own, because the run belongs to the user.
        assert [recorded.history(r, "inside") for r in runs] == [[(0, x)]] * 2
        assert "inside" not in child.data.metrics


def test_fits_without_mlflow_calls_do_not_wait_for_the_server(points, lenient):
    """The server is unreachable; ``wait=False`` turns off the wait at the end of the search."""
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    trackmllib.autolog(wait=False, silent=True)
    runs = []
    search = stub_search(eva=StubEvaluator(call=lambda _: runs.append(mlflow.active_run())))
    search.fit(points)
    assert len(runs) == 9
    assert None not in runs


def test_calls_of_an_estimator_with_its_own_order_of_models(points, recorded):
    def log(prediction):
        mlflow.log_metric("of", prediction.x)

    search = stub_search(est=FitMultipleEstimator(), eva=StubEvaluator(call=log), numFolds=2)
    search.fit(points)
    for name, child in named(recorded).items():
        assert {value for _, value in recorded.history(child, "of")} == {float(name[2:])}


@pytest.mark.parametrize("how", ["ended", "deleted"])
def test_child_run_ended_or_deleted_by_the_evaluator(points, lenient, recorded, caplog, how):
    def meddle(prediction):
        if prediction.x == 2.0:
            if how == "ended":
                mlflow.end_run()
            else:
                mlflow.delete_run(mlflow.active_run().info.run_id)

    with caplog.at_level(logging.WARNING, "trackmllib"):
        model = stub_search(eva=StubEvaluator(call=meddle), numFolds=2).fit(points)
    assert len(model.avgMetrics) == 3
    assert recorded.only_parent_run().info.status == "FINISHED"
    children = named(recorded)
    for x in (1.0, 3.0) if how == "deleted" else (1.0, 2.0, 3.0):
        child = children[f"x={x}"]
        assert child.info.status == "FINISHED"
        assert len(recorded.history(child, "stub")) == 2
    if how == "deleted":
        assert children["x=2.0"].info.lifecycle_stage == "deleted"
    warnings = [r.getMessage() for r in caplog.records if r.name == "trackmllib"]
    assert len(warnings) == 1, warnings


def test_calls_in_inner_and_outer_searches_do_not_mix(points, recorded):
    class Searching(StubEstimator):
        def _fit(self, dataset):
            inner = stub_search(
                eva=StubEvaluator(call=lambda p: mlflow.log_metric("inner", p.x)), xs=(5.0,)
            )
            inner.fit(dataset)
            mlflow.log_metric("outer", self.getOrDefault(self.x))
            return super()._fit(dataset)

    stub_search(est=Searching(), xs=(1.0, 2.0), numFolds=2).fit(points)
    for child in named(recorded).values():
        assert "inner" not in child.data.metrics
        assert len(recorded.history(child, "outer")) == 2
        for search in recorded.inner(child):
            (inner_child,) = recorded.children(search)
            assert {v for _, v in recorded.history(inner_child, "inner")} == {5.0}
            assert "outer" not in inner_child.data.metrics
    assert {r.info.status for r in recorded.runs()} == {"FINISHED"}


def test_call_starts_a_run_if_the_record_is_rejected(points, store, lenient):
    """The experiment is deleted, so the call starts a run, as with MLflow alone."""
    gone = MlflowClient().create_experiment("to be deleted")
    there = store.experiment_id
    MlflowClient().delete_experiment(gone)
    trackmllib.autolog(silent=True)

    class There(StubEvaluator):
        def _evaluate(self, prediction):
            mlflow.set_experiment(experiment_id=there)
            mlflow.log_metric("mine", prediction.x)
            return super()._evaluate(prediction)

    mlflow.tracking.fluent._active_experiment_id = gone
    model = stub_search(eva=There(), xs=(1.0,), numFolds=2).fit(points)
    assert len(model.avgMetrics) == 1
    runs = store.runs()
    assert [r.data.metrics for r in runs] == [{"mine": 1.0}] * 2
    assert {r.info.status for r in runs} == {"FINISHED"}
    assert mlflow.active_run() is None


def test_disable_restores_mlflow(points, recorded):
    trackmllib.autolog(disable=True)
    seen = []
    stub_search(eva=StubEvaluator(call=lambda _: seen.append(mlflow.active_run()))).fit(points)
    assert set(seen) == {None}
    assert mlflow.log_metric is mlflow.tracking.fluent.log_metric
    assert mlflow.log_metric.__module__ == "mlflow.tracking.fluent"
    assert type(mlflow.log_metric).__name__ == "function"


def test_fits_still_running_after_a_failed_search_start_no_run(points, recorded):
    """Spark's pool empties its queue after ``fit()`` has raised."""
    over = threading.Event()
    done = threading.Semaphore(0)

    def log(prediction):
        if prediction.x == 1.0:
            raise ValueError("first")
        over.wait(60)
        mlflow.log_metric("late", prediction.x)
        done.release()

    search = stub_search(eva=StubEvaluator(call=log), xs=(1.0, 2.0, 3.0, 4.0), parallelism=2)
    with pytest.raises(ValueError, match="first"):
        search.fit(points)
    over.set()
    assert all(done.acquire(timeout=60) for _ in range(3))
    (parent,) = recorded.parent_runs()
    assert parent.info.status == "FAILED"
    assert {run.info.status for run in recorded.runs()} <= {"FAILED", "KILLED"}
    logged = [v for run in recorded.runs() for _, v in recorded.history(run, "late")]
    assert sorted(logged) == [2.0, 3.0, 4.0]


def test_runs_ended_or_left_open_in_a_fit_leave_nothing_behind(points, lenient, recorded):
    """After ``end_run()`` the next call starts no run, and open runs end with the fit."""

    def log(prediction):
        mlflow.log_metric("before", prediction.x)
        mlflow.end_run()
        mlflow.log_metric("after", prediction.x)
        mlflow.start_run(run_name="left open")
        mlflow.log_metric("open", prediction.x)

    stub_search(eva=StubEvaluator(call=log), numFolds=2, parallelism=2).fit(points)
    for name, child in named(recorded).items():
        x = float(name.removeprefix("x="))
        assert recorded.history(child, "before") == [(0, x), (1, x)]
        assert recorded.history(child, "after") == [(0, x), (1, x)]
        assert [recorded.history(run, "open") for run in recorded.inner(child)] == [[(0, x)]] * 2
    assert {run.info.status for run in recorded.runs()} == {"FINISHED"}
    assert len(recorded.runs()) == 1 + 3 + 6


def test_other_threads_do_not_wait_for_the_run_of_a_fit(points, recorded):
    """MLflow looks for the latest run of all threads, for example for its traces."""
    from mlflow.tracking.fluent import _get_latest_active_run

    seen = []

    def look(_):
        if not seen:
            thread = threading.Thread(target=lambda: seen.append(_get_latest_active_run()))
            thread.start()
            thread.join(60)

    with mlflow.start_run() as run:
        stub_search(eva=StubEvaluator(call=look), numFolds=2).fit(points)
        assert seen[0] is run
