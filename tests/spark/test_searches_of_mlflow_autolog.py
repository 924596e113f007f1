"""Searches that ``mlflow.autolog()`` switched recording on for."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mlflow
import pytest
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.param import Param
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit

import trackmllib
from support.commands import environ, finished
from support.mlflow_reader import Store
from support.searches import regression_search, stub_search
from support.stubs import StubEstimator, StubEvaluator

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.versions, pytest.mark.matrix]

PROGRAM = Path(__file__).parents[1] / "support/mlflow_autolog_program.py"


@pytest.mark.slow
def test_notebook_with_mlflow_autolog_records_its_search(sqlite_uri):
    env = environ(MLFLOW_TRACKING_URI=sqlite_uri, TRACKMLLIB_STRICT="0")
    done = finished([sys.executable, str(PROGRAM), "notebook", "", "{}"], env, seconds=240)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    assert printed["live"] == 2
    store = Store(sqlite_uri, "notebook")
    parent = store.only_parent_run()
    children = store.children(parent)
    assert [run.info.status for run in (parent, *children)] == ["FINISHED"] * 3
    assert [run.data.metrics["avg_f1"] for run in children] == printed["averages"]
    assert len(store.runs()) == 3
    # As MLflow alone: see test_mlflow_superset.py.
    assert parent.data.tags["mlflow.autologging"] == "pyspark.ml"
    assert {"model", "best_model"} <= {*store.files(parent, "")}
    assert len(parent.inputs.dataset_inputs) == 1


@pytest.mark.slow
def test_search_is_recorded_once(points, store, mlflow_autolog):
    mlflow_autolog()
    with mlflow.start_run() as run:
        model = regression_search(TrainValidationSplit).fit(points)
    parent = store.only_parent_run()
    assert parent.info.run_id == run.info.run_id
    scores = [child.data.metrics["logLoss"] for child in store.children(parent)]
    assert scores == list(model.validationMetrics)
    assert len(store.runs()) == 4


@pytest.mark.slow
def test_mlflow_records_searches_after_disable(points, store, mlflow_autolog):
    mlflow_autolog()
    mlflow_autolog(disable=True)
    regression_search(TrainValidationSplit).fit(points)
    assert store.runs() == []


@pytest.mark.parametrize("by_mlflow", [True, False])
def test_exclusive_search_gets_a_run_of_its_own(points, store, mlflow_autolog, by_mlflow):
    if by_mlflow:
        mlflow_autolog(exclusive=True)
    else:
        trackmllib.autolog(exclusive=True)
    with mlflow.start_run() as run:
        stub_search(CrossValidator, numFolds=2).fit(points)
        mlflow.log_param("mine", 1)
    mine, *others = sorted(store.parent_runs(), key=lambda run: run.info.start_time)
    assert mine.info.run_id == run.info.run_id
    assert mine.data.params == {"mine": "1"}
    assert store.children(mine) == []
    (parent,) = others
    assert parent.info.status == "FINISHED"
    assert len(store.children(parent)) == 3


@pytest.mark.slow
def test_search_has_the_same_dataset_as_other_fits(points, store, mlflow_autolog):
    mlflow_autolog(log_datasets=True)
    regression_search(TrainValidationSplit).fit(points)
    LogisticRegression(maxIter=1).fit(points)
    assert trackmllib.flush(30)
    of_search, of_fit = (run.inputs.dataset_inputs for run in store.parent_runs())
    assert [each.to_dictionary() for each in of_search] == [each.to_dictionary() for each in of_fit]


@pytest.mark.slow
def test_own_autolog_logs_nothing_of_mlflow(points, store, mlflow_autolog):
    mlflow_autolog(log_models=True, log_datasets=True)
    trackmllib.autolog()
    regression_search(TrainValidationSplit).fit(points)
    parent = store.only_parent_run()
    assert not {"estimator_class", "mlflow.autologging"} & set(parent.data.tags)
    assert store.files(parent, "") == ["trackmllib"]
    assert parent.inputs.dataset_inputs == []


@pytest.mark.slow
def test_secret_params_of_mlflow_are_hidden(points, store, mlflow_autolog):
    class Estimator(StubEstimator):
        def __init__(self):
            super().__init__()
            self.password = Param(self, "password", "")
            self._set(password="hunter2")

    mlflow_autolog()
    est = Estimator()
    grid = [{est.x: 1.0, est.password: "hunter3"}, {est.x: 2.0, est.password: "hunter4"}]
    TrainValidationSplit(estimator=est, estimatorParamMaps=grid, evaluator=StubEvaluator()).fit(
        points
    )
    parent = store.only_parent_run()
    names = ("estimator_info.json", "best_parameters.json", "search_results.csv")
    logged = [store.text(parent, name) for name in names]
    logged += [str(run.data) for run in store.runs()]
    assert "hunter" not in "".join(logged)
    assert [child.data.params["password"] for child in store.children(parent)] == ["***"] * 2
    assert parent.data.params["best_Estimator.password"] == "***"


@pytest.mark.slow
def test_foreign_param_in_the_grid_warns(points, store, mlflow_autolog, logged_warnings, lenient):
    """MLflow alone logs nothing for such a search, and warns, too."""
    mlflow_autolog()
    search = regression_search(TrainValidationSplit)
    search.setEstimatorParamMaps([{LogisticRegression().regParam: 0.5}])
    search.fit(points)
    (warning,) = logged_warnings()
    assert warning.startswith("MLflow's autologging cannot describe this search, so its record ")
    assert store.only_parent_run().info.status == "FINISHED"
