"""``log_post_training_metrics``, without MLflow's autologging."""

from __future__ import annotations

import gc
import json
import os
import signal
import time
import weakref

import mlflow
import pytest
from pyspark.ml.classification import LogisticRegression, LogisticRegressionModel
from pyspark.ml.evaluation import Evaluator, MulticlassClassificationEvaluator
from pyspark.ml.tuning import CrossValidatorModel, TrainValidationSplit, TrainValidationSplitModel

import trackmllib
from support.mlflow_reader import Store
from support.mlflow_server import free_port, start_server, stop_server
from support.searches import regression_search, stub_search, stub_split
from support.stubs import Prediction, SearchingEstimator, StubEstimator, StubEvaluator
from trackmllib.support.patching import is_patched

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.versions]


def accuracy_of(predictions, evaluate="evaluate"):
    return getattr(MulticlassClassificationEvaluator(metricName="accuracy"), evaluate)(predictions)


@pytest.fixture
def logging_metrics(store):
    trackmllib.autolog(log_post_training_metrics=True)
    return store


def metrics_of(store, suffix):
    """The metrics of all runs whose keys end so."""
    assert trackmllib.flush(30)
    return {
        key: value
        for run in store.runs()
        for key, value in run.data.metrics.items()
        if key.endswith(suffix)
    }


@pytest.mark.slow
@pytest.mark.parametrize("attribute", [None, "bestModel"])
def test_metric_of_a_holdout_is_on_the_parent_run(points, any_store, attribute):
    trackmllib.autolog(log_post_training_metrics=True)
    model = regression_search(TrainValidationSplit).fit(points)
    holdout = points.select("*")
    accuracy = accuracy_of((getattr(model, attribute) if attribute else model).transform(holdout))
    assert accuracy == accuracy_of(model.bestModel._transform(holdout))
    assert trackmllib.flush(30)
    parent = any_store.only_parent_run()
    assert parent.data.metrics["accuracy_holdout"] == accuracy
    assert any_store.history(parent, "accuracy_holdout") == [(0, accuracy)]
    assert parent.info.status == "FINISHED"
    info = any_store.json(parent, "metric_info.json")["accuracy_holdout"]
    assert info["evaluator_class"].endswith(".MulticlassClassificationEvaluator")
    assert info["params"]["metricName"] == "accuracy"


def test_names_follow_mlflows_rules(points, logging_metrics):
    model, other = (stub_split().fit(points) for _ in range(2))
    evaluator = StubEvaluator()

    class Named(StubEvaluator):
        def getMetricName(self):
            return "f1"

    train, test = Prediction(0, 0, "a"), Prediction(0, 0, "b")

    found = {}
    found["stub_train"] = evaluator.evaluate(model.transform(train))
    found["stub-2_train"] = evaluator.evaluate(model.transform(train))
    found["stub-3_test"] = evaluator.evaluate(model.transform(dataset=test))
    found["f1_test"] = Named().evaluate(model.transform(test), {})
    train = Prediction(0, 0, "another")
    found["stub-4_train-2"] = evaluator.evaluate(dataset=model.transform(train))
    found["stub-5_unknown_dataset"] = evaluator.evaluate(model.transform(Prediction(0, 0, "c")))
    found["renamed_train-2"] = evaluator.evaluate(
        model.transform(train), {evaluator.metricName: "renamed"}
    )
    of_other = evaluator.evaluate(other.transform(train))
    assert trackmllib.flush(30)
    first, second = logging_metrics.parent_runs()
    ours = {key: value for key, value in first.data.metrics.items() if value in found.values()}
    assert {k: v for k, v in ours.items() if not k.startswith("best_")} == found
    assert second.data.metrics["stub_train"] == of_other
    infos = logging_metrics.json(first, "metric_info.json")
    assert sorted(infos) == sorted(found)
    assert infos["renamed_train-2"]["params"]["metricName"] == "renamed"


def test_searches_in_one_run_number_their_metrics_together(points, logging_metrics):
    holdout = Prediction(0, 0, "a")
    with mlflow.start_run():
        values = [
            StubEvaluator().evaluate(stub_split().fit(points).transform(holdout)) for _ in "12"
        ]
    found = metrics_of(logging_metrics, "_holdout")
    assert found == dict(zip(("stub_holdout", "stub-2_holdout"), values, strict=True))


@pytest.mark.slow
def test_names_in_one_run_are_unique_with_mlflows(points, logging_metrics, mlflow_autolog):
    mlflow_autolog()
    holdout = Prediction(0, 0, "a")
    evaluator = StubEvaluator()
    with mlflow.start_run():
        models = [StubEstimator().fit(points), stub_split().fit(points)]
        values = [evaluator.evaluate(model.transform(holdout)) for model in models * 2]
    keys = ("stub_holdout", "stub-2_holdout", "stub-3_holdout", "stub-4_holdout")
    assert metrics_of(logging_metrics, "_holdout") == dict(zip(keys, values, strict=True))
    infos = logging_metrics.json(logging_metrics.only_parent_run(), "metric_info.json")
    assert sorted(infos) == sorted(keys)


def test_metric_after_the_end_of_the_users_run(points, logging_metrics, logged_warnings):
    with mlflow.start_run():
        model = stub_split().fit(points)
    time.sleep(0.01)
    holdout = Prediction(0, 0, "a")
    value = StubEvaluator().evaluate(model.transform(holdout))
    assert metrics_of(logging_metrics, "_holdout") == {"stub_holdout": value}
    assert logging_metrics.only_parent_run().info.status == "FINISHED"
    assert logged_warnings() == []


def test_secrets_of_an_evaluator_are_hidden(points, logging_metrics):
    from pyspark.ml.param import Param, Params

    class WithSecret(StubEvaluator):
        apiKey = Param(Params._dummy(), "apiKey", "a secret by its name")

    evaluator = WithSecret()
    evaluator._set(apiKey="s3cr3t")
    holdout = Prediction(0, 0, "a")
    evaluator.evaluate(stub_split().fit(points).transform(holdout))
    assert trackmllib.flush(30)
    text = logging_metrics.text(logging_metrics.only_parent_run(), "metric_info.json")
    assert json.loads(text)["stub_holdout"]["params"]["apiKey"] == "***"


@pytest.mark.parametrize("off", [{}, {"log_post_training_metrics": False}, {"record": False}])
def test_nothing_is_patched_or_logged_unless_requested(points, store, off):
    if "record" in off:
        off = {**off, "log_post_training_metrics": True}
    trackmllib.autolog(**off)
    model = stub_split().fit(points)
    assert not is_patched(TrainValidationSplitModel.transform)
    assert not is_patched(StubEvaluator.evaluate)
    holdout = Prediction(0, 0, "a")
    StubEvaluator().evaluate(model.transform(holdout))
    assert metrics_of(store, "_holdout") == {}


def test_conf_key_switches_on_metrics_of_one_search(points, spark, recorded):
    spark.conf.set("spark.trackmllib.logPostTrainingMetrics", "true")
    try:
        model = stub_split().fit(points)
    finally:
        spark.conf.unset("spark.trackmllib.logPostTrainingMetrics")
    holdout = Prediction(0, 0, "a")
    StubEvaluator().evaluate(model.transform(holdout))
    stub_split().fit(points)
    assert list(metrics_of(recorded, "_holdout")) == ["stub_holdout"]


def test_disable_removes_all_patches(points, logging_metrics):
    model = stub_split().fit(points)
    assert is_patched(TrainValidationSplitModel.transform)
    assert is_patched(StubEvaluator.evaluate)
    trackmllib.autolog(disable=True)
    assert not is_patched(TrainValidationSplitModel.transform)
    assert "transform" not in vars(TrainValidationSplitModel)
    assert not is_patched(StubEvaluator.evaluate)
    assert "evaluate" not in vars(StubEvaluator)
    assert "__init_subclass__" not in vars(Evaluator)
    trackmllib.autolog(log_post_training_metrics=True)
    holdout = Prediction(0, 0, "a")
    StubEvaluator().evaluate(model.transform(holdout))
    stub_split().fit(points)
    assert metrics_of(logging_metrics, "_holdout") == {}


@pytest.mark.slow
def test_patches_survive_mlflows_autologging(points, logging_metrics, mlflow_autolog):
    """MLflow replaces functions of the base classes, and restores them."""
    values = []
    evaluator, model = StubEvaluator(), stub_split().fit(points)
    holdout = Prediction(0, 0, "a")
    for switch in (mlflow_autolog, mlflow_autolog, lambda: mlflow.pyspark.ml.autolog(disable=True)):
        switch()
        values.append(evaluator.evaluate(model.transform(holdout)))
    keys = ("stub_holdout", "stub-2_holdout", "stub-3_holdout")
    assert metrics_of(logging_metrics, "_holdout") == dict(zip(keys, values, strict=True))


def test_neither_model_nor_data_is_kept_alive(points, logging_metrics):
    def references():
        # Up to Python 3.12, MLflow's search for variables keeps them until this function returns.
        model = stub_split().fit(points)
        holdout = Prediction(0, 0, "a")
        predictions = model.transform(holdout)
        StubEvaluator().evaluate(predictions)
        return [weakref.ref(each) for each in (model, model.bestModel, holdout, predictions)]

    found = references()
    gc.collect()
    assert [reference() for reference in found] == [None] * 4


def test_evaluations_within_a_search_are_not_post_training(points, logging_metrics):
    first = stub_split().fit(points)
    holdout = Prediction(0, 0, "a")

    class Stacking(StubEstimator):
        def _fit(self, dataset):
            StubEvaluator().evaluate(first.transform(holdout))
            return super()._fit(dataset)

    stub_search(TrainValidationSplit, est=Stacking()).fit(points)
    stub_search(TrainValidationSplit, est=SearchingEstimator(stub_split())).fit(points)
    assert metrics_of(logging_metrics, "_holdout") == {}


def test_inner_evaluation_of_an_evaluator_does_not_count(points, logging_metrics):
    class Outer(StubEvaluator):
        def _evaluate(self, prediction):
            return StubEvaluator().evaluate(prediction)

        def getMetricName(self):
            return "outer"

    holdout = Prediction(0, 0, "a")
    Outer().evaluate(stub_split().fit(points).transform(holdout))
    assert list(metrics_of(logging_metrics, "_holdout")) == ["outer_holdout"]


def test_errors_of_transform_and_evaluate_are_the_users(points, logging_metrics):
    class Broken(StubEvaluator):
        def _evaluate(self, prediction):
            raise KeyError("mine")

    class Vector(StubEvaluator):
        def _evaluate(self, prediction):
            return [0.5]

    model = stub_split().fit(points)
    holdout = Prediction(0, 0, "a")
    predictions = model.transform(holdout)
    with pytest.raises(KeyError, match="mine"):
        Broken().evaluate(predictions)
    with pytest.raises(TypeError):
        model.transform()
    assert Vector().evaluate(predictions) == [0.5]
    assert metrics_of(logging_metrics, "_holdout") == {}
    value = StubEvaluator().evaluate(predictions)
    assert metrics_of(logging_metrics, "_holdout") == {"stub_holdout": value}


def test_our_error_does_not_reach_the_user(points, logging_metrics, lenient, logged_warnings):
    class Strange(StubEvaluator):
        def evaluate(self, dataset, *, strictly):
            return 0.5

        @property
        def params(self):
            raise RuntimeError("not a Spark evaluator")

        _paramMap = property(params.fget)

    trackmllib.autolog(log_post_training_metrics=True)
    model = stub_split().fit(points)
    holdout = Prediction(0, 0, "a")
    predictions = model.transform(holdout)
    evaluator = object.__new__(Strange)
    assert evaluator.evaluate(predictions, strictly=True) == 0.5
    (warning,) = logged_warnings()
    assert "logging a post-training metric failed" in warning
    assert metrics_of(logging_metrics, "_holdout") == {}


@pytest.mark.slow
def test_metrics_take_no_spark_job(points, spark, store):
    def jobs(**options):
        trackmllib.autolog(**options)
        model = regression_search(TrainValidationSplit).fit(points)
        scheduler = spark.sparkContext._jsc.sc().dagScheduler()
        before = scheduler.numTotalJobs()
        holdout = points.select("*")
        value = accuracy_of(model.transform(holdout))
        return value, scheduler.numTotalJobs() - before

    stock = jobs(log_post_training_metrics=False)
    assert jobs(log_post_training_metrics=True, log_datasets=True) == stock
    assert metrics_of(store, "_holdout") == {"accuracy_holdout": stock[0]}


@pytest.mark.slow
def test_data_is_logged_with_log_datasets(points, store):
    trackmllib.autolog(log_post_training_metrics=True, log_datasets=True)
    model = regression_search(TrainValidationSplit).fit(points)
    holdout = points.select("*")
    accuracy_of(model.transform(holdout))
    assert trackmllib.flush(30)
    inputs = store.only_parent_run().inputs.dataset_inputs
    assert sorted(each.tags[0].value for each in inputs) == ["eval", "train"]
    (predicted,) = [each.dataset for each in inputs if each.tags[0].value == "eval"]
    assert "prediction" in predicted.schema


@pytest.mark.slow
def test_loaded_model_is_unknown(points, logging_metrics, tmp_path):
    model = regression_search(TrainValidationSplit).fit(points)
    model.bestModel.write().save(f"{tmp_path}/model")
    loaded = LogisticRegressionModel.load(f"{tmp_path}/model")
    holdout = points.select("*")
    accuracy_of(loaded.transform(holdout))
    accuracy_of(LogisticRegression(maxIter=1).fit(points).transform(holdout))
    assert metrics_of(logging_metrics, "_holdout") == {}


@pytest.mark.slow
@pytest.mark.parametrize("on_idle_machine", [False, pytest.param(True, marks=pytest.mark.timed)])
def test_evaluate_does_not_wait_for_a_server_that_is_down(points, tmp_path, on_idle_machine):
    port = free_port()
    server = start_server(tmp_path, port)
    mlflow.set_tracking_uri(f"http://127.0.0.1:{port}")
    trackmllib.autolog(log_post_training_metrics=True)
    model = regression_search(TrainValidationSplit).fit(points)
    holdout = points.select("*")
    predictions = model.transform(holdout)
    began = time.monotonic()
    stock = accuracy_of(predictions, "_evaluate")
    of_stock = time.monotonic() - began
    os.killpg(server.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        values = [accuracy_of(predictions) for _ in range(3)]
        # A request to a stopped server takes MLflow's two minutes.
        assert time.monotonic() - began < (3 * of_stock + 1 if on_idle_machine else 60)
        assert values == [stock] * 3
        assert not trackmllib.flush(0.1)
    finally:
        os.killpg(server.pid, signal.SIGCONT)
    try:
        assert trackmllib.flush(60)
        parent = Store(f"http://127.0.0.1:{port}", "Default").only_parent_run()
        keys = {"accuracy_holdout", "accuracy-2_holdout", "accuracy-3_holdout"}
        assert {key: parent.data.metrics.get(key) for key in keys} == dict.fromkeys(keys, stock)
        assert parent.info.status == "FINISHED"
    finally:
        stop_server(server)


@pytest.mark.slow
def test_search_is_kept_as_long_as_its_model(points, session):
    trackmllib.autolog(log_post_training_metrics=True)

    def evaluate():
        model, evaluator = stub_split().fit(points), StubEvaluator()
        holdout = Prediction(0, 0, "a")
        for _ in range(3):
            evaluator.evaluate(model.transform(holdout))
            assert trackmllib.flush(30)
        (search,) = session.searches.all()
        return search.search_id

    first = evaluate()
    gc.collect()
    model = stub_split().fit(points)
    assert model is not None
    assert first not in [search.search_id for search in session.searches.all()]


def test_cross_validator_subclass_models_are_watched(points, logging_metrics):
    class Mine(CrossValidatorModel):
        pass

    class Tuner(TrainValidationSplit):
        def _fit(self, dataset):
            model = super()._fit(dataset)
            return Mine(model.bestModel)

    model = stub_search(Tuner).fit(points)
    holdout = Prediction(0, 0, "a")
    value = StubEvaluator().evaluate(model.transform(holdout))
    assert metrics_of(logging_metrics, "_holdout") == {"stub_holdout": value}
