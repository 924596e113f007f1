"""With MLflow's own autologging on as well: a search is recorded once, the rest by MLflow."""

from __future__ import annotations

import threading

import mlflow
import pytest
from pyspark.ml.classification import LinearSVC, LogisticRegression, OneVsRest
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.tuning import ParamGridBuilder, TrainValidationSplit

import trackmllib
from searches import regression_search
from stubs import StubEstimator

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def mlflow_autolog():
    import mlflow.pyspark.ml

    def switch_on():
        mlflow.pyspark.ml.autolog(log_models=False, log_datasets=False)

    yield switch_on
    mlflow.pyspark.ml.autolog(disable=True)


@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_search_is_recorded_once(points, store, mlflow_autolog, ours_first, parallelism):
    if ours_first:
        trackmllib.autolog()
    mlflow_autolog()
    if not ours_first:
        trackmllib.autolog()
    model = regression_search(TrainValidationSplit, parallelism=parallelism).fit(points)
    main = store.only_main_run()
    assert "mlflow.autologging" not in main.data.tags
    children = store.children(main)
    assert [c.data.metrics["logLoss"] for c in children] == list(model.validationMetrics)
    assert len(store.runs()) == 4
    assert mlflow.active_run() is None


def test_with_everything_switched_on(points, store):
    mlflow.autolog(log_models=False, log_datasets=False, silent=True)
    try:
        trackmllib.autolog()
        with mlflow.start_run():
            regression_search(TrainValidationSplit).fit(points)
        assert len(store.runs()) == 4
    finally:
        mlflow.autolog(disable=True)
        mlflow.pyspark.ml.autolog(disable=True)


def test_other_estimators_are_recorded_by_mlflow_as_before(points, store, mlflow_autolog):
    trackmllib.autolog()
    mlflow_autolog()
    LogisticRegression(maxIter=1).fit(points)
    (run,) = store.runs()
    assert run.data.tags["mlflow.autologging"] == "pyspark.ml"
    assert run.data.params["maxIter"] == "1"


def test_a_fit_in_another_thread_during_a_search_is_recorded_by_mlflow(
    points, store, mlflow_autolog
):
    def fit_elsewhere(prediction):
        if not threads:
            thread = threading.Thread(target=LogisticRegression(maxIter=2).fit, args=(points,))
            threads.append(thread)
            thread.start()
            thread.join(60)

    from stubs import StubEvaluator

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


def test_the_threads_of_one_vs_rest_inside_of_a_search_start_no_runs(points, store, mlflow_autolog):
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


def test_mlflow_records_searches_again_when_ours_is_off(points, store, mlflow_autolog):
    trackmllib.autolog()
    mlflow_autolog()
    trackmllib.autolog(disable=True)
    regression_search(TrainValidationSplit).fit(points)
    main = store.only_main_run()
    assert main.data.tags["mlflow.autologging"] == "pyspark.ml"
