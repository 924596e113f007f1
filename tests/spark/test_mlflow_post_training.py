"""Beside MLflow's own autologging: post-training metrics and the last active run."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from unittest import mock

import mlflow
import mlflow.pyspark.ml
import pytest
from pyspark.errors import IllegalArgumentException
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit

import trackmllib
from support.mlflow_reader import Store
from support.mlflow_server import free_port, start_server, stop_server
from support.searches import regression_search, stub_search
from support.stubs import SearchingEstimator, StubEvaluator

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]


def evaluate(model, points):
    # MLflow names the metric after the variable, not after an argument.
    holdout = points.select("*")
    evaluator = MulticlassClassificationEvaluator(metricName="accuracy")
    metric = evaluator.evaluate(model.transform(holdout))
    assert trackmllib.flush(10)
    return metric


def run_id_of(model, store):
    """The run on which the metric of an evaluation of a stub's model is logged."""
    holdout = SimpleNamespace()
    value = StubEvaluator(seed=id(model)).evaluate(model.transform(holdout))
    assert trackmllib.flush(10)
    found = [r.info.run_id for r in store.runs() if value in r.data.metrics.values()]
    return found[0] if found else None


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
    parent = any_store.only_parent_run()
    assert parent.data.metrics["accuracy_holdout"] == accuracy
    assert any_store.history(parent, "accuracy_holdout") == [(0, accuracy)]
    assert not [r for r in caplog.records if "autologging" in r.getMessage()]


def test_mlflow_itself_logs_no_metric_of_a_search(points, store, mlflow_autolog):
    """Otherwise the metric would be logged twice, and with requests in ``evaluate()``."""
    trackmllib.autolog()
    mlflow_autolog()
    manager = "mlflow.pyspark.ml._AutologgingMetricsManager"
    with mock.patch(f"{manager}.log_post_training_metric") as log, mlflow.start_run():
        model = regression_search().fit(points)
        evaluate(model, points)
    log.assert_not_called()
    assert "_mlflow_run_id" not in vars(model)
    assert "accuracy_holdout" in store.only_parent_run().data.metrics


def test_each_model_of_several_searches_has_its_own_parent_run(points, store, mlflow_autolog):
    trackmllib.autolog()
    mlflow_autolog()
    models = [regression_search(TrainValidationSplit).fit(points) for _ in range(2)]
    evaluate(models[1], points)
    first, second = store.parent_runs()
    assert "accuracy_holdout" not in first.data.metrics
    assert "accuracy_holdout" in second.data.metrics


def test_inner_search_logs_no_metric(points, store, mlflow_autolog):
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
    assert run_id_of(outer, store) == store.only_parent_run().info.run_id
    assert models
    assert [run_id_of(model, store) for model in models] == [None] * len(models)


def test_metric_of_a_tuner_with_its_own_fit(points, store, mlflow_autolog):
    class Own(TrainValidationSplit):
        def fit(self, dataset, params=None):
            return super().fit(dataset, params)

    trackmllib.autolog()
    mlflow_autolog()
    model = stub_search(Own).fit(points)
    assert run_id_of(model, store) == store.only_parent_run().info.run_id


@pytest.mark.parametrize("options", [None, {"disable": True}, {"log_post_training_metrics": False}])
def test_nothing_is_logged_without_post_training_metrics_of_mlflow(
    points, store, mlflow_autolog, options
):
    trackmllib.autolog()
    if options is not None:
        mlflow_autolog(**options)
    model = stub_search(TrainValidationSplit).fit(points)
    assert run_id_of(model, store) is None


def test_exclusive_autologging_does_not_log_to_run_of_user(points, store, mlflow_autolog):
    trackmllib.autolog()
    mlflow_autolog(exclusive=True)
    with mlflow.start_run():
        model = stub_search(TrainValidationSplit).fit(points)
    assert run_id_of(model, store) is None
    model = stub_search(TrainValidationSplit).fit(points)
    assert run_id_of(model, store) == store.parent_runs()[-1].info.run_id


def test_metric_is_logged_after_an_outage(points, tmp_path, mlflow_autolog, caplog):
    port = free_port()
    mlflow.set_tracking_uri(f"http://127.0.0.1:{port}")
    trackmllib.autolog(wait=False)
    mlflow_autolog()
    model = regression_search(TrainValidationSplit).fit(points)
    holdout = points.select("*")
    evaluator = MulticlassClassificationEvaluator(metricName="accuracy")
    accuracy = evaluator.evaluate(model.transform(holdout))
    server = start_server(tmp_path, port)
    try:
        assert trackmllib.flush(30)
        parent = Store(f"http://127.0.0.1:{port}", "Default").only_parent_run()
        assert parent.data.metrics["accuracy_holdout"] == accuracy
    finally:
        stop_server(server)
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
    assert after.info.run_id == any_store.parent_runs()[-1].info.run_id
    assert after.data.tags.get("trackmllib.search_id")


def test_last_active_run_is_parent_run_of_a_failed_search(points, store):
    trackmllib.autolog()
    with pytest.raises(IllegalArgumentException, match="features"):
        regression_search().fit(points.drop("features"))
    assert mlflow.last_active_run().info.run_id == store.only_parent_run().info.run_id
    assert mlflow.last_active_run().info.status == "FAILED"


def test_last_active_run_is_outer_search(points, recorded):
    stub_search(est=SearchingEstimator(stub_search(numFolds=2)), numFolds=2).fit(points)
    assert mlflow.last_active_run().info.run_id == recorded.only_parent_run().info.run_id


def test_unrecorded_search_keeps_last_active_run(points, store):
    with mlflow.start_run() as run:
        pass
    trackmllib.autolog(record=False)
    stub_search(numFolds=2).fit(points)
    assert mlflow.last_active_run().info.run_id == run.info.run_id
