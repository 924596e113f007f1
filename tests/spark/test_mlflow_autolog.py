"""Beside MLflow's own autologging, which records everything except searches."""

from __future__ import annotations

import threading

import mlflow
import pytest
from pyspark.ml.classification import LinearSVC, LogisticRegression, OneVsRest
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.tuning import ParamGridBuilder, TrainValidationSplit

import trackmllib
from support.searches import regression_search
from support.stubs import StubEstimator

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.versions, pytest.mark.matrix]


@pytest.mark.slow
@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_search_is_recorded_once(points, store, mlflow_autolog, ours_first, parallelism):
    if ours_first:
        trackmllib.autolog()
    mlflow_autolog()
    if not ours_first:
        trackmllib.autolog()
    model = regression_search(TrainValidationSplit, parallelism=parallelism).fit(points)
    parent = store.only_parent_run()
    assert "mlflow.autologging" not in parent.data.tags
    children = store.children(parent)
    assert [c.data.metrics["logLoss"] for c in children] == list(model.validationMetrics)
    assert len(store.runs()) == 4
    assert mlflow.active_run() is None


@pytest.mark.slow
def test_search_is_recorded_once_under_mlflow_autolog(points, store):
    mlflow.autolog(log_models=False, log_datasets=False, silent=True)
    try:
        trackmllib.autolog()
        with mlflow.start_run():
            regression_search(TrainValidationSplit).fit(points)
        assert len(store.runs()) == 4
    finally:
        mlflow.autolog(disable=True)
        mlflow.pyspark.ml.autolog(disable=True)


def test_mlflow_still_records_other_estimators(points, store, mlflow_autolog):
    trackmllib.autolog()
    mlflow_autolog()
    LogisticRegression(maxIter=1).fit(points)
    (run,) = store.runs()
    assert run.data.tags["mlflow.autologging"] == "pyspark.ml"
    assert run.data.params["maxIter"] == "1"


def test_mlflow_records_fits_of_other_threads_during_a_search(points, store, mlflow_autolog):
    def fit_elsewhere(prediction):
        if not threads:
            thread = threading.Thread(target=LogisticRegression(maxIter=2).fit, args=(points,))
            threads.append(thread)
            thread.start()
            thread.join(60)

    from support.stubs import StubEvaluator

    threads: list[threading.Thread] = []
    trackmllib.autolog()
    mlflow_autolog()
    est = StubEstimator()
    TrainValidationSplit(
        estimator=est,
        estimatorParamMaps=[{est.x: 1.0}],
        evaluator=StubEvaluator(call=fit_elsewhere),
    ).fit(points)
    by_mlflow = [r for r in store.runs() if r.data.tags.get("mlflow.autologging")]
    assert [r.data.params["maxIter"] for r in by_mlflow] == ["2"]
    assert len(store.runs()) == 3


@pytest.mark.slow
def test_threads_of_one_vs_rest_in_a_search_start_no_runs(points, store, mlflow_autolog):
    trackmllib.autolog()
    mlflow_autolog()
    svc = LinearSVC(maxIter=1)
    est = OneVsRest(classifier=svc, parallelism=2)
    grid = ParamGridBuilder().addGrid(est.classifier, [svc]).build()
    TrainValidationSplit(
        estimator=est,
        estimatorParamMaps=grid,
        evaluator=MulticlassClassificationEvaluator(),
    ).fit(points)
    assert len(store.runs()) == 2


@pytest.mark.slow
def test_mlflow_records_searches_after_disable(points, store, mlflow_autolog):
    trackmllib.autolog()
    mlflow_autolog()
    trackmllib.autolog(disable=True)
    regression_search(TrainValidationSplit).fit(points)
    parent = store.only_parent_run()
    assert parent.data.tags["mlflow.autologging"] == "pyspark.ml"
