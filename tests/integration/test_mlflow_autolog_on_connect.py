"""``mlflow.autolog()`` records searches on Spark Connect, where MLflow's own part of it fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from support.commands import environ, finished
from support.mlflow_reader import Store

pytestmark = pytest.mark.timeout(600)

PROGRAM = Path(__file__).parents[1] / "support/mlflow_autolog_program.py"


@pytest.mark.parametrize("arguments", [{}, {"log_models": True, "log_datasets": True}])
def test_notebook_on_connect_records_its_search(arguments, tmp_path, server_uri):
    env = environ(
        MLFLOW_TRACKING_URI=server_uri,
        TRACKMLLIB_STRICT="0",
        PYSPARK_PYTHON=sys.executable,
    )
    experiment = f"notebook with {arguments}"
    command = [sys.executable, str(PROGRAM), experiment, "local[2]", json.dumps(arguments)]
    done = finished(command, env, seconds=400, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    store = Store(server_uri, experiment)
    parent = store.only_parent_run()
    children = store.children(parent)
    assert [run.info.status for run in (parent, *children)] == ["FINISHED"] * 3
    assert [run.data.metrics["avg_f1"] for run in children] == printed["averages"]
    assert printed["live"] == 2
    # Models cannot be saved there; the user has not asked trackmllib for them.
    assert "model" not in store.files(parent)
    assert "not logged" not in done.stderr
    assert "is not complete" not in done.stderr
