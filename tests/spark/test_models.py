"""``log_models`` and ``log_datasets``: the best model and the data, on the main run, on request."""

from __future__ import annotations

import json
import logging
import re
import time

import mlflow
import pytest
from mlflow import MlflowClient
from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.feature import StringIndexer
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder

import trackmllib
from searches import regression_search, stub_search


def pipeline_search(**params):
    """A stage reads the label, for the training alone; the features are a vector."""
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


def predictions(model, data):
    return [row.prediction for row in model.transform(data).select("prediction").collect()]


def warnings_of(caplog):
    return [r.getMessage() for r in caplog.records if r.name == "trackmllib"]


@pytest.mark.parametrize("make", [regression_search, pipeline_search])
def test_the_best_model_is_loaded_and_predicts_the_same(points, any_store, make):
    trackmllib.autolog(log_models="best")
    model = make().fit(points)
    main = any_store.only_main_run()
    assert mlflow.active_run() is None
    uri = f"runs:/{main.info.run_id}/model"
    loaded = mlflow.spark.load_model(uri)
    assert predictions(loaded, points) == predictions(model, points)
    signature = mlflow.models.get_model_info(uri).signature
    inputs = {column.name: str(column.type) for column in signature.inputs}
    assert inputs["features"] == "SparkML vector"
    assert list(inputs) == ["features"]
    assert [column.name for column in signature.outputs] == ["prediction"]
    assert main.info.status == "FINISHED"
    assert not any_store.files(any_store.children(main)[0], "")


def test_no_model_is_logged_without_being_asked_for(points, recorded):
    regression_search().fit(points)
    main = recorded.only_main_run()
    assert recorded.files(main, "") == ["trackmllib"]


def test_an_example_of_rows_only_on_request(points, store):
    trackmllib.autolog(log_models="best", log_input_examples=True)
    regression_search().fit(points)
    main = store.only_main_run()
    example = [name for name in store.files(main, "model") if "example" in name]
    assert example
    info = mlflow.models.get_model_info(f"runs:/{main.info.run_id}/model")
    assert info.saved_input_example_info is not None


@pytest.mark.heavy
def test_two_searches_in_one_run_keep_a_model_each(points, store):
    trackmllib.autolog(log_models="best")
    with mlflow.start_run() as run:
        models = [regression_search(parallelism=p).fit(points) for p in (1, 2)]
    names = [name for name in store.files(store.only_main_run(), "") if name.startswith("model")]
    assert len(names) == 2
    for name, model in zip(sorted(names), models, strict=True):
        loaded = mlflow.spark.load_model(f"runs:/{run.info.run_id}/{name}")
        assert predictions(loaded, points) == predictions(model, points)


@pytest.mark.heavy
def test_the_best_model_is_registered(points, any_store):
    trackmllib.autolog(log_models="best", registered_model_name="bestOfAll")
    model = regression_search().fit(points)
    client = MlflowClient()
    (version,) = client.search_model_versions("name='bestOfAll'")
    assert version.run_id == any_store.only_main_run().info.run_id
    loaded = mlflow.spark.load_model(f"models:/bestOfAll/{version.version}")
    assert predictions(loaded, points) == predictions(model, points)
    client.delete_registered_model("bestOfAll")


def test_a_name_that_the_server_refuses_costs_only_the_registration(
    points, lenient, store, caplog, monkeypatch
):
    """The registry is none; MLflow 3 takes no such name either."""
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "gopher://nowhere")
    trackmllib.autolog(log_models="best", registered_model_name="a/b:c")
    model = regression_search().fit(points)
    main = store.only_main_run()
    loaded = mlflow.spark.load_model(f"runs:/{main.info.run_id}/model")
    assert predictions(loaded, points) == predictions(model, points)
    assert main.info.status == "FINISHED"
    (warning,) = warnings_of(caplog)
    assert "the best model is not registered as 'a/b:c'" in warning


def test_a_model_that_cannot_be_logged_costs_only_itself(points, lenient, store, caplog):
    """The stub is no model of Spark's that can be written."""
    trackmllib.autolog(log_models="best")
    model = stub_search(numFolds=2).fit(points)
    main = store.only_main_run()
    assert main.info.status == "FINISHED"
    averages = [c.data.metrics["avg_stub"] for c in store.children(main)]
    assert averages == model.avgMetrics
    assert "results.csv" in store.files(main)
    (warning,) = warnings_of(caplog)
    assert "the best model is not logged: " in warning


@pytest.mark.heavy
def test_all_models_lie_on_their_child_runs(points, store, caplog):
    caplog.set_level(logging.WARNING, "trackmllib")
    trackmllib.autolog(log_models="all")
    regression_search(parallelism=2).fit(points)
    main = store.only_main_run()
    for child in store.children(main):
        names = [name for name in store.files(child, "") if name.startswith("model")]
        assert names == ["model_fold_0", "model_fold_1"]
        loaded = mlflow.spark.load_model(f"runs:/{child.info.run_id}/model_fold_0")
        reg = float(child.data.params["regParam"])
        assert loaded.stages[0].getRegParam() == reg
        assert len(store.history(child, "logLoss")) == 2
    assert "model" in store.files(main, "")
    (line,) = warnings_of(caplog)
    assert line.startswith('log_models="all" keeps the 6 models of this search: the first one ')
    first, total = map(float, re.findall(r"([\d.]+) KiB", line))
    assert 1 < first < 100
    assert total == pytest.approx(6 * first, rel=0.02)


@pytest.mark.heavy
@pytest.mark.parametrize("parallelism", [1, 2])
def test_models_and_data_change_no_score(points, store, parallelism):
    untracked = regression_search(parallelism=parallelism).fit(points)
    trackmllib.autolog(log_models="all", log_datasets=True)
    tracked = regression_search(parallelism=parallelism).fit(points)
    assert tracked.avgMetrics == untracked.avgMetrics


def test_the_data_is_a_dataset_of_the_main_run(spark, points, any_store, tmp_path):
    trackmllib.autolog(log_datasets=True)
    points.write.parquet(str(tmp_path / "points"))
    data = spark.read.parquet(str(tmp_path / "points"))
    stub_search(numFolds=2).fit(data)
    stub_search(numFolds=2).fit(spark.read.parquet(str(tmp_path / "points")))
    first, second = (run.inputs.dataset_inputs for run in any_store.main_runs())
    (found,) = first
    assert found.dataset.name == "dataset"
    assert {tag.key: tag.value for tag in found.tags} == {"mlflow.data.context": "train"}
    assert found.dataset.source_type == "spark"
    assert json.loads(found.dataset.source)["path"].endswith(f"{tmp_path}/points")
    columns = json.loads(found.dataset.schema)["mlflow_colspec"]
    assert {"name": "fold", "type": "long"} in columns
    assert {"name": "features", "type": "vector"} in columns
    assert found.dataset.digest == second[0].dataset.digest


def test_data_that_is_read_from_no_file_is_of_the_program(points, store):
    trackmllib.autolog(log_datasets=True)
    stub_search(numFolds=2).fit(points)
    (found,) = store.only_main_run().inputs.dataset_inputs
    assert found.dataset.source_type == "code"
    assert "mlflow.source.name" in json.loads(found.dataset.source)["tags"]


def test_the_data_costs_no_spark_job(spark, points, store):
    def jobs(group, **arguments):
        trackmllib.autolog(**arguments)
        spark.sparkContext.setJobGroup(group, group)
        regression_search(parallelism=1).fit(points)
        spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)
        return len(spark.sparkContext.statusTracker().getJobIdsForGroup(group))

    plain = jobs("plain")
    assert plain > 0
    assert jobs("data", log_datasets=True) == plain


def test_no_dataset_is_logged_without_being_asked_for(points, recorded):
    stub_search(numFolds=2).fit(points)
    assert not recorded.only_main_run().inputs.dataset_inputs


def test_a_server_that_is_away_is_waited_for_once(points, lenient, caplog):
    """Not at each cell: a search of many would take hours."""
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    trackmllib.autolog(log_models="all", flush_timeout=5, wait=False)
    began = time.monotonic()
    stub_search(xs=[float(x) for x in range(20)], numFolds=3).fit(points)
    # 60 cells and the winner: 305 s if each of them waited.
    assert time.monotonic() - began < 120
    (warning,) = warnings_of(caplog)
    assert "the best model is not logged: the tracking server does not answer" in warning


def test_a_name_without_a_model_is_one_sentence(points, store, caplog):
    trackmllib.autolog(registered_model_name="best")
    for _ in range(2):
        stub_search(numFolds=2).fit(points)
    assert warnings_of(caplog) == [
        'registered_model_name has an effect only with log_models="best".'
    ]
