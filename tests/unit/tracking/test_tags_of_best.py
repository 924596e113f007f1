"""``trackmllib.best_run_id``, and the primary metric of the experiment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.faulty_proxy import Proxy
from support.mlflow_reader import Store
from trackmllib.domain.operations import (
    CreateChildRun,
    Destination,
    OpenParentRun,
    SetDescription,
    SetPrimaryMetric,
    child_run_tags,
)
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.tracking.executor import MlflowExecutor

pytestmark = pytest.mark.versions
BEST = "trackmllib.best_run_id"
NAME = "mlflow.experiment.primaryMetric.name"
GREATER = "mlflow.experiment.primaryMetric.greaterIsBetter"


def begun(store, *search_ids: str, uri: str = "", **where) -> MlflowExecutor:
    """Searches with one child run each."""
    executor = MlflowExecutor(pytest.fail, MemoryOutbox())
    for search_id in search_ids:
        destination = Destination(
            tracking_uri=uri or store.uri, experiment_id=store.experiment_id, **where
        )
        executor.apply(
            OpenParentRun(search_id=search_id, destination=destination, name="s", start_ms=5)
        )
        tags = child_run_tags(search_id, 3)
        executor.apply(
            CreateChildRun(search_id=search_id, candidate=3, name="c", start_ms=6, tags=tags)
        )
    return executor


def description(search_id: str, best: int | None = 3) -> SetDescription:
    return SetDescription(search_id=search_id, text="done", is_last=True, best=best)


def test_parent_run_names_the_run_of_the_best(store):
    executor = begun(store, "s")
    for redelivered in (False, True):
        executor.apply(description("s"), redelivered)
        tags = store.client.get_run(executor.run_id("s", None)).data.tags
        assert tags[BEST] == executor.run_id("s", 3)
        assert "done" in tags["mlflow.note.content"]


def test_best_without_child_run_has_no_tag(store):
    executor = begun(store, "s")
    executor.apply(description("s", best=4))
    executor.apply(replace(description("s", best=None), text="again"))
    assert BEST not in store.client.get_run(executor.run_id("s", None)).data.tags


def test_second_search_of_a_run_adds_its_id_to_the_tag(store):
    run_id = store.client.create_run(store.experiment_id).info.run_id
    executor = begun(store, "a", "b", run_id=run_id, owned=False)
    for search_id in ("a", "b", "b"):
        executor.apply(description(search_id), redelivered=True)
    tags = store.client.get_run(run_id).data.tags
    found = {key: value for key, value in tags.items() if key.startswith(BEST)}
    assert found == {BEST: executor.run_id("a", 3), f"{BEST}_b": executor.run_id("b", 3)}


@pytest.mark.slow
@pytest.mark.parametrize("best", [None, 3])
def test_naming_the_best_takes_no_request(server_uri, request, best):
    proxy = Proxy(server_uri)
    try:
        store = Store(server_uri, f"best: {request.node.name}")
        store.client.create_experiment(store.experiment)
        executor = begun(store, "s", uri=proxy.uri)
        before = len(proxy.answered)
        executor.apply(description("s", best))
        paths = [each.path.partition("?")[0] for each in proxy.answered[before:]]
    finally:
        proxy.close()
    assert [path.rpartition("mlflow/")[2] for path in paths] == ["runs/get", "runs/log-batch"]


def primary(key: str, larger: bool | None) -> SetPrimaryMetric:
    return SetPrimaryMetric(search_id="s", key=key, larger_is_better=larger)


def experiment_tags(store) -> dict[str, str]:
    tags = store.client.get_experiment(store.experiment_id).tags
    return {key: value for key, value in tags.items() if "primaryMetric" in key}


def test_first_primary_metric_of_an_experiment_stays(any_store):
    executor = begun(any_store, "s")
    executor.apply(primary("avg_f1", True))
    assert experiment_tags(any_store) == {NAME: "avg_f1", GREATER: "True"}
    executor.apply(primary("avg_rmse", False))
    assert experiment_tags(any_store) == {NAME: "avg_f1", GREATER: "True"}


def test_half_set_primary_metric_is_completed(store):
    store.client.set_experiment_tag(store.experiment_id, NAME, "avg_rmse")
    executor = begun(store, "s")
    executor.apply(primary("avg_f1", True))
    assert experiment_tags(store) == {NAME: "avg_rmse"}
    executor.apply(primary("avg_rmse", False), redelivered=True)
    assert experiment_tags(store) == {NAME: "avg_rmse", GREATER: "False"}


def test_unknown_direction_is_left_out(store):
    begun(store, "s").apply(primary("avg_mine", None))
    assert experiment_tags(store) == {NAME: "avg_mine"}
