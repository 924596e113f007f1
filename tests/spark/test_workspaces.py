"""Searches in workspaces of a real MLflow server."""

from __future__ import annotations

from collections import Counter

import mlflow
import pytest
from mlflow import MlflowClient

import trackmllib
from support.driver_machine import Machine, compare
from support.faulty_proxy import Proxy
from support.mlflow_reader import Store
from support.mlflow_server import free_port, start_server, stop_server
from support.resume_searches import rows_search, table
from support.searches import stub_search
from support.stubs import StubEvaluator
from trackmllib.domain.operations import Destination
from trackmllib.domain.score_tags import RESUMABLE
from trackmllib.runtime.prior_scores import PriorSearches

pytestmark = [
    pytest.mark.skipif(
        not hasattr(mlflow, "set_workspace"), reason="this MLflow has no workspaces"
    ),
    pytest.mark.slow,
]


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
    parent = store.only_parent_run()
    assert {"results.csv", "search.json"} <= set(store.files(parent))
    assert len(store.children(parent)) == 3
    assert statuses(workspaces, later, name) == {}
    # On a run of its own, as with MLflow alone.
    assert statuses(workspaces, later, "Default")["FINISHED"] >= 1


def test_sync_delivers_to_workspace_without_variable(tmp_path, workspaces):
    proxy = Proxy(workspaces, lambda _: 503)
    machine = Machine(tmp_path, proxy.uri, real_uri=workspaces)
    machine.more_environ["MLFLOW_WORKSPACE"] = "team-a"
    try:
        driver = machine.driver(candidates=2, autolog={"flush_timeout": 1}).finish()
        (search,) = machine.status()["searches"]
        assert search["workspace"] == "team-a"
        del machine.more_environ["MLFLOW_WORKSPACE"]
        proxy.rule = lambda _: None
        machine.sync()
    finally:
        proxy.close()
    assert statuses(workspaces, "team-a", machine.experiment) == {"FINISHED": 3}
    report = compare(machine.store, driver)
    assert report.is_clean(), report
    assert statuses(workspaces, None, machine.experiment) == {}


def test_sync_ignores_variable_for_search_without_workspace(tmp_path, workspaces):
    proxy = Proxy(workspaces, lambda _: 503)
    machine = Machine(tmp_path, proxy.uri, real_uri=workspaces)
    try:
        machine.driver(candidates=2, autolog={"flush_timeout": 1}).finish()
        (search,) = machine.status()["searches"]
        assert search["workspace"] is None
        machine.more_environ["MLFLOW_WORKSPACE"] = "team-b"
        proxy.rule = lambda _: None
        machine.sync()
    finally:
        proxy.close()
    assert statuses(workspaces, None, machine.experiment) == {"FINISHED": 3}
    assert statuses(workspaces, "team-b", machine.experiment) == {}


def test_earlier_scores_come_from_workspace_of_search(rows, workspaces):
    mlflow.set_workspace("team-a")
    mlflow.set_experiment("resumed")
    trackmllib.autolog(resume=True, code_version="1")
    rows_search(numFolds=2).fit(rows)
    parent = Store(workspaces, "resumed").only_parent_run()
    family = parent.data.tags[RESUMABLE]
    destination = Destination(
        tracking_uri=workspaces, experiment_id=parent.info.experiment_id, workspace="team-a"
    )
    # This machine no longer has anything of the search.
    prior_searches = PriorSearches(None, lambda uri: uri)
    mlflow.set_workspace("team-b")
    found = prior_searches.scores(family, ["no such key"], {}, destination, 30)
    assert len(found.others) == 6
    assert found.read_error == ""
    mlflow.set_workspace(None)
    assert len(prior_searches.scores(family, ["no such key"], {}, destination, 30).others) == 6
