"""The parent run and its contents."""

from __future__ import annotations

import json
import os
import platform

import mlflow
import pyspark
import pytest
from pyspark.ml import Pipeline
from pyspark.ml.classification import DecisionTreeClassifier, LogisticRegression
from pyspark.ml.evaluation import BinaryClassificationEvaluator, MulticlassClassificationEvaluator
from pyspark.ml.feature import StringIndexer
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder, TrainValidationSplit

import trackmllib
from support.searches import stub_search
from support.stubs import StubEstimator, StubEvaluator

pytestmark = [pytest.mark.versions, pytest.mark.matrix, pytest.mark.postgres]


def test_active_run_is_the_parent_run_and_stays_active(points, any_store):
    trackmllib.autolog()
    with mlflow.start_run(run_name="mine") as run:
        mlflow.log_param("before", "b")
        stub_search().fit(points)
        assert mlflow.active_run().info.run_id == run.info.run_id
        assert any_store.client.get_run(run.info.run_id).info.status == "RUNNING"
        mlflow.set_tag("after", "a")
    parent = any_store.only_parent_run()
    assert parent.info.run_id == run.info.run_id
    assert parent.info.run_name == "mine"
    assert parent.info.status == "FINISHED"
    assert parent.data.params["before"] == "b"
    assert parent.data.tags["after"] == "a"
    assert len(any_store.children(parent)) == 3


def test_new_run_is_created_and_ended_without_an_active_run(points, any_store):
    trackmllib.autolog()
    stub_search().fit(points)
    assert mlflow.active_run() is None
    parent = any_store.only_parent_run()
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "CrossValidator: StubEstimator"
    assert parent.data.tags["mlflow.user"]
    assert len(any_store.children(parent)) == 3


def test_new_run_is_created_where_the_environment_says(points, store, monkeypatch, tmp_path):
    uri = f"sqlite:///{tmp_path}/other.db"
    mlflow.set_tracking_uri(None)
    mlflow.tracking.fluent._active_experiment_id = None
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "by name")
    trackmllib.autolog()
    stub_search().fit(points)
    client = mlflow.MlflowClient(uri)
    by_name = client.get_experiment_by_name("by name").experiment_id
    assert len(client.search_runs([by_name])) == 4

    other = client.create_experiment("by id")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", other)
    stub_search().fit(points)
    assert len(client.search_runs([other])) == 4

    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID")
    stub_search().fit(points)
    assert len(client.search_runs(["0"])) == 4


def test_default_store_is_mlflows_own(points, store, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(None)
    mlflow.tracking.fluent._active_experiment_id = None
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    trackmllib.autolog()
    stub_search().fit(points)
    assert len(mlflow.MlflowClient().search_runs(["0"])) == 4


@pytest.mark.slow
def test_uri_and_experiment_are_fixed_at_the_start(points, store, monkeypatch, tmp_path):
    other_folder = tmp_path / "elsewhere"
    other_folder.mkdir()

    def change(prediction):
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/later.db")
        mlflow.set_experiment("later")
        os.chdir(other_folder)

    relative = "sqlite:///relative.db"
    mlflow.set_tracking_uri(relative)
    mlflow.set_experiment("relative")
    absolute = f"sqlite:///{tmp_path}/relative.db"
    trackmllib.autolog()
    search = stub_search()
    search.getEvaluator().call = change
    search.fit(points)
    client = mlflow.MlflowClient(absolute)
    experiment = client.get_experiment_by_name("relative").experiment_id
    assert len(client.search_runs([experiment])) == 4
    later = mlflow.MlflowClient(f"sqlite:///{tmp_path}/later.db")
    assert later.search_runs([later.get_experiment_by_name("later").experiment_id]) == []


def test_run_of_the_environment_is_used_as_by_start_run(points, recorded, monkeypatch):
    run = recorded.client.create_run(recorded.experiment_id, run_name="given")
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    stub_search().fit(points)
    assert os.environ["MLFLOW_RUN_ID"] == run.info.run_id
    parent = recorded.only_parent_run()
    assert parent.info.run_id == run.info.run_id
    assert parent.info.status == "FINISHED"
    assert len(recorded.children(parent)) == 3
    stub_search().fit(points)
    assert len(recorded.parent_runs()) == 2


def test_start_run_in_fit_does_not_resume_run_of_environment(points, recorded, monkeypatch):
    def start(*_):
        with mlflow.start_run(run_name="mine"):
            pass

    run = recorded.client.create_run(recorded.experiment_id, run_name="given")
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    search = stub_search()
    search.getEvaluator().call = start
    search.fit(points)
    parent = recorded.only_parent_run()
    assert (parent.info.run_id, parent.info.status) == (run.info.run_id, "FINISHED")
    started = [run for run in recorded.runs() if run.info.run_name == "mine"]
    children = {child.info.run_id for child in recorded.children(parent)}
    assert started
    assert {run.data.tags["mlflow.parentRunId"] for run in started} <= children


def test_parent_run_has_every_param_of_the_tuner_with_defaults(points, recorded):
    search = stub_search(numFolds=2, parallelism=3, seed=11)
    search.fit(points)
    params = recorded.only_parent_run().data.params
    assert {k: params[k] for k in ("numFolds", "parallelism", "seed", "collectSubModels")} == {
        "numFolds": "2",
        "parallelism": "3",
        "seed": "11",
        "collectSubModels": "False",
    }
    assert params["foldCol"] == ""
    assert params["estimator"] == "StubEstimator"
    assert params["evaluator"] == "StubEvaluator"
    assert params["metric"] == "stub"
    assert params["candidates"] == "3"
    assert "evaluator.metricName" not in params
    assert params["best_x"] == "3.0"


def test_default_seed_is_recorded(points, recorded):
    search = stub_search()
    search.fit(points)
    assert recorded.only_parent_run().data.params["seed"] == str(search.getSeed())


def test_split_has_a_train_ratio_and_no_folds(points, recorded):
    stub_search(kind=TrainValidationSplit, trainRatio=0.6).fit(points)
    parent = recorded.only_parent_run()
    assert parent.data.params["trainRatio"] == "0.6"
    assert "numFolds" not in parent.data.params
    assert "best_stub" in parent.data.metrics
    assert "best_avg_stub" not in parent.data.metrics


@pytest.mark.slow
def test_names_of_pipelines_and_evaluators(points, recorded):
    tree = DecisionTreeClassifier(labelCol="index")
    pipeline = Pipeline(stages=[StringIndexer(inputCol="label", outputCol="index"), tree])
    evaluator = MulticlassClassificationEvaluator(
        labelCol="index", metricName="weightedPrecision", predictionCol="prediction"
    )
    grid = ParamGridBuilder().addGrid(tree.maxDepth, [1, 2]).build()
    model = CrossValidator(
        estimator=pipeline, estimatorParamMaps=grid, evaluator=evaluator, numFolds=2
    ).fit(points)
    parent = recorded.only_parent_run()
    params, metrics = parent.data.params, parent.data.metrics
    assert params["estimator"] == "Pipeline(StringIndexer, DecisionTreeClassifier)"
    assert params["metric"] == "weightedPrecision"
    given = {k: v for k, v in params.items() if k.startswith("evaluator.")}
    assert given == {
        "evaluator.labelCol": "index",
        "evaluator.metricName": "weightedPrecision",
    }
    assert metrics["best_avg_weightedPrecision"] == max(model.avgMetrics)
    assert metrics["fits_finished"] == 4
    assert metrics["candidates_finished"] == 2
    assert metrics["refit_seconds"] > 0
    description = recorded.json(parent, "trackmllib/search.json")
    stages = description["estimator"]["stages"]
    assert [stage["class"].rpartition(".")[2] for stage in stages] == [
        "StringIndexer",
        "DecisionTreeClassifier",
    ]
    assert stages[1]["params"]["impurity"] == "gini"
    assert stages[1]["not_default"] == ["labelCol"]


def test_fits_finished_is_a_live_series(points, recorded):
    stub_search(numFolds=2).fit(points)
    parent = recorded.only_parent_run()
    assert recorded.history(parent, "fits_finished") == [(n, float(n)) for n in range(1, 7)]
    assert recorded.history(parent, "candidates_finished") == [(4, 1.0), (5, 2.0), (6, 3.0)]


def test_tags_describe_the_search_and_versions(points, recorded):
    stub_search().fit(points)
    tags = recorded.only_parent_run().data.tags
    assert len(tags["trackmllib.search_id"]) == 36
    assert tags["trackmllib.version"] == trackmllib.__version__
    assert tags["trackmllib.spark_version"] == pyspark.__version__
    assert tags["trackmllib.python_version"] == platform.python_version()
    assert tags["trackmllib.application_id"] == points.sparkSession.sparkContext.applicationId
    assert tags["trackmllib.larger_is_better"] == "true"


def test_artifacts_describe_the_search_and_its_results(points, any_store):
    trackmllib.autolog()
    search = stub_search(numFolds=2)
    model = search.fit(points)
    parent = any_store.only_parent_run()
    assert any_store.files(parent) == [
        "best_params.json",
        "outcome.json",
        "results.csv",
        "search.json",
    ]
    description = any_store.json(parent, "trackmllib/search.json")
    assert description["search_id"] == parent.data.tags["trackmllib.search_id"]
    assert description["estimator"]["class"] == "support.stubs.StubEstimator"
    assert description["estimator"]["params"] == {"fitSeconds": 0.0, "x": 0.0, "y": 0.0}
    assert description["evaluator"]["class"] == "support.stubs.StubEvaluator"
    assert description["tuner"]["params"]["numFolds"] == 2
    assert [c["params"] for c in description["grid"]["candidates"]] == [
        {"x": 1.0},
        {"x": 2.0},
        {"x": 3.0},
    ]
    assert {"name": "label", "type": "double"} in description["schema"]
    assert any_store.json(parent, "trackmllib/best_params.json") == {"x": 3.0}

    rows = any_store.results(parent)
    assert [row["candidate"] for row in rows] == ["0", "1", "2"]
    assert [row["params.x"] for row in rows] == ["1.0", "2.0", "3.0"]
    assert {row["status"] for row in rows} == {"FINISHED"}
    assert [float(row["average"]) for row in rows] == list(model.avgMetrics)
    assert [float(row["deviation"]) for row in rows] == list(model.stdMetrics)
    returned = search.getEvaluator().returned
    for row in rows:
        of_row = [score for x, score in returned if str(x) == row["params.x"]]
        assert [float(row["fold_0"]), float(row["fold_1"])] == of_row
        assert float(row["seconds"]) > 0


def test_record_has_no_row_of_the_data(points, recorded):
    stub_search().fit(points)
    parent = recorded.only_parent_run()
    text = recorded.text(parent, "trackmllib/search.json")
    assert json.loads(text)["schema"] == [
        {"name": name, "type": kind} for name, kind in points.dtypes
    ]


def test_failed_search_has_its_artifacts(points, recorded):
    est = StubEstimator(fail={3.0: ValueError("boom")})
    grid = ParamGridBuilder().addGrid(est.x, [1.0, 2.0, 3.0]).build()
    split = TrainValidationSplit(estimator=est, estimatorParamMaps=grid, evaluator=StubEvaluator())
    with pytest.raises(ValueError, match="boom"):
        split.fit(points)
    parent = recorded.only_parent_run()
    assert set(recorded.files(parent)) >= {"best_params.json", "results.csv", "search.json"}
    rows = recorded.results(parent)
    assert [row["status"] for row in rows] == ["FINISHED", "FINISHED", "FAILED"]
    assert rows[2]["average"] == ""
    assert recorded.json(parent, "trackmllib/best_params.json") == {"x": 2.0}


@pytest.mark.slow
def test_smaller_is_better_is_recorded(points, recorded):
    est = LogisticRegression(maxIter=2)
    grid = ParamGridBuilder().addGrid(est.regParam, [0.0, 5.0]).build()
    evaluator = MulticlassClassificationEvaluator(metricName="logLoss")
    model = TrainValidationSplit(estimator=est, estimatorParamMaps=grid, evaluator=evaluator).fit(
        points
    )
    parent = recorded.only_parent_run()
    assert parent.data.tags["trackmllib.larger_is_better"] == "false"
    assert parent.data.metrics["best_logLoss"] == min(model.validationMetrics)


@pytest.mark.slow
def test_metric_of_a_java_evaluator_has_its_name(points, recorded):
    est = LogisticRegression(maxIter=1)
    CrossValidator(
        estimator=est,
        estimatorParamMaps=[{}],
        evaluator=BinaryClassificationEvaluator(metricName="areaUnderPR"),
        numFolds=2,
    ).fit(points)
    assert "best_avg_areaUnderPR" in recorded.only_parent_run().data.metrics
