"""What went wrong once, or nearly: our own errors at either end, odd subclasses, lost answers."""

from __future__ import annotations

import logging
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
from searches import stub_search, tree_search
from stubs import StubEstimator, StubEvaluator
from trackmllib import testing
from trackmllib.patching import is_patched
from trackmllib.recorder import main_run


@pytest.fixture
def warned(recorded, lenient, caplog):
    trackmllib.autolog()
    caplog.set_level(logging.WARNING, logger="trackmllib")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "trackmllib"]


@pytest.mark.parametrize("place", ["opened", "finished"])
def test_our_own_error_at_either_end_leaves_no_run_running(
    points, recorded, warned, monkeypatch, place
):
    """A bug of ours where a search begins or ends: one warning, and runs end as what they were."""
    original = getattr(main_run, place)

    def broken(*args):
        yield next(original(*args))
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(main_run, place, broken)
    model = stub_search(numFolds=2).fit(points)
    assert len(model.avgMetrics) == 3
    (warning,) = warned()
    assert "ZeroDivisionError: a bug" in warning
    main = recorded.only_main_run()
    assert main.info.status == "FINISHED"
    children = recorded.children(main)
    assert [c.data.metrics["avg_stub"] for c in children] == list(model.avgMetrics)
    assert {c.info.status for c in children} == {"FINISHED"}


class Unspeakable(Exception):
    """An error that cannot be printed, like one of a JVM that has died."""

    def __str__(self):
        raise RuntimeError("no")


def test_an_error_that_cannot_be_printed_is_still_recorded(points, recorded):
    with pytest.raises(Unspeakable):
        stub_search(est=StubEstimator(fail={2.0: Unspeakable()}), numFolds=2).fit(points)
    main = recorded.only_main_run()
    assert main.info.status == "FAILED"
    assert main.data.tags["trackmllib.error"] == "Unspeakable"
    assert "RUNNING" not in {c.info.status for c in recorded.children(main)}


class RandomSearch(CrossValidator):
    """Makes its grid in ``_fit``, and hands it to Spark's own loop."""

    def _fit(self, dataset):
        est = self.getEstimator()
        grid = ParamGridBuilder().addGrid(est.x, [7.0, 8.0, 9.0, 10.0]).build()
        return CrossValidator._fit(self.copy({self.estimatorParamMaps: grid}), dataset)


def test_a_subclass_that_makes_its_own_grid(points, recorded):
    model = stub_search(kind=RandomSearch, xs=[1.0], numFolds=2).fit(points)
    main = recorded.only_main_run()
    children = recorded.children(main)
    assert [c.data.params["x"] for c in children] == ["7.0", "8.0", "9.0", "10.0"]
    assert [c.data.metrics["avg_stub"] for c in children] == list(model.avgMetrics)
    assert main.data.params["candidates"] == "4"
    assert main.data.params["best_x"] == "10.0"


class Halving(CrossValidator):
    """Another grid in each round: only the first round is the grid of the search."""

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


def test_a_subclass_with_another_grid_in_a_later_round(points, recorded):
    model = stub_search(kind=Halving).fit(points)
    children = recorded.children(recorded.only_main_run())
    assert [len(recorded.history(c, "stub")) for c in children] == [1, 1, 1]
    assert [c.data.metrics["avg_stub"] for c in children] == list(model.avgMetrics)
    assert {c.info.status for c in children} == {"FINISHED"}


class Repeated(CrossValidator):
    """Runs Spark's own loop twice, and keeps the second model."""

    def _fit(self, dataset):
        super()._fit(dataset)
        time.sleep(0.3)
        return super()._fit(dataset)


def test_a_subclass_that_repeats_sparks_loop(points, recorded):
    model = stub_search(kind=Repeated, numFolds=2).fit(points)
    main = recorded.only_main_run()
    children = recorded.children(main)
    assert [c.data.metrics["avg_stub"] for c in children] == list(model.avgMetrics)
    for child in children:
        assert [step for step, _ in recorded.history(child, "stub")] == [0, 1, 2, 3]
        assert child.info.status == "FINISHED"
        assert child.info.end_time - child.info.start_time >= 300


class SimplestGood(CrossValidator):
    """Of the candidates that are good enough it takes the first, and fits that one once more."""

    def _fit(self, dataset):
        model = super()._fit(dataset)
        maps = self.getEstimatorParamMaps()
        best = self.getEstimator().fit(dataset, maps[0])
        return CrossValidatorModel(best, model.avgMetrics, [], model.stdMetrics)


def test_a_subclass_that_chooses_by_a_rule_of_its_own(points, recorded):
    stub_search(kind=SimplestGood, numFolds=2).fit(points)
    main = recorded.only_main_run()
    marks = [c.data.tags.get("trackmllib.best") for c in recorded.children(main)]
    assert marks == ["true", None, "false"]
    assert main.data.params["best_x"] == "1.0"
    assert recorded.json(main, "trackmllib/best_params.json") == {"x": 1.0}


class Stranger(CrossValidator):
    """Returns a model of none of its candidates."""

    def _fit(self, dataset):
        model = super()._fit(dataset)
        est = self.getEstimator()
        best = est.fit(dataset, {est.x: 42.0})
        return CrossValidatorModel(best, model.avgMetrics, [], model.stdMetrics)


def test_a_model_of_no_candidate_has_no_winner(points, recorded):
    stub_search(kind=Stranger, numFolds=2).fit(points)
    main = recorded.only_main_run()
    marks = [c.data.tags.get("trackmllib.best") for c in recorded.children(main)]
    assert "true" not in marks
    assert "best_x" not in main.data.params
    assert recorded.json(main, "trackmllib/best_params.json") == {}
    assert main.info.status == "FINISHED"


def test_a_rule_of_its_own_is_read_off_a_pipeline_too(points, recorded):
    search = tree_search(SimplestGood, numFolds=2)
    search.setEstimatorParamMaps(search.getEstimatorParamMaps()[::3])
    search.fit(points)
    main = recorded.only_main_run()
    assert (main.data.params["best_maxDepth"], main.data.params["best_maxBins"]) == ("1", "4")


class Own(CrossValidator):
    """A fit of its own."""

    def fit(self, dataset, params=None):
        return self._fit(dataset)


def test_a_subclass_can_be_pickled_by_value_and_fitted_on_a_worker(spark, recorded):
    """As classes of a notebook are; there is no recording on the worker, and no error."""

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
def test_a_lost_answer_to_the_making_of_a_run_makes_no_second_run(
    points, recorded, monkeypatch, lost
):
    """The server makes the run, and the connection breaks before it can say so."""
    create, calls = MlflowClient.create_run, []

    def answer_lost(self, *args, **kwargs):
        run = create(self, *args, **kwargs)
        calls.append(run)
        if len(calls) == lost:
            raise ConnectionError("connection reset by peer")
        return run

    monkeypatch.setattr(MlflowClient, "create_run", answer_lost)
    stub_search(numFolds=2).fit(points)
    main = recorded.only_main_run()
    assert len(recorded.children(main)) == 3
    assert {r.info.status for r in recorded.runs()} == {"FINISHED"}


def test_a_dead_store_keeps_no_other_waiting(points, recorded, session, caplog):
    """The URI of the dead one has a password, which no warning shows."""
    from dataclasses import replace

    session.settings = replace(session.settings, strict=False, flush_timeout=1.0)
    apply = session._target.apply

    def away(operation, again=False):
        if operation.search_id == first_id:
            raise trackmllib.errors.Unavailable("away")
        apply(operation, again)

    session._target.apply = away
    ids = iter(["a" * 36, "b" * 36])
    session._seam._new_id = lambda: next(ids)
    first_id = "a" * 36
    stub_search(numFolds=2).fit(points)
    began = time.monotonic()
    stub_search(numFolds=2).fit(points)
    assert time.monotonic() - began < 1.0
    main = recorded.only_main_run()
    assert main.data.tags["trackmllib.search_id"] == "b" * 36
    (warning,) = [r.getMessage() for r in caplog.records if r.name == "trackmllib"]
    assert "a" * 36 in warning
    del session._target.apply
    assert session._delivery.flush(None, 30.0) == 0
    assert len(recorded.main_runs()) == 2


def test_a_process_that_ends_while_a_search_runs_in_a_thread(sqlite_uri):
    """The exit ends what a daemon thread leaves behind."""
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
        from searches import stub_search
        from stubs import StubEstimator
        search = stub_search(est=StubEstimator(fitSeconds=0.7), numFolds=2)
        threading.Thread(target=search.fit, args=(spark.range(4),), daemon=True).start()
        while len(search.getEvaluator().returned) < 3:
            time.sleep(0.1)
    """  # noqa: E501 - a program of its own
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=120, capture_output=True
    )
    client = MlflowClient(sqlite_uri)
    experiment = client.get_experiment_by_name("ends early").experiment_id
    runs = client.search_runs([experiment])
    assert len(runs) == 4
    assert "RUNNING" not in {r.info.status for r in runs}
    (main,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    assert main.info.status == "KILLED"


class WithMetric(CrossValidator):
    """A subclass with a param named like one of ours."""

    metric = Param(Params._dummy(), "metric", "")


def test_a_param_of_a_subclass_that_is_named_like_one_of_ours(points, recorded):
    search = stub_search(kind=WithMetric, numFolds=2)
    search._set(metric="mine")
    search.fit(points)
    main = recorded.only_main_run()
    assert main.data.params["metric"] == "stub"
    description = recorded.json(main, "trackmllib/search.json")
    assert description["tuner"]["params"]["metric"] == "mine"


def test_recording_in_memory_leaves_the_switch_as_it_was(points, recorded):
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


def test_uri_and_experiment_are_settled_at_the_start_with_a_server_too(points, server_uri, store):
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
    (main,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    mlflow.set_tracking_uri(server_uri)
    files = [f.path for f in client.list_artifacts(main.info.run_id, "trackmllib")]
    assert "trackmllib/results.csv" in files
