"""``log_models`` and ``log_datasets``: models and data on the runs of a search."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
import warnings

import mlflow
import pytest
from mlflow import MlflowClient
from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.feature import StringIndexer, VectorAssembler
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder

import trackmllib
from support.searches import regression_search, stub_search

pytestmark = pytest.mark.slow


def pipeline_search(**params):
    """A search in which a stage reads the label, for training only; the features are a vector."""
    est = LogisticRegression(labelCol="index", maxIter=2)
    pipeline = Pipeline(stages=[StringIndexer(inputCol="label", outputCol="index"), est])
    grid = ParamGridBuilder().addGrid(est.regParam, [0.0, 0.1]).build()
    return CrossValidator(
        estimator=pipeline,
        estimatorParamMaps=grid,
        evaluator=BinaryClassificationEvaluator(labelCol="index"),
        numFolds=2,
        seed=1,
        **params,
    )


def integer_column_search():
    """A search whose model reads an integer column, about which MLflow warns."""
    est = LogisticRegression(featuresCol="vector", maxIter=2)
    assembler = VectorAssembler(inputCols=["fold"], outputCol="vector")
    return CrossValidator(
        estimator=Pipeline(stages=[assembler, est]),
        estimatorParamMaps=ParamGridBuilder().addGrid(est.regParam, [0.0, 0.1]).build(),
        evaluator=BinaryClassificationEvaluator(),
        numFolds=2,
        seed=1,
    )


def predictions(model, data):
    return [row.prediction for row in model.transform(data).select("prediction").collect()]


def warnings_of(caplog):
    return [r.getMessage() for r in caplog.records if r.name == "trackmllib"]


@pytest.mark.parametrize("make", [regression_search, pipeline_search])
def test_loaded_best_model_makes_the_same_predictions(points, any_store, make):
    trackmllib.autolog(log_models="best")
    model = make().fit(points)
    parent = any_store.only_parent_run()
    assert mlflow.active_run() is None
    uri = f"runs:/{parent.info.run_id}/model"
    loaded = mlflow.spark.load_model(uri)
    assert predictions(loaded, points) == predictions(model, points)
    signature = mlflow.models.get_model_info(uri).signature
    inputs = {column.name: str(column.type) for column in signature.inputs}
    assert inputs["features"] == "SparkML vector"
    assert list(inputs) == ["features"]
    assert [column.name for column in signature.outputs] == ["prediction"]
    assert parent.info.status == "FINISHED"
    assert not any_store.files(any_store.children(parent)[0], "")
    assert not any_store.models(any_store.children(parent)[0])


def test_no_model_is_logged_by_default(points, recorded):
    regression_search().fit(points)
    parent = recorded.only_parent_run()
    assert recorded.files(parent, "") == ["trackmllib"]
    assert recorded.models(parent) == []


def test_input_example_is_logged_only_on_request(points, store):
    trackmllib.autolog(log_models="best", log_input_examples=True)
    regression_search().fit(points)
    parent = store.only_parent_run()
    example = [name for name in store.files(parent, "model") if "example" in name]
    assert example
    info = mlflow.models.get_model_info(f"runs:/{parent.info.run_id}/model")
    assert info.saved_input_example_info is not None


def test_logging_a_model_never_changes_the_warning_filters(points, store):
    """Not even for a moment, since all threads share the filters."""
    trackmllib.autolog(log_models="best", log_input_examples=True)
    before, seen, done = list(warnings.filters), [], threading.Event()

    def sample():
        while not done.is_set():
            if warnings.filters != before:
                seen.append([each for each in warnings.filters if each not in before])
            time.sleep(0.0001)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        integer_column_search().fit(points)
    finally:
        done.set()
        sampler.join()
    assert seen == []
    assert warnings.filters == before
    uri = f"runs:/{store.only_parent_run().info.run_id}/model"
    signature = mlflow.models.get_model_info(uri).signature
    assert [(column.name, str(column.type)) for column in signature.inputs] == [
        ("fold", "DataType.long")
    ]


def test_two_searches_in_one_run_have_a_model_each(points, store):
    trackmllib.autolog(log_models="best")
    with mlflow.start_run() as run:
        models = [regression_search(parallelism=p).fit(points) for p in (1, 2)]
    names = store.models(store.only_parent_run())
    assert len(names) == 2
    for name, model in zip(sorted(names), models, strict=True):
        loaded = mlflow.spark.load_model(f"runs:/{run.info.run_id}/{name}")
        assert predictions(loaded, points) == predictions(model, points)


def test_best_model_is_registered(points, any_store):
    trackmllib.autolog(log_models="best", registered_model_name="bestOfAll")
    model = regression_search().fit(points)
    client = MlflowClient()
    (version,) = client.search_model_versions("name='bestOfAll'")
    assert version.run_id == any_store.only_parent_run().info.run_id
    loaded = mlflow.spark.load_model(f"models:/bestOfAll/{version.version}")
    assert predictions(loaded, points) == predictions(model, points)
    client.delete_registered_model("bestOfAll")


def test_rejected_name_prevents_only_the_registration(points, lenient, store, caplog, monkeypatch):
    """The registry does not exist, and MLflow 3 rejects such a name."""
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "gopher://nowhere")
    trackmllib.autolog(log_models="best", registered_model_name="a/b:c")
    model = regression_search().fit(points)
    parent = store.only_parent_run()
    loaded = mlflow.spark.load_model(f"runs:/{parent.info.run_id}/model")
    assert predictions(loaded, points) == predictions(model, points)
    assert parent.info.status == "FINISHED"
    (warning,) = warnings_of(caplog)
    assert "the best model is not registered as 'a/b:c'" in warning


def test_model_that_cannot_be_logged_does_not_affect_the_rest(points, lenient, store, caplog):
    """Spark cannot write the stub model."""
    trackmllib.autolog(log_models="best")
    model = stub_search(numFolds=2).fit(points)
    parent = store.only_parent_run()
    assert parent.info.status == "FINISHED"
    averages = [c.data.metrics["avg_stub"] for c in store.children(parent)]
    assert averages == model.avgMetrics
    assert "results.csv" in store.files(parent)
    (warning,) = warnings_of(caplog)
    assert "the best model is not logged: " in warning


def test_all_models_are_on_their_child_runs(points, store, caplog):
    caplog.set_level(logging.WARNING, "trackmllib")
    trackmllib.autolog(log_models="all")
    regression_search(parallelism=2).fit(points)
    parent = store.only_parent_run()
    for child in store.children(parent):
        assert store.models(child) == ["model_fold_0", "model_fold_1"]
        loaded = mlflow.spark.load_model(f"runs:/{child.info.run_id}/model_fold_0")
        reg = float(child.data.params["regParam"])
        assert loaded.stages[0].getRegParam() == reg
        assert len(store.history(child, "logLoss")) == 2
    assert store.models(parent) == ["model"]
    (line,) = warnings_of(caplog)
    assert line.startswith('log_models="all" logs the 6 models of this search: the first one ')
    first, total = map(float, re.findall(r"([\d.]+) KiB", line))
    assert 1 < first < 100
    assert total == pytest.approx(6 * first, rel=0.02)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_logging_models_and_data_changes_no_score(points, store, parallelism):
    untracked = regression_search(parallelism=parallelism).fit(points)
    trackmllib.autolog(log_models="all", log_datasets=True)
    tracked = regression_search(parallelism=parallelism).fit(points)
    assert tracked.avgMetrics == untracked.avgMetrics


def test_data_is_a_dataset_of_all_runs(spark, points, any_store, tmp_path):
    trackmllib.autolog(log_datasets=True)
    points.write.parquet(str(tmp_path / "points"))
    data = spark.read.parquet(str(tmp_path / "points"))
    stub_search(numFolds=2).fit(data)
    stub_search(numFolds=2).fit(spark.read.parquet(str(tmp_path / "points")))
    first, second = (run.inputs.dataset_inputs for run in any_store.parent_runs())
    (found,) = first
    assert found.dataset.name == "dataset"
    assert {tag.key: tag.value for tag in found.tags} == {"mlflow.data.context": "train"}
    assert found.dataset.source_type == "spark"
    assert json.loads(found.dataset.source)["path"].endswith(f"{tmp_path}/points")
    columns = json.loads(found.dataset.schema)["mlflow_colspec"]
    assert {"name": "fold", "type": "long"} in columns
    assert {"name": "features", "type": "vector"} in columns
    assert found.dataset.digest == second[0].dataset.digest
    for child in any_store.children(any_store.parent_runs()[0]):
        (of_child,) = child.inputs.dataset_inputs
        assert of_child.dataset.to_dictionary() == found.dataset.to_dictionary()
        assert {tag.key: tag.value for tag in of_child.tags} == {"mlflow.data.context": "train"}


def test_source_of_data_not_read_from_files_is_the_program(points, store):
    trackmllib.autolog(log_datasets=True)
    stub_search(numFolds=2).fit(points)
    (found,) = store.only_parent_run().inputs.dataset_inputs
    assert found.dataset.source_type == "code"
    assert "mlflow.source.name" in json.loads(found.dataset.source)["tags"]


def test_logging_the_data_runs_no_spark_job(spark, points, store):
    def jobs(group, **arguments):
        trackmllib.autolog(**arguments)
        spark.sparkContext.setJobGroup(group, group)
        regression_search(parallelism=1).fit(points)
        return len(spark.sparkContext.statusTracker().getJobIdsForGroup(group))

    plain = jobs("plain")
    assert plain > 0
    assert jobs("data", log_datasets=True) == plain


def test_no_dataset_is_logged_by_default(points, recorded):
    stub_search(numFolds=2).fit(points)
    assert not any(run.inputs.dataset_inputs for run in recorded.runs())


def test_unreachable_server_is_awaited_once(points, lenient, caplog):
    """A wait at each fit would add hours to a large search."""
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    trackmllib.autolog(log_models="all", flush_timeout=5, wait=False)
    began = time.monotonic()
    stub_search(xs=[float(x) for x in range(20)], numFolds=3).fit(points)
    # 60 fits and the winner: 305 s if each waited.
    assert time.monotonic() - began < 120
    (warning,) = warnings_of(caplog)
    assert "the best model is not logged: the tracking server does not answer" in warning


def test_registered_name_without_models_warns_in_one_sentence(points, store, caplog):
    trackmllib.autolog(registered_model_name="best")
    for _ in range(2):
        stub_search(numFolds=2).fit(points)
    assert warnings_of(caplog) == [
        'registered_model_name has no effect, because no model is logged; set log_models="best".'
    ]
