"""Bad input: the training goes on, or fails as Spark fails, and the record says what was."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import time

import mlflow
import pytest
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.tuning import CrossValidator

import trackmllib
from searches import stub_search, stub_split
from stubs import StubEstimator, StubEvaluator


@pytest.fixture
def warned(recorded, lenient, caplog):
    """Recording is on, in the way of users; returns the warnings of trackmllib's so far."""
    trackmllib.autolog()
    caplog.set_level(logging.WARNING, logger="trackmllib")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "trackmllib"]


def test_a_tracking_uri_with_an_unknown_scheme(points, warned):
    mlflow.set_tracking_uri("gopher://user:secret@nowhere?token=hidden")
    model = stub_search(numFolds=2).fit(points)
    assert len(model.avgMetrics) == 3
    (warning,) = warned()
    assert "gopher://***@nowhere?***" in warning
    assert "secret" not in warning
    assert "hidden" not in warning
    assert "The training is not affected" in warning


def test_a_sqlite_file_that_cannot_be_opened(points, warned, tmp_path):
    trackmllib.autolog(flush_timeout=2)
    (tmp_path / "folder.db").mkdir()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/folder.db")
    began = time.monotonic()
    model = stub_search(numFolds=2).fit(points)
    assert len(model.avgMetrics) == 3
    assert time.monotonic() - began < 10
    (warning,) = warned()
    assert f"{tmp_path}/folder.db: unable to open database file" in warning


def test_an_experiment_that_does_not_exist(points, warned, monkeypatch):
    mlflow.tracking.fluent._active_experiment_id = None
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "987654321")
    stub_split().fit(points)
    (warning,) = warned()
    assert "987654321" in warning


def test_an_experiment_that_is_deleted_during_the_search(points, warned, recorded):
    def delete(prediction):
        if prediction.x == 2.0:
            time.sleep(0.5)
            recorded.client.delete_experiment(experiment_id)

    experiment_id = recorded.experiment_id
    with mlflow.start_run() as run:
        model = stub_split(eva=StubEvaluator(call=delete)).fit(points)
        recorded.client.restore_experiment(experiment_id)
    assert len(model.validationMetrics) == 3
    (warning,) = warned()
    assert "active" in warning
    assert [c.info.run_name for c in recorded.children(run.info.run_id)] == ["x=1.0", "x=2.0"]


def test_an_active_run_that_is_ended_during_the_search(points, warned, recorded):
    def end(prediction):
        if prediction.x == 2.0:
            time.sleep(0.3)
            recorded.client.set_terminated(run.info.run_id, "KILLED")

    with mlflow.start_run() as run:
        model = stub_split(eva=StubEvaluator(call=end)).fit(points)
    assert len(model.validationMetrics) == 3
    (warning,) = warned()
    assert f"run {run.info.run_id} was ended (KILLED)" in warning
    main = recorded.client.get_run(run.info.run_id)
    assert main.data.metrics["best_stub"] == max(model.validationMetrics)
    assert len(recorded.children(main)) == 3


def test_an_active_run_that_is_deleted_during_the_search(points, warned, recorded):
    def delete(prediction):
        if prediction.x == 2.0:
            time.sleep(0.3)
            recorded.client.delete_run(run.info.run_id)

    with mlflow.start_run() as run:
        model = stub_split(eva=StubEvaluator(call=delete)).fit(points)
        recorded.client.restore_run(run.info.run_id)
    assert len(model.validationMetrics) == 3
    (warning,) = warned()
    assert "'active' state" in warning
    children = recorded.children(run.info.run_id)
    assert [c.data.metrics["stub"] for c in children] == list(model.validationMetrics)
    assert {c.info.status for c in children} == {"FINISHED"}


BROKEN = {
    "an empty grid": lambda: CrossValidator(
        estimator=StubEstimator(), estimatorParamMaps=[], evaluator=StubEvaluator()
    ),
    "no evaluator": lambda: CrossValidator(estimator=StubEstimator(), estimatorParamMaps=[{}]),
    "no estimator": lambda: CrossValidator(estimatorParamMaps=[{}], evaluator=StubEvaluator()),
    "nothing": CrossValidator,
    "a fold column that does not exist": lambda: stub_search(foldCol="nowhere"),
    "no fold in range": lambda: stub_search(foldCol="label", numFolds=7),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_tuner_fails_as_spark_fails(points, recorded, name):
    search = BROKEN[name]()
    trackmllib.autolog(disable=True)
    with pytest.raises(Exception) as untracked:  # noqa: PT011 - compared below
        search.fit(points)
    trackmllib.autolog()
    with pytest.raises(Exception) as tracked:  # noqa: PT011
        search.fit(points)
    assert type(tracked.value) is type(untracked.value)
    assert str(tracked.value).partition("#")[0] == str(untracked.value).partition("#")[0]
    main = recorded.only_main_run()
    assert main.info.status == "FAILED"
    assert main.data.tags["trackmllib.error"].startswith(type(tracked.value).__name__)
    assert recorded.children(main) == []


def test_a_wrong_column_fails_as_spark_fails(points, recorded):
    est = LogisticRegression(featuresCol="wrong")
    search = CrossValidator(
        estimator=est,
        estimatorParamMaps=[{}],
        evaluator=MulticlassClassificationEvaluator(),
        numFolds=2,
    )
    with pytest.raises(Exception, match="wrong"):
        search.fit(points)
    assert recorded.only_main_run().info.status == "FAILED"


@pytest.mark.parametrize("arguments", [(), ("no data",), (None,), ({}, 5)])
def test_wrong_arguments_fail_as_spark_fails(points, recorded, arguments):
    if len(arguments) == 2:
        arguments = (points, arguments[1])
    search = stub_search(numFolds=2)
    trackmllib.autolog(disable=True)
    with pytest.raises(Exception) as untracked:  # noqa: PT011 - compared below
        search.fit(*arguments)
    trackmllib.autolog()
    with pytest.raises(type(untracked.value)) as tracked:
        search.fit(*arguments)
    assert str(tracked.value) == str(untracked.value)


def test_a_forked_child_records_and_sends_nothing(points, recorded):
    """A fork in the middle of a search, and a fit in the child."""
    search = stub_search(xs=[1.0], numFolds=2)
    exits = []

    def fork(prediction):
        if exits:
            return
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                StubOnly().fit(points)
                status = 0
            finally:
                os._exit(status)
        exits.append(os.waitpid(pid, 0)[1])

    search.getEvaluator().call = fork
    model = search.fit(points)
    assert exits == [0]
    main = recorded.only_main_run()
    (child,) = recorded.children(main)
    assert [child.data.metrics["avg_stub"]] == list(model.avgMetrics)
    assert [step for step, _ in recorded.history(child, "stub")] == [0, 1]


class StubOnly(CrossValidator):
    """A tuner whose fit needs no JVM, because a forked child has none."""

    def _fit(self, dataset):
        return None


def test_a_pool_of_forked_processes_sends_nothing_twice(points, recorded):
    stub_search(xs=[1.0], numFolds=2).fit(points)
    before = len(recorded.runs())
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(fit_in_child, range(4)) == [None] * 4
    assert len(recorded.runs()) == before == 2


def fit_in_child(number):
    return StubOnly().fit(number)


def test_a_pickled_tuner_is_fitted_without_a_record(points, recorded):
    search = pickle.loads(pickle.dumps(StubOnly()))
    code = pickle.dumps(search)
    assert b"trackmllib" not in code


def test_nothing_is_doubled_at_the_exit_of_a_child(points, recorded):
    """A child that ends by sys.exit runs the exit handlers of its parent."""
    evaluator = StubEvaluator()
    pids = []

    def fork(prediction):
        if not pids:
            pid = os.fork()
            if pid == 0:
                import atexit

                atexit._run_exitfuncs()
                os._exit(0)
            pids.append(os.waitpid(pid, 0)[1])

    evaluator.call = fork
    stub_search(xs=[1.0], numFolds=2, eva=evaluator).fit(points)
    assert pids == [0]
    (child,) = recorded.children(recorded.only_main_run())
    assert len(recorded.history(child, "stub")) == 2


NOT_TAKEN = "a\x00b\ud800c"
CONTROLS = "".join(map(chr, range(1, 32))) + "\x7f\x85\u2028\u202e\ufffe\uffff"


def test_nul_and_lone_surrogates_are_logged_escaped(points, any_store):
    """In a param, a run name, an error and the name of a metric; all else is logged with them."""
    trackmllib.autolog(flush_timeout=60)
    error = ValueError(f"cannot read {NOT_TAKEN}")
    est = StubEstimator(fail={"b\x00": error})
    evaluator = StubEvaluator(scores={NOT_TAKEN: 0.25, CONTROLS: 0.5})
    evaluator.getMetricName = lambda: f"m{NOT_TAKEN}"
    with pytest.raises(ValueError, match="cannot read"):
        stub_split(est=est, eva=evaluator, xs=[NOT_TAKEN, CONTROLS, "b\x00"]).fit(points)
    main = any_store.only_main_run()
    good, controls, bad = any_store.children(main)
    assert controls.data.params["x"] == CONTROLS
    assert good.data.params["x"] == r"a\x00b\ud800c"
    assert good.info.run_name == r"x=a\x00b\ud800c"
    assert good.data.metrics["ma_b_c"] == 0.25
    assert good.info.status == "FINISHED"
    assert bad.data.params["x"] == r"b\x00"
    assert bad.data.tags["trackmllib.error"] == r"ValueError: cannot read a\x00b\ud800c"
    assert r"cannot read a\x00b\ud800c" in any_store.text(bad, "trackmllib/traceback.txt")
    assert main.data.params["metric"] == r"ma\x00b\ud800c"
    candidate, *_ = any_store.json(main, "trackmllib/search.json")["grid"]["candidates"]
    assert candidate["params"]["x"] == NOT_TAKEN
    assert any_store.results(main)[0]["params.x"] == r"a\x00b\ud800c"
