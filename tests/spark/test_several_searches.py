"""Several searches in one parent run, and colliding names."""

from __future__ import annotations

import threading

import mlflow
import pytest

import trackmllib
from support.searches import stub_search, stub_split
from support.stubs import StubEvaluator

pytestmark = [pytest.mark.matrix, pytest.mark.postgres, pytest.mark.file_store]


def search_ids(parent) -> list[str]:
    """The search ids on a parent run, oldest first."""
    tags = parent.data.tags
    first = tags["trackmllib.search_id"]
    later = [k.rpartition("_")[2] for k in tags if k.startswith("trackmllib.search_id_")]
    return [first, *later]


def test_each_search_has_all_its_child_runs_on_one_parent_run(points, any_store):
    trackmllib.autolog()
    with mlflow.start_run():
        one = stub_search(numFolds=2).fit(points)
        two = stub_search(xs=[4.0, 5.0], numFolds=3).fit(points)
        three = stub_split(xs=[6.0]).fit(points)
    parent = any_store.only_parent_run()
    ids = search_ids(parent)
    assert len(set(ids)) == 3
    children = {i: any_store.children(parent, i) for i in ids}
    by_count = {len(found): i for i, found in children.items()}
    averages = [c.data.metrics["avg_stub"] for c in children[by_count[3]]]
    assert averages == list(one.avgMetrics)
    assert [c.data.metrics["avg_stub"] for c in children[by_count[2]]] == list(two.avgMetrics)
    assert [c.data.metrics["stub"] for c in children[by_count[1]]] == list(three.validationMetrics)


def test_only_colliding_names_get_a_suffix(points, any_store):
    trackmllib.autolog()
    with mlflow.start_run():
        one = stub_search(numFolds=2, seed=5).fit(points)
        two = stub_search(numFolds=3, seed=5).fit(points)
    parent = any_store.only_parent_run()
    params, metrics = parent.data.params, parent.data.metrics
    first, second = search_ids(parent)
    assert params["numFolds"] == "2"
    assert params[f"numFolds_{second}"] == "3"
    assert params["seed"] == "5"
    assert [k for k in params if k.endswith(second)] == [f"numFolds_{second}"]
    assert metrics["best_avg_stub"] == max(one.avgMetrics)
    assert metrics[f"best_avg_stub_{second}"] == max(two.avgMetrics)
    assert any_store.history(parent, "fits_finished")[-1] == (6, 6.0)
    assert any_store.history(parent, f"fits_finished_{second}")[-1] == (9, 9.0)
    assert parent.data.tags["trackmllib.search_id"] == first
    assert any_store.json(parent, "trackmllib/search.json")["search_id"] == first
    assert any_store.json(parent, f"trackmllib_{second}/search.json")["search_id"] == second
    assert any_store.files(parent) == any_store.files(parent, f"trackmllib_{second}")


def test_names_logged_by_the_user_are_not_overwritten(points, any_store):
    trackmllib.autolog()
    with mlflow.start_run() as run:
        mlflow.log_param("numFolds", "mine")
        mlflow.log_param("parallelism", "1")
        mlflow.log_metric("best_avg_stub", 0.5)
        mlflow.set_tag("trackmllib.larger_is_better", "perhaps")
        mlflow.log_text("mine", "trackmllib/search.json")
        stub_search(numFolds=2).fit(points)
    parent = any_store.client.get_run(run.info.run_id)
    (search_id,) = search_ids(parent)
    assert parent.data.params["numFolds"] == "mine"
    assert parent.data.params[f"numFolds_{search_id}"] == "2"
    assert parent.data.params["parallelism"] == "1"
    assert f"parallelism_{search_id}" not in parent.data.params
    assert parent.data.metrics["best_avg_stub"] == 0.5
    assert f"best_avg_stub_{search_id}" in parent.data.metrics
    assert parent.data.tags["trackmllib.larger_is_better"] == "perhaps"
    assert parent.data.tags[f"trackmllib.larger_is_better_{search_id}"] == "true"
    assert any_store.text(parent, "trackmllib/search.json") == "mine"
    folder = f"trackmllib_{search_id}"
    assert any_store.json(parent, f"{folder}/search.json")["search_id"] == search_id


def test_name_logged_by_the_user_during_the_search_wins(points, recorded):
    def log_best(prediction):
        mlflow.MlflowClient().log_param(run.info.run_id, "best_x", "mine")

    with mlflow.start_run() as run:
        stub_search(xs=[1.0], numFolds=2, eva=StubEvaluator(call=log_best)).fit(points)
    parent = recorded.client.get_run(run.info.run_id)
    assert parent.data.params["best_x"] == "mine"
    assert parent.data.params[f"best_x_{search_ids(parent)[0]}"] == "1.0"


def test_searches_in_several_threads_in_one_run(points, recorded):
    models = {}
    with mlflow.start_run() as run:

        def fit(number):
            with mlflow.start_run(run_id=run.info.run_id):
                xs = [float(number), number + 0.5]
                models[number] = stub_search(xs=xs, numFolds=2, parallelism=2).fit(points)

        threads = [threading.Thread(target=fit, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    parent = recorded.only_parent_run()
    ids = search_ids(parent)
    assert len(set(ids)) == 4
    found = sorted(
        tuple(c.data.metrics["avg_stub"] for c in recorded.children(parent, i)) for i in ids
    )
    assert found == sorted(tuple(m.avgMetrics) for m in models.values())


def test_searches_in_several_threads_in_different_runs(points, recorded):
    models = {}

    def fit(number):
        with mlflow.start_run(run_name=f"run {number}"):
            models[f"run {number}"] = stub_search(
                xs=[float(number)], numFolds=2, parallelism=2
            ).fit(points)

    threads = [threading.Thread(target=fit, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    parents = recorded.parent_runs()
    assert len(parents) == 4
    for parent in parents:
        (child,) = recorded.children(parent)
        assert [child.data.metrics["avg_stub"]] == list(models[parent.info.run_name].avgMetrics)
