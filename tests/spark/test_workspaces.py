"""Searches in workspaces of a real MLflow server."""

from __future__ import annotations

from collections import Counter

import mlflow
import pytest
from mlflow import MlflowClient

import trackmllib
from conftest import free_port, start_server, stop_server
from faults.proxy import Proxy
from faults.scene import Scene, compare
from reading import Store
from resuming import rows_search, table
from searches import stub_search
from stubs import StubEvaluator
from trackmllib.earlier import EarlierSearches
from trackmllib.operations import Destination
from trackmllib.stored_score import RESUMABLE

pytestmark = pytest.mark.skipif(
    not hasattr(mlflow, "set_workspace"), reason="this MLflow has no workspaces"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    port = free_port()
    folder = tmp_path_factory.mktemp("workspaces")
    process = start_server(folder, port, options=("--enable-workspaces",))
    client = MlflowClient(f"http://127.0.0.1:{port}")
    for name in ("team-a", "team-b"):
        client.create_workspace(name)
    yield f"http://127.0.0.1:{port}"
    stop_server(process)


@pytest.fixture
def rows(spark):
    return table(spark)


@pytest.fixture
def workspaces(server):
    mlflow.set_tracking_uri(server)
    yield server
    mlflow.set_workspace(None)


def statuses(uri: str, workspace: str | None, experiment: str) -> Counter:
    """The statuses of the runs of an experiment in a workspace; empty without the experiment."""
    mlflow.set_workspace(workspace)
    found = MlflowClient(uri).get_experiment_by_name(experiment)
    runs = [] if found is None else Store(uri, experiment).runs()
    return Counter(run.info.status for run in runs)


@pytest.mark.parametrize(("began", "later"), [("team-a", "team-b"), (None, "team-b")])
def test_search_stays_in_its_workspace(points, workspaces, began, later):
    mlflow.set_workspace(began)
    name = f"stays-{began}"
    mlflow.set_experiment(name)
    trackmllib.autolog(log_datasets=True)

    def call(prediction):
        mlflow.set_workspace(later)
        mlflow.log_metric("in the other", prediction.x)

    stub_search(eva=StubEvaluator(call=call), numFolds=2, parallelism=1).fit(points)
    assert trackmllib.flush(60)
    assert statuses(workspaces, began, name) == {"FINISHED": 4}
    store = Store(workspaces, name)
    main = store.only_main_run()
    assert {"results.csv", "search.json"} <= set(store.files(main))
    assert len(store.children(main)) == 3
    assert statuses(workspaces, later, name) == {}
    # As MLflow alone would: on a run of its own.
    assert statuses(workspaces, later, "Default")["FINISHED"] >= 1


def test_sync_delivers_to_workspace_without_variable(tmp_path, workspaces):
    proxy = Proxy(workspaces, lambda _: 503)
    scene = Scene(tmp_path, proxy.uri, real_uri=workspaces)
    scene.more_environ["MLFLOW_WORKSPACE"] = "team-a"
    try:
        driver = scene.driver(candidates=2, autolog={"flush_timeout": 1}).finish()
        (search,) = scene.status()["searches"]
        assert search["workspace"] == "team-a"
        del scene.more_environ["MLFLOW_WORKSPACE"]
        proxy.rule = lambda _: None
        scene.sync()
    finally:
        proxy.close()
    assert statuses(workspaces, "team-a", scene.experiment) == {"FINISHED": 3}
    report = compare(scene.store, driver)
    assert report.is_clean(), report
    assert statuses(workspaces, None, scene.experiment) == {}


def test_sync_ignores_variable_for_search_without_workspace(tmp_path, workspaces):
    proxy = Proxy(workspaces, lambda _: 503)
    scene = Scene(tmp_path, proxy.uri, real_uri=workspaces)
    try:
        scene.driver(candidates=2, autolog={"flush_timeout": 1}).finish()
        (search,) = scene.status()["searches"]
        assert search["workspace"] is None
        scene.more_environ["MLFLOW_WORKSPACE"] = "team-b"
        proxy.rule = lambda _: None
        scene.sync()
    finally:
        proxy.close()
    assert statuses(workspaces, None, scene.experiment) == {"FINISHED": 3}
    assert statuses(workspaces, "team-b", scene.experiment) == {}


def test_earlier_scores_come_from_workspace_of_search(rows, workspaces):
    mlflow.set_workspace("team-a")
    mlflow.set_experiment("resumed")
    trackmllib.autolog(resume=True, code_version="1")
    rows_search(numFolds=2).fit(rows)
    main = Store(workspaces, "resumed").only_main_run()
    family = main.data.tags[RESUMABLE]
    destination = Destination(
        tracking_uri=workspaces, experiment_id=main.info.experiment_id, workspace="team-a"
    )
    # This machine has nothing of the search any more.
    earlier = EarlierSearches(None, lambda uri: uri)
    mlflow.set_workspace("team-b")
    found = earlier.scores(family, ["no such key"], destination, 30)
    assert len(found.others) == 6
    assert found.not_seen == ""
    mlflow.set_workspace(None)
    assert len(earlier.scores(family, ["no such key"], destination, 30).others) == 6
