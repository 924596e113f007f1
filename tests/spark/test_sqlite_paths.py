"""SQLite files whose paths have characters with a meaning in a URI."""

from __future__ import annotations

import mlflow
import pytest
from mlflow import MlflowClient

import trackmllib
from support.driver_machine import Machine, compare
from support.searches import stub_split

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("folder", "query", "is_relative"),
    [
        ("run#1", "", False),
        ("run#1", "", True),
        ("a%20b", "?timeout=20", False),
        ("50%;c d&e=f#me@work", "?timeout=20", True),
    ],
)
def test_search_is_recorded_in_mlflows_file(points, tmp_path, folder, query, is_relative):
    # The meaning of "%20" depends on the version of SQLAlchemy.
    for each in (folder, folder.replace("%20", " ")):
        (tmp_path / each).mkdir(exist_ok=True)
    uri = f"sqlite:///{'' if is_relative else f'{tmp_path}/'}{folder}/mlflow.db{query}"
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("e")
    made = list(tmp_path.rglob("mlflow.db"))
    assert len(made) == 1
    trackmllib.autolog()
    model = stub_split().fit(points)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("e")
    best = "tags.`trackmllib.best` = 'true'"
    (child,) = client.search_runs([experiment.experiment_id], best)
    assert child.data.metrics["stub"] == max(model.validationMetrics)
    search_id = child.data.tags["trackmllib.search_id"]
    read = trackmllib.load_results(search_id, tracking_uri=uri)
    assert read.search.search_id == search_id
    assert [file for file in tmp_path.rglob("mlflow*") if file.is_file()] == made


def test_sync_delivers_into_the_same_file(tmp_path):
    """A later process knows only the stored URI."""
    (tmp_path / "run#1").mkdir()
    uri = f"sqlite:///{tmp_path}/run#1/mlflow.db"
    # A driver that is killed while MLflow makes the tables leaves a file that MLflow rejects.
    MlflowClient(tracking_uri=uri).search_experiments()
    machine = Machine(tmp_path, uri, real_uri=uri)
    driver = machine.driver(candidates=4, fit_seconds=0.3).ready().after_fits(2)
    driver.kill()
    machine.uri = f"sqlite:///{tmp_path}/other.db"
    machine.sync()
    assert compare(machine.store, driver).is_clean(in_flight=1)
    made = [file.name for file in tmp_path.iterdir() if file.name.startswith(("run", "other"))]
    assert made == ["run#1"]
