"""Searches that ``mlflow.autolog()`` switched recording on for."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mlflow
import pytest
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit

import trackmllib
from support.commands import environ, finished
from support.mlflow_reader import Store
from support.searches import regression_search, stub_search

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
    assert not {"model", "mlflow.autologging"} & {*store.files(parent), *parent.data.tags}
    assert parent.inputs.dataset_inputs == []


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
def test_log_models_logs_the_best_model(points, store, mlflow_autolog):
    mlflow_autolog()
    mlflow.pyspark.ml.autolog(log_models=True, log_datasets=True)
    regression_search(CrossValidator, numFolds=2).fit(points)
    parent = store.only_parent_run()
    assert store.models(parent) == ["model"]
    assert len(parent.inputs.dataset_inputs) == 1
