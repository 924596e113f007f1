"""Logged models of MLflow 3: their params, and the scores that rank them."""

from __future__ import annotations

import mlflow
import pytest
from mlflow import MlflowClient
from pyspark.ml.tuning import TrainValidationSplit

import trackmllib
from support.faulty_proxy import Answer, Proxy
from support.mlflow_reader import Store
from support.searches import regression_search

pytestmark = [pytest.mark.slow, pytest.mark.versions]

HAS_LOGGED_MODELS = hasattr(MlflowClient, "create_logged_model")
of_mlflow_3 = pytest.mark.skipif(not HAS_LOGGED_MODELS, reason="this MLflow has no logged models")


@pytest.fixture(autouse=True)
def store_links_scores(request):
    """On a server with a file store, models have no scores (``test_model_metrics.py``)."""
    if request.config.getoption("--store") == "file-server":
        pytest.skip("scores are not linked")


def models_of(store, order_by=None, **search):
    return list(
        store.client.search_logged_models([store.experiment_id], order_by=order_by, **search)
    )


def scores_of(model):
    return {metric.key: metric.value for metric in model.metrics or ()}


def histories(store, run):
    return {key: store.history(run, key) for key in run.data.metrics}


@of_mlflow_3
def test_refit_model_has_params_and_averages_of_the_winner(points, any_store):
    trackmllib.autolog(log_models="best", log_datasets=True)
    model = regression_search().fit(points)
    parent = any_store.only_parent_run()
    best = any_store.client.get_run(parent.data.tags["trackmllib.best_run_id"])
    (logged,) = models_of(any_store)
    assert logged.name == "model"
    assert logged.source_run_id == parent.info.run_id
    assert logged.params == best.data.params
    winner = int(best.data.tags["trackmllib.candidate"])
    assert scores_of(logged) == {
        "avg_logLoss": model.avgMetrics[winner],
        "std_logLoss": model.stdMetrics[winner],
    }
    (found,) = parent.inputs.dataset_inputs
    for metric in logged.metrics:
        assert metric.dataset_name == found.dataset.name
        assert metric.dataset_digest == found.dataset.digest
    assert [output.model_id for output in parent.outputs.model_outputs] == [logged.model_id]
    assert logged.status == "READY"


@of_mlflow_3
@pytest.mark.parametrize("parallelism", [1, 3])
def test_fold_models_are_ranked_by_the_averages_of_their_candidates(points, any_store, parallelism):
    trackmllib.autolog(log_models="all")
    model = regression_search(parallelism=parallelism).fit(points)
    parent = any_store.only_parent_run()
    children = any_store.children(parent)
    ranked = models_of(any_store, [{"field_name": "metrics.avg_logLoss", "ascending": True}])
    assert len(ranked) == len(children) * 2 + 1
    averages = [scores_of(each)["avg_logLoss"] for each in ranked]
    assert averages == sorted(averages)
    assert averages[0] == min(model.avgMetrics)
    for number, child in enumerate(children):
        scores = dict(any_store.history(child, "logLoss"))
        for fold in (0, 1):
            (logged,) = [
                each
                for each in ranked
                if each.source_run_id == child.info.run_id and each.name == f"model_fold_{fold}"
            ]
            assert logged.params == child.data.params
            expected = {"logLoss": scores[fold], "avg_logLoss": model.avgMetrics[number]}
            assert scores_of(logged) == expected
            loaded = mlflow.spark.load_model(f"models:/{logged.model_id}")
            assert loaded.stages[0].getRegParam() == float(child.data.params["regParam"])


@of_mlflow_3
def test_linking_adds_no_point_to_a_run(points, any_store):
    trackmllib.autolog(log_models="all")
    regression_search().fit(points)
    for child in any_store.children(any_store.only_parent_run()):
        for key, history in histories(any_store, child).items():
            steps = [step for step, _ in history]
            assert sorted(set(steps)) == steps, key
        assert len(any_store.history(child, "avg_logLoss")) == 1
        assert len(any_store.history(child, "logLoss")) == 2


@of_mlflow_3
def test_model_of_a_split_has_its_one_score(points, store):
    trackmllib.autolog(log_models="all")
    cv = regression_search()
    split = TrainValidationSplit(
        estimator=cv.getEstimator(),
        estimatorParamMaps=cv.getEstimatorParamMaps(),
        evaluator=cv.getEvaluator(),
        trainRatio=0.5,
        seed=3,
    )
    model = split.fit(points)
    refits = [each for each in models_of(store) if each.name == "model"]
    assert [scores_of(each) for each in refits] == [{"logLoss": min(model.validationMetrics)}]
    for child in store.children(store.only_parent_run()):
        assert len(store.history(child, "logLoss")) == 1


@of_mlflow_3
def test_models_are_linked_with_late_child_runs(points, store):
    trackmllib.autolog(log_models="best", children="best:1")
    model = regression_search().fit(points)
    (child,) = store.children(store.only_parent_run())
    (logged,) = models_of(store)
    assert scores_of(logged)["avg_logLoss"] == min(model.avgMetrics)
    assert len(store.history(child, "avg_logLoss")) == 1


@of_mlflow_3
def test_secret_params_are_redacted_on_models(points, store):
    trackmllib.autolog(log_models="all", redact="regParam")
    regression_search().fit(points)
    assert {each.params["regParam"] for each in models_of(store)} == {"***"}


@pytest.mark.skipif(HAS_LOGGED_MODELS, reason="this MLflow has logged models")
def test_older_mlflow_has_models_as_artifacts(points, any_store, lenient, logged_warnings):
    trackmllib.autolog(log_models="all", log_datasets=True)
    regression_search().fit(points)
    parent = any_store.only_parent_run()
    assert "model" in any_store.files(parent, "")
    assert "model_fold_1" in any_store.files(any_store.children(parent)[0], "")
    (size,) = logged_warnings()
    assert "so all of them take about" in size


def test_params_of_the_users_run_are_not_those_of_the_model(points, store):
    """The user's param has the name of a param of the grid."""
    trackmllib.autolog(log_models="best")
    with mlflow.start_run() as run:
        mlflow.log_param("regParam", "mine")
        mlflow.log_metric("loss", 1.0, step=0)
        regression_search().fit(points)
    assert store.client.get_run(run.info.run_id).data.params["regParam"] == "mine"
    assert store.history(run, "loss") == [(0, 1.0)]
    if HAS_LOGGED_MODELS:
        (logged,) = models_of(store)
        assert logged.params["regParam"] != "mine"
        assert set(scores_of(logged)) == {"avg_logLoss", "std_logLoss"}


@of_mlflow_3
def test_older_server_has_models_as_artifacts(
    points, server_uri, tmp_path, request, logged_warnings
):
    """A server before MLflow 3 answers with a page that it has no such endpoint."""
    proxy = Proxy(server_uri)
    proxy.disturb = lambda _, path: Answer(404) if "/logged-models" in path else None
    store = Store(server_uri, f"old server: {request.node.name}")
    # The proxy passes on no empty files.
    store.client.create_experiment(store.experiment, (tmp_path / "artifacts").as_uri())
    try:
        mlflow.set_tracking_uri(proxy.uri)
        mlflow.set_experiment(store.experiment)
        trackmllib.autolog(log_models="all", registered_model_name="ofOldServer")
        regression_search().fit(points)
        assert trackmllib.flush(60)
    finally:
        proxy.close()
    parent = store.only_parent_run()
    assert "model" in store.files(parent, "")
    assert "model_fold_1" in store.files(store.children(parent)[0], "")
    assert models_of(store) == []
    (version,) = store.client.search_model_versions("name='ofOldServer'")
    assert version.run_id == parent.info.run_id
    store.client.delete_registered_model("ofOldServer")
    (size,) = logged_warnings()
    assert "so all of them take about" in size
    assert " 0 bytes" not in size
