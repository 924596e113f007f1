"""A production server: PostgreSQL, artifacts in S3, basic auth."""

from __future__ import annotations

import itertools
import json
import time

import mlflow
import pytest

import trackmllib
from support.deployments import PASSWORD
from support.driver_machine import Machine, compare
from support.faulty_proxy import Proxy, Request
from support.searches import stub_search, tree_search
from support.stubs import StubEvaluator


@pytest.fixture
def machine(tmp_path, postgres_deployment):
    """A machine with the right password, which also serves to read the record."""
    return Machine(
        tmp_path, postgres_deployment.uri, more_environ=dict(postgres_deployment.environ)
    )


@pytest.fixture
def proxy(postgres_deployment):
    made = Proxy(postgres_deployment.uri)
    yield made
    made.close()


@pytest.mark.parametrize("any_store", ["postgres", "s3"], indirect=True)
def test_scores_are_exact_and_artifacts_are_in_the_bucket(points, any_store, s3):
    """The objects in S3 are the same whether the server or the client writes them."""
    trackmllib.autolog(flush_timeout=240)
    model = tree_search().fit(points)
    parent = any_store.only_parent_run()
    children = any_store.children(parent)
    metric = parent.data.params["metric"]
    assert [c.data.metrics[f"avg_{metric}"] for c in children] == list(model.avgMetrics)
    assert [c.data.metrics[f"std_{metric}"] for c in children] == list(model.stdMetrics)
    location = parent.info.artifact_uri
    if location.startswith("mlflow-artifacts:"):
        prefix = location.replace("mlflow-artifacts:", "served")
    else:
        prefix = location.removeprefix(f"s3://{s3.bucket}/")
    files = s3.files(f"{prefix}/trackmllib/")
    assert sorted(files) == ["best_params.json", "outcome.json", "results.csv", "search.json"]
    search = json.loads(files["search.json"])
    assert search["search_id"] == parent.data.tags["trackmllib.search_id"]
    assert any_store.json(parent, "trackmllib/search.json") == search


def test_search_with_wrong_password_is_synced_with_the_right_one(machine, monkeypatch):
    right = machine.more_environ
    for variable, value in right.items():
        monkeypatch.setenv(variable, value)
    machine.store.client.create_experiment(machine.experiment)
    machine.more_environ = {**right, "MLFLOW_TRACKING_PASSWORD": "not the password"}
    driver = machine.driver(candidates=3, autolog={"flush_timeout": 120}).finish()
    of_search, of_the_end = driver.warnings()
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in of_search
    assert "safe on disk" in of_the_end
    for secret in (PASSWORD, "not the password"):
        assert secret not in of_search + of_the_end
    assert machine.store.runs() == []
    machine.sync(code=1)
    machine.more_environ = right
    machine.sync()
    report = compare(machine.store, driver)
    assert report.is_clean(), report
    assert report.status == {"FINISHED": 4}
    assert machine.files() == []


@pytest.mark.parametrize("any_store", ["postgres"], indirect=True)
def test_postgresql_outage_during_a_search(points, any_store, proxy, postgres):
    """The server reports that its database is down; the record is complete in the end."""
    fits = itertools.count(1)

    def outage(_):
        match next(fits):
            case 3:
                postgres.stop()
            case 6:
                deadline = time.monotonic() + 120
                while not failed(proxy):
                    assert time.monotonic() < deadline, proxy.answered[-3:]
                    time.sleep(0.02)
                postgres.start()

    mlflow.set_tracking_uri(proxy.uri)
    mlflow.set_experiment(any_store.experiment)
    trackmllib.autolog(flush_timeout=240)
    model = stub_search(eva=StubEvaluator(call=outage), numFolds=3).fit(points)
    assert failed(proxy)
    parent = any_store.only_parent_run()
    assert any_store.history(parent, "fits_finished") == [(n, float(n)) for n in range(1, 10)]
    children = any_store.children(parent)
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    assert [c.data.metrics["avg_stub"] for c in children] == list(model.avgMetrics)
    for child in children:
        assert [step for step, _ in any_store.history(child, "stub")] == [0, 1, 2]
    assert any_store.files(parent) == [
        "best_params.json",
        "outcome.json",
        "results.csv",
        "search.json",
    ]


def failed(proxy: Proxy) -> list[Request]:
    return [request for request in proxy.answered if request.status >= 500]
