"""Beside MLflow's own autologging: post-training metrics and the last active run."""

from __future__ import annotations

import time
from contextlib import nullcontext
from unittest import mock

import mlflow
import mlflow.pyspark.ml
import pytest
from mlflow.utils.autologging_utils import AUTOLOGGING_INTEGRATIONS
from pyspark.errors import IllegalArgumentException
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit

import trackmllib
from conftest import free_port, start_server, stop_server
from reading import Store
from searches import regression_search, stub_search
from stubs import SearchingEstimator

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def mlflow_autolog():
    def switch_on(**options):
        mlflow.pyspark.ml.autolog(log_models=False, log_datasets=False, **options)

    before = AUTOLOGGING_INTEGRATIONS.get("pyspark.ml")
    before = None if before is None else dict(before)
    yield switch_on
    mlflow.pyspark.ml.autolog(disable=True)
    # Other tests look at what MLflow says where nobody has called its autolog().
    AUTOLOGGING_INTEGRATIONS.pop("pyspark.ml")
    if before is not None:
        AUTOLOGGING_INTEGRATIONS["pyspark.ml"] = before


def evaluate(model, points):
    # MLflow names the metric after the variable, not after an argument.
    holdout = points.select("*")
    evaluator = MulticlassClassificationEvaluator(metricName="accuracy")
    return evaluator.evaluate(model.transform(holdout))


def run_id_of(model):
    """The run on which MLflow logs post-training metrics of a model."""
    return mlflow.pyspark.ml._AUTOLOGGING_METRICS_MANAGER.get_run_id_for_model(model)


@pytest.mark.parametrize(
    ("kind", "active"), [(CrossValidator, False), (TrainValidationSplit, True)]
)
def test_post_training_metric_lands_on_parent_run(
    points, any_store, mlflow_autolog, kind, active, caplog
):
    trackmllib.autolog()
    mlflow_autolog()
    with mlflow.start_run() if active else nullcontext():
        model = regression_search(kind).fit(points)
        accuracy = evaluate(model, points)
    main = any_store.only_main_run()
    assert main.data.metrics["accuracy_holdout"] == accuracy
    assert run_id_of(model) == main.info.run_id
    assert not [r for r in caplog.records if "autologging" in r.getMessage()]


def test_mlflow_registers_the_model_of_a_tuner_once(points, store, mlflow_autolog):
    """MLflow's own test of meta estimators."""
    trackmllib.autolog()
    mlflow_autolog()
    with (
        mock.patch("mlflow.pyspark.ml._AutologgingMetricsManager.register_model") as register,
        mlflow.start_run() as run,
    ):
        model = regression_search().fit(points)
        model.transform(points)
    register.assert_called_once_with(model, run.info.run_id)


def test_each_model_of_several_searches_has_its_own_parent_run(points, store, mlflow_autolog):
    trackmllib.autolog()
    mlflow_autolog()
    models = [regression_search(TrainValidationSplit).fit(points) for _ in range(2)]
    assert [run_id_of(m) for m in models] == [r.info.run_id for r in store.main_runs()]
    evaluate(models[1], points)
    first, second = store.main_runs()
    assert "accuracy_holdout" not in first.data.metrics
    assert "accuracy_holdout" in second.data.metrics


def test_inner_search_registers_no_model(points, store, mlflow_autolog):
    """As with MLflow alone, which registers the model of the outermost fit."""
    models = []

    class Inner(TrainValidationSplit):
        def _fit(self, dataset):
            models.append(super()._fit(dataset))
            return models[-1]

    trackmllib.autolog()
    mlflow_autolog()
    est = SearchingEstimator(stub_search(Inner))
    outer = stub_search(TrainValidationSplit, est=est).fit(points)
    assert run_id_of(outer) == store.only_main_run().info.run_id
    assert models
    assert [run_id_of(model) for model in models] == [None] * len(models)


def test_tuner_with_its_own_fit_registers_its_model(points, store, mlflow_autolog):
    class Own(TrainValidationSplit):
        def fit(self, dataset, params=None):
            return super().fit(dataset, params)

    trackmllib.autolog()
    mlflow_autolog()
    model = stub_search(Own).fit(points)
    assert run_id_of(model) == store.only_main_run().info.run_id


@pytest.mark.parametrize("options", [None, {"disable": True}, {"log_post_training_metrics": False}])
def test_model_is_not_registered_without_post_training_metrics(
    points, store, mlflow_autolog, options
):
    trackmllib.autolog()
    if options is not None:
        mlflow_autolog(**options)
    model = stub_search(TrainValidationSplit).fit(points)
    assert "_mlflow_run_id" not in vars(model)


def test_exclusive_autologging_keeps_off_the_run_of_the_user(points, store, mlflow_autolog):
    trackmllib.autolog()
    mlflow_autolog(exclusive=True)
    with mlflow.start_run():
        model = stub_search(TrainValidationSplit).fit(points)
    assert run_id_of(model) is None
    model = stub_search(TrainValidationSplit).fit(points)
    assert run_id_of(model) == store.main_runs()[-1].info.run_id


def test_metric_waits_for_parent_run(points, tmp_path, mlflow_autolog):
    port = free_port()
    mlflow.set_tracking_uri(f"http://127.0.0.1:{port}")
    trackmllib.autolog(wait=False)
    mlflow_autolog()
    model = regression_search(TrainValidationSplit).fit(points)
    holdout = points.select("*")
    predictions = model.transform(holdout)
    assert "_mlflow_run_id" not in vars(model)
    server = start_server(tmp_path, port)
    try:
        evaluator = MulticlassClassificationEvaluator(metricName="accuracy")
        accuracy = evaluator.evaluate(predictions)
        store = Store(f"http://127.0.0.1:{port}", "Default")
        assert store.only_main_run().data.metrics["accuracy_holdout"] == accuracy
        assert run_id_of(model) == store.only_main_run().info.run_id
        # Now MLflow knows the model, without us.
        trackmllib.autolog(disable=True)
        assert run_id_of(model) == store.only_main_run().info.run_id
    finally:
        stop_server(server)


def test_metric_is_lost_without_error_during_outage(points, lenient, mlflow_autolog, caplog):
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    trackmllib.autolog(wait=False, flush_timeout=1)
    mlflow_autolog()
    model = regression_search(TrainValidationSplit).fit(points)
    began = time.monotonic()
    for _ in range(2):
        assert evaluate(model, points) > 0.5
    assert time.monotonic() - began < 20
    of_mlflow = [r.getMessage() for r in caplog.records if r.name.startswith("mlflow")]
    # MLflow's own hint, the first time that its autologging sees a Spark session.
    assert [text for text in of_mlflow if "allowlist" not in text] == []


@pytest.mark.parametrize("wait", [True, False])
def test_last_active_run_is_parent_run(points, any_store, wait):
    with mlflow.start_run():
        pass
    trackmllib.autolog(wait=wait)
    regression_search().fit(points)
    after = mlflow.last_active_run()
    assert after.info.run_id == any_store.main_runs()[-1].info.run_id
    assert after.data.tags.get("trackmllib.search_id")


def test_last_active_run_is_parent_run_of_a_failed_search(points, store):
    trackmllib.autolog()
    with pytest.raises(IllegalArgumentException, match="features"):
        regression_search().fit(points.drop("features"))
    assert mlflow.last_active_run().info.run_id == store.only_main_run().info.run_id
    assert mlflow.last_active_run().info.status == "FAILED"


def test_last_active_run_is_outer_search(points, recorded):
    stub_search(est=SearchingEstimator(stub_search(numFolds=2)), numFolds=2).fit(points)
    assert mlflow.last_active_run().info.run_id == recorded.only_main_run().info.run_id


def test_unrecorded_search_keeps_last_active_run(points, store):
    with mlflow.start_run() as run:
        pass
    trackmllib.autolog(record=False)
    stub_search(numFolds=2).fit(points)
    assert mlflow.last_active_run().info.run_id == run.info.run_id
