"""Regressions: internal errors at either end, unusual subclasses, lost answers."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

import cloudpickle
import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from pyspark.ml.param import Param, Params
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, ParamGridBuilder

import trackmllib
from support.searches import stub_search, tree_search
from support.stubs import StubEstimator, StubEvaluator
from trackmllib import testing
from trackmllib.recorder import parent_run
from trackmllib.support.patching import is_patched

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("place", ["opened", "finished"])
def test_internal_error_at_either_end_leaves_no_run_running(
    points, recorded, user_warnings, monkeypatch, place
):
    """A bug at the start or end of a search: one warning, and runs get their true status."""
    original = getattr(parent_run, place)

    def broken(*args):
        yield next(original(*args))
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(parent_run, place, broken)
    model = stub_search(numFolds=2).fit(points)
    assert len(model.avgMetrics) == 3
    (warning,) = user_warnings()
    assert "ZeroDivisionError: a bug" in warning
    parent = recorded.only_parent_run()
    assert parent.info.status == "FINISHED"
    children = recorded.children(parent)
    assert [c.data.metrics["avg_stub"] for c in children] == list(model.avgMetrics)
    assert {c.info.status for c in children} == {"FINISHED"}


class Unspeakable(Exception):
    """An error that cannot be printed, like that of a dead JVM."""

    def __str__(self):
        raise RuntimeError("no")


def test_unprintable_error_is_recorded(points, recorded):
    with pytest.raises(Unspeakable):
        stub_search(est=StubEstimator(fail={2.0: Unspeakable()}), numFolds=2).fit(points)
    parent = recorded.only_parent_run()
    assert parent.info.status == "FAILED"
    assert parent.data.tags["trackmllib.error"] == "Unspeakable"
    assert "RUNNING" not in {c.info.status for c in recorded.children(parent)}


class RandomSearch(CrossValidator):
    """Creates its grid in ``_fit`` and passes it to Spark's loop."""

    def _fit(self, dataset):
        est = self.getEstimator()
        grid = ParamGridBuilder().addGrid(est.x, [7.0, 8.0, 9.0, 10.0]).build()
        return CrossValidator._fit(self.copy({self.estimatorParamMaps: grid}), dataset)


def test_subclass_that_creates_its_own_grid(points, recorded):
    model = stub_search(kind=RandomSearch, xs=[1.0], numFolds=2).fit(points)
    parent = recorded.only_parent_run()
    children = recorded.children(parent)
    assert [c.data.params["x"] for c in children] == ["7.0", "8.0", "9.0", "10.0"]
    assert [c.data.metrics["avg_stub"] for c in children] == list(model.avgMetrics)
    assert parent.data.params["candidates"] == "4"
    assert parent.data.params["best_x"] == "10.0"


class Halving(CrossValidator):
    """Runs Spark's loop on several grids; the first is the grid of the search."""

    def _fit(self, dataset):
        from pyspark.ml import tuning

        est, eva = self.getEstimator(), self.getEvaluator()
        maps = self.getEstimatorParamMaps()
        scores = [0.0] * len(maps)
        for kept in (maps, maps[1:]):
            for task in tuning._parallelFitTasks(est, dataset, eva, dataset, kept, False):
                index, score, _ = task()
                scores[maps.index(kept[index])] = score
        model = CrossValidatorModel(est.fit(dataset, maps[-1]), scores, [], [])
        model.avgMetrics = np.array(scores)
        return model


def test_subclass_with_another_grid_in_a_later_loop(points, recorded):
    model = stub_search(kind=Halving).fit(points)
    children = recorded.children(recorded.only_parent_run())
    assert [len(recorded.history(c, "stub")) for c in children] == [1, 1, 1]
    assert [c.data.metrics["avg_stub"] for c in children] == list(model.avgMetrics)
    assert {c.info.status for c in children} == {"FINISHED"}


class Repeated(CrossValidator):
    """Runs Spark's loop twice and keeps the second model."""

    def _fit(self, dataset):
        super()._fit(dataset)
        time.sleep(0.3)
        return super()._fit(dataset)


def test_subclass_that_repeats_sparks_loop(points, recorded):
    model = stub_search(kind=Repeated, numFolds=2).fit(points)
    parent = recorded.only_parent_run()
    children = recorded.children(parent)
    assert [c.data.metrics["avg_stub"] for c in children] == list(model.avgMetrics)
    for child in children:
        assert [step for step, _ in recorded.history(child, "stub")] == [0, 1, 2, 3]
        assert child.info.status == "FINISHED"
        assert child.info.end_time - child.info.start_time >= 300


class SimplestGood(CrossValidator):
    """Chooses the first candidate that is good enough, and fits it again."""

    def _fit(self, dataset):
        model = super()._fit(dataset)
        maps = self.getEstimatorParamMaps()
        best = self.getEstimator().fit(dataset, maps[0])
        return CrossValidatorModel(best, model.avgMetrics, [], model.stdMetrics)


def test_subclass_with_its_own_selection_rule(points, recorded):
    stub_search(kind=SimplestGood, numFolds=2).fit(points)
    parent = recorded.only_parent_run()
    marks = [c.data.tags.get("trackmllib.best") for c in recorded.children(parent)]
    assert marks == ["true", None, "false"]
    assert parent.data.params["best_x"] == "1.0"
    assert recorded.json(parent, "trackmllib/best_params.json") == {"x": 1.0}


class Stranger(CrossValidator):
    """Returns a model that belongs to none of its candidates."""

    def _fit(self, dataset):
        model = super()._fit(dataset)
        est = self.getEstimator()
        best = est.fit(dataset, {est.x: 42.0})
        return CrossValidatorModel(best, model.avgMetrics, [], model.stdMetrics)


def test_model_of_no_candidate_has_no_winner(points, recorded):
    stub_search(kind=Stranger, numFolds=2).fit(points)
    parent = recorded.only_parent_run()
    marks = [c.data.tags.get("trackmllib.best") for c in recorded.children(parent)]
    assert "true" not in marks
    assert "best_x" not in parent.data.params
    assert recorded.json(parent, "trackmllib/best_params.json") == {}
    assert parent.info.status == "FINISHED"


def test_subclass_with_its_own_selection_rule_on_a_pipeline(points, recorded):
    search = tree_search(SimplestGood, numFolds=2)
    search.setEstimatorParamMaps(search.getEstimatorParamMaps()[::3])
    search.fit(points)
    parent = recorded.only_parent_run()
    assert (parent.data.params["best_maxDepth"], parent.data.params["best_maxBins"]) == ("1", "4")


class Own(CrossValidator):
    """A tuner with its own ``fit``."""

    def fit(self, dataset, params=None):
        return self._fit(dataset)


def test_subclass_pickled_by_value_is_fitted_on_a_worker(spark, recorded):
    """As classes in notebooks are; the worker records nothing and raises no error."""

    class OnWorker(CrossValidator):
        def fit(self, dataset, params=None):
            return sum(dataset)

    assert is_patched(OnWorker.fit)
    tuner = OnWorker()
    found = spark.sparkContext.parallelize([1, 2], 2).map(lambda n: tuner.fit([n, 10])).collect()
    assert found == [11, 12]
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        again = cloudpickle.loads(cloudpickle.dumps(Own))
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    assert again is not None
    assert recorded.runs() == []


@pytest.mark.parametrize("lost", [1, 2, 4])
def test_lost_answer_to_create_run_creates_no_second_run(points, recorded, monkeypatch, lost):
    """The server creates the run, and the connection breaks before it answers."""
    create, calls = MlflowClient.create_run, []

    def answer_lost(self, *args, **kwargs):
        run = create(self, *args, **kwargs)
        calls.append(run)
        if len(calls) == lost:
            raise ConnectionError("connection reset by peer")
        return run

    monkeypatch.setattr(MlflowClient, "create_run", answer_lost)
    stub_search(numFolds=2).fit(points)
    parent = recorded.only_parent_run()
    assert len(recorded.children(parent)) == 3
    assert {r.info.status for r in recorded.runs()} == {"FINISHED"}


def test_dead_store_does_not_delay_another(points, recorded, session, caplog):
    """The URI of the dead store has a password, which no warning shows."""

    session.settings = session.settings.model_copy(update={"strict": False, "flush_timeout": 1.0})
    apply = session.executor.apply

    def away(operation, again=False):
        if operation.search_id == first_id:
            raise trackmllib.exceptions.Unavailable("away")
        apply(operation, again)

    session.executor.apply = away
    ids = iter(["a" * 36, "b" * 36])
    session.instrumentation._searches._new_id = lambda: next(ids)
    first_id = "a" * 36
    stub_search(numFolds=2).fit(points)
    session.settings = session.settings.model_copy(update={"flush_timeout": 60.0})
    began = time.monotonic()
    stub_search(numFolds=2).fit(points)
    assert time.monotonic() - began < 30.0
    parent = recorded.only_parent_run()
    assert parent.data.tags["trackmllib.search_id"] == "b" * 36
    (warning,) = [r.getMessage() for r in caplog.records if r.name == "trackmllib"]
    assert "a" * 36 in warning
    del session.executor.apply
    assert session.relay.flush(None, 30.0) == 0
    assert len(recorded.parent_runs()) == 2


def test_process_exit_ends_a_search_in_a_daemon_thread(sqlite_uri):
    """The process exit ends the runs of the daemon thread."""
    code = f"""
        import sys, threading, time
        sys.path[:0] = {[p for p in sys.path if p.endswith("tests")]!r}
        import mlflow, trackmllib
        mlflow.set_tracking_uri("{sqlite_uri}")
        mlflow.set_experiment("ends early")
        trackmllib.autolog()
        from pyspark.sql import SparkSession
        spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
        spark.sparkContext.setLogLevel("OFF")
        from support.searches import stub_search
        from support.stubs import StubEvaluator
        in_the_third = threading.Event()
        def call(prediction):
            if prediction.x == 3.0:
                in_the_third.set()
                time.sleep(60)
        search = stub_search(eva=StubEvaluator(call=call), numFolds=2)
        threading.Thread(target=search.fit, args=(spark.range(4),), daemon=True).start()
        assert in_the_third.wait(60)
    """  # noqa: E501 - a program
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=120, capture_output=True
    )
    client = MlflowClient(sqlite_uri)
    experiment = client.get_experiment_by_name("ends early").experiment_id
    runs = client.search_runs([experiment])
    assert len(runs) == 4
    assert "RUNNING" not in {r.info.status for r in runs}
    (parent,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    assert parent.info.status == "KILLED"


class WithMetric(CrossValidator):
    """A subclass with a param named like one of ours."""

    metric = Param(Params._dummy(), "metric", "")


def test_param_of_a_subclass_may_have_the_name_of_ours(points, recorded):
    search = stub_search(kind=WithMetric, numFolds=2)
    search._set(metric="mine")
    search.fit(points)
    parent = recorded.only_parent_run()
    assert parent.data.params["metric"] == "stub"
    description = recorded.json(parent, "trackmllib/search.json")
    assert description["tuner"]["params"]["metric"] == "mine"


def test_recording_in_memory_does_not_change_autolog(points, recorded):
    trackmllib.autolog(disable=True)
    with testing.recording():
        stub_search(numFolds=2).fit(points)
    stub_search(numFolds=2).fit(points)
    assert recorded.runs() == []
    trackmllib.autolog()
    with testing.recording():
        stub_search(numFolds=2).fit(points)
    stub_search(numFolds=2, eva=StubEvaluator()).fit(points)
    assert len(recorded.runs()) == 4


def test_uri_and_experiment_are_fixed_at_the_start_on_a_server(points, server_uri, store):
    mlflow.set_tracking_uri(server_uri)
    experiment = mlflow.set_experiment("settled").experiment_id
    trackmllib.autolog()
    search = stub_search(numFolds=2)
    search.getEvaluator().call = lambda prediction: mlflow.set_tracking_uri(store.uri)
    search.fit(points)
    assert store.runs() == []
    client = MlflowClient(server_uri)
    runs = client.search_runs([experiment])
    assert len(runs) == 4
    (parent,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    mlflow.set_tracking_uri(server_uri)
    files = [f.path for f in client.list_artifacts(parent.info.run_id, "trackmllib")]
    assert "trackmllib/results.csv" in files
