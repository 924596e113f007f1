"""A server as companies have it: PostgreSQL, files in S3, basic auth."""

from __future__ import annotations

import itertools
import json
import time

import mlflow
import pytest

import trackmllib
from faults.proxy import Proxy, Request
from faults.scene import Scene, compare
from searches import stub_search, tree_search
from stores import PASSWORD
from stubs import StubEvaluator

pytestmark = pytest.mark.heavy


@pytest.fixture
def scene(tmp_path, postgres_place):
    """A driver of its own, with the right password; the record is read with it too."""
    return Scene(tmp_path, postgres_place.uri, more_environ=dict(postgres_place.environ))


@pytest.fixture
def proxy(postgres_place):
    made = Proxy(postgres_place.uri)
    yield made
    made.close()


@pytest.mark.parametrize("any_store", ["postgres", "s3"], indirect=True)
def test_scores_are_exact_and_the_files_lie_in_the_bucket(points, any_store, s3):
    """Handed on by the server, or written by the client: the same objects in S3."""
    trackmllib.autolog(flush_timeout=240)
    model = tree_search().fit(points)
    main = any_store.only_main_run()
    children = any_store.children(main)
    metric = main.data.params["metric"]
    assert [c.data.metrics[f"avg_{metric}"] for c in children] == list(model.avgMetrics)
    assert [c.data.metrics[f"std_{metric}"] for c in children] == list(model.stdMetrics)
    location = main.info.artifact_uri
    if location.startswith("mlflow-artifacts:"):
        prefix = location.replace("mlflow-artifacts:", "served")
    else:
        prefix = location.removeprefix(f"s3://{s3.bucket}/")
    files = s3.files(f"{prefix}/trackmllib/")
    assert sorted(files) == ["best_params.json", "outcome.json", "results.csv", "search.json"]
    search = json.loads(files["search.json"])
    assert search["search_id"] == main.data.tags["trackmllib.search_id"]
    assert any_store.json(main, "trackmllib/search.json") == search


def test_what_a_wrong_password_held_up_is_synced_with_the_right_one(scene, monkeypatch):
    right = scene.more_environ
    for variable, value in right.items():
        monkeypatch.setenv(variable, value)
    scene.store.client.create_experiment(scene.experiment)
    scene.more_environ = {**right, "MLFLOW_TRACKING_PASSWORD": "not the password"}
    driver = scene.driver(candidates=3, autolog={"flush_timeout": 120}).finish()
    of_search, of_the_end = driver.warnings()
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in of_search
    assert "safe on disk" in of_the_end
    for secret in (PASSWORD, "not the password"):
        assert secret not in of_search + of_the_end
    assert scene.store.runs() == []
    scene.sync(code=1)
    scene.more_environ = right
    scene.sync()
    report = compare(scene.store, driver)
    assert report.is_clean(), report
    assert report.status == {"FINISHED": 4}
    assert scene.files() == []


@pytest.mark.parametrize("any_store", ["postgres"], indirect=True)
def test_a_postgresql_that_is_away_in_the_middle_of_a_search(points, any_store, proxy, postgres):
    """The server stands, and answers that its database is away; in the end nothing is missing."""
    cells = itertools.count(1)

    def outage(_):
        match next(cells):
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
    main = any_store.only_main_run()
    assert any_store.history(main, "cells_finished") == [(n, float(n)) for n in range(1, 10)]
    children = any_store.children(main)
    assert {run.info.status for run in (main, *children)} == {"FINISHED"}
    assert [c.data.metrics["avg_stub"] for c in children] == list(model.avgMetrics)
    for child in children:
        assert [step for step, _ in any_store.history(child, "stub")] == [0, 1, 2]
    assert any_store.files(main) == [
        "best_params.json",
        "outcome.json",
        "results.csv",
        "search.json",
    ]


def failed(proxy: Proxy) -> list[Request]:
    return [request for request in proxy.answered if request.status >= 500]
