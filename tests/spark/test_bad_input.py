"""Bad input: the training continues or raises Spark's own error, and the record is true."""

from __future__ import annotations

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
from support.searches import stub_search, stub_split
from support.stubs import StubEstimator, StubEvaluator
from support.waiting import wait_until


def test_tracking_uri_with_unknown_scheme(points, user_warnings):
    mlflow.set_tracking_uri("gopher://user:secret@nowhere?token=hidden")
    model = stub_search(numFolds=2).fit(points)
    assert len(model.avgMetrics) == 3
    (warning,) = user_warnings()
    assert "gopher://***@nowhere?***" in warning
    assert "secret" not in warning
    assert "hidden" not in warning
    assert "The training is not affected" in warning


def test_sqlite_file_that_cannot_be_opened(points, user_warnings, tmp_path):
    trackmllib.autolog(flush_timeout=2)
    (tmp_path / "folder.db").mkdir()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/folder.db")
    began = time.monotonic()
    model = stub_search(numFolds=2).fit(points)
    assert len(model.avgMetrics) == 3
    assert time.monotonic() - began < 10
    (warning,) = user_warnings()
    assert f"{tmp_path}/folder.db: unable to open database file" in warning


def test_experiment_that_does_not_exist(points, user_warnings, monkeypatch):
    mlflow.tracking.fluent._active_experiment_id = None
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "987654321")
    stub_split().fit(points)
    (warning,) = user_warnings()
    assert "987654321" in warning


def test_experiment_deleted_during_the_search(points, user_warnings, recorded):
    def delete(prediction):
        if prediction.x == 2.0:
            wait_until(lambda: len(recorded.children(run.info.run_id)) == 2)
            recorded.client.delete_experiment(experiment_id)

    experiment_id = recorded.experiment_id
    with mlflow.start_run() as run:
        model = stub_split(eva=StubEvaluator(call=delete)).fit(points)
        recorded.client.restore_experiment(experiment_id)
    assert len(model.validationMetrics) == 3
    (warning,) = user_warnings()
    assert "active" in warning
    assert [c.info.run_name for c in recorded.children(run.info.run_id)] == ["x=1.0", "x=2.0"]


def test_active_run_ended_during_the_search(points, user_warnings, recorded):
    def end(prediction):
        if prediction.x == 2.0:
            wait_until(lambda: len(recorded.children(run.info.run_id)) == 2)
            recorded.client.set_terminated(run.info.run_id, "KILLED")

    with mlflow.start_run() as run:
        model = stub_split(eva=StubEvaluator(call=end)).fit(points)
    assert len(model.validationMetrics) == 3
    (warning,) = user_warnings()
    assert f"run {run.info.run_id} was ended (KILLED)" in warning
    parent = recorded.client.get_run(run.info.run_id)
    assert parent.data.metrics["best_stub"] == max(model.validationMetrics)
    assert len(recorded.children(parent)) == 3


def test_active_run_deleted_during_the_search(points, user_warnings, recorded):
    def delete(prediction):
        if prediction.x == 2.0:
            wait_until(lambda: len(recorded.children(run.info.run_id)) == 2)
            recorded.client.delete_run(run.info.run_id)

    with mlflow.start_run() as run:
        model = stub_split(eva=StubEvaluator(call=delete)).fit(points)
        recorded.client.restore_run(run.info.run_id)
    assert len(model.validationMetrics) == 3
    (warning,) = user_warnings()
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


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_broken_tuner_raises_sparks_own_error(points, recorded, name):
    search = BROKEN[name]()
    trackmllib.autolog(disable=True)
    with pytest.raises(Exception) as untracked:  # noqa: PT011 - compared below
        search.fit(points)
    trackmllib.autolog()
    with pytest.raises(Exception) as tracked:  # noqa: PT011
        search.fit(points)
    assert type(tracked.value) is type(untracked.value)
    assert str(tracked.value).partition("#")[0] == str(untracked.value).partition("#")[0]
    parent = recorded.only_parent_run()
    assert parent.info.status == "FAILED"
    assert parent.data.tags["trackmllib.error"].startswith(type(tracked.value).__name__)
    assert recorded.children(parent) == []


def test_missing_column_raises_sparks_own_error(points, recorded):
    est = LogisticRegression(featuresCol="wrong")
    search = CrossValidator(
        estimator=est,
        estimatorParamMaps=[{}],
        evaluator=MulticlassClassificationEvaluator(),
        numFolds=2,
    )
    with pytest.raises(Exception, match="wrong"):
        search.fit(points)
    assert recorded.only_parent_run().info.status == "FAILED"


@pytest.mark.parametrize("arguments", [(), ("no data",), (None,), ({}, 5)])
def test_wrong_arguments_raise_sparks_own_error(points, recorded, arguments):
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


def test_forked_child_records_and_sends_nothing(points, recorded):
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
    parent = recorded.only_parent_run()
    (child,) = recorded.children(parent)
    assert [child.data.metrics["avg_stub"]] == list(model.avgMetrics)
    assert [step for step, _ in recorded.history(child, "stub")] == [0, 1]


class StubOnly(CrossValidator):
    """A tuner whose fit needs no JVM, because a forked child has none."""

    def _fit(self, dataset):
        return None


def test_pool_of_forked_processes_sends_nothing_twice(points, recorded):
    stub_search(xs=[1.0], numFolds=2).fit(points)
    before = len(recorded.runs())
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(fit_in_child, range(4)) == [None] * 4
    assert len(recorded.runs()) == before == 2


def fit_in_child(number):
    return StubOnly().fit(number)


def test_pickled_tuner_is_fitted_without_recording(points, recorded):
    search = pickle.loads(pickle.dumps(StubOnly()))
    code = pickle.dumps(search)
    assert b"trackmllib" not in code


def test_exit_of_forked_child_duplicates_nothing(points, recorded):
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
    (child,) = recorded.children(recorded.only_parent_run())
    assert len(recorded.history(child, "stub")) == 2


REJECTED_TEXT = "a\x00b\ud800c"
CONTROLS = "".join(map(chr, range(1, 32))) + "\x7f\x85\u2028\u202e\ufffe\uffff"


def test_nul_and_lone_surrogates_are_logged_escaped(points, any_store):
    """In a param, a run name, an error and a metric name; everything else is logged unchanged."""
    trackmllib.autolog(flush_timeout=60)
    error = ValueError(f"cannot read {REJECTED_TEXT}")
    est = StubEstimator(fail={"b\x00": error})
    evaluator = StubEvaluator(scores={REJECTED_TEXT: 0.25, CONTROLS: 0.5})
    evaluator.getMetricName = lambda: f"m{REJECTED_TEXT}"
    with pytest.raises(ValueError, match="cannot read"):
        stub_split(est=est, eva=evaluator, xs=[REJECTED_TEXT, CONTROLS, "b\x00"]).fit(points)
    parent = any_store.only_parent_run()
    good, controls, bad = any_store.children(parent)
    assert controls.data.params["x"] == CONTROLS
    assert good.data.params["x"] == r"a\x00b\ud800c"
    assert good.info.run_name == r"x=a\x00b\ud800c"
    assert good.data.metrics["ma_b_c"] == 0.25
    assert good.info.status == "FINISHED"
    assert bad.data.params["x"] == r"b\x00"
    assert bad.data.tags["trackmllib.error"] == r"ValueError: cannot read a\x00b\ud800c"
    assert r"cannot read a\x00b\ud800c" in any_store.text(bad, "trackmllib/traceback.txt")
    assert parent.data.params["metric"] == r"ma\x00b\ud800c"
    candidate, *_ = any_store.json(parent, "trackmllib/search.json")["grid"]["candidates"]
    assert candidate["params"]["x"] == REJECTED_TEXT
    assert any_store.results(parent)[0]["params.x"] == r"a\x00b\ud800c"
