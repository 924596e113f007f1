"""Scores of logged models, which are points of child runs, in every store of MLflow 3."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from mlflow import MlflowClient

from trackmllib.domain.operations import (
    CreateChildRun,
    Destination,
    EndRun,
    LogBatch,
    LogModelMetrics,
    Metric,
    OpenParentRun,
    child_run_tags,
)
from trackmllib.outbox import serialization
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.tracking.executor import MlflowExecutor

pytestmark = [
    pytest.mark.versions,
    pytest.mark.skipif(
        not hasattr(MlflowClient, "create_logged_model"), reason="this MLflow has no logged models"
    ),
]
STORES = ["sqlite", "file", pytest.param("server", marks=pytest.mark.slow)]
POINTS = (Metric("avg_f1", 0.1 + 0.2, 7), Metric("std_f1", 0.0, 7))


class Scene:
    """A search with a child run, and a logged model."""

    def __init__(self, store) -> None:
        self.client = store.client
        self.executor = MlflowExecutor(pytest.fail, MemoryOutbox())
        destination = Destination(tracking_uri=store.uri, experiment_id=store.experiment_id)
        of_child = {"search_id": "s", "candidate": 0}
        self.executor.apply(
            OpenParentRun(search_id="s", destination=destination, name="s", start_ms=5)
        )
        self.executor.apply(
            CreateChildRun(**of_child, name="c", start_ms=6, tags=child_run_tags("s", 0))
        )
        self.run_id = self.executor.run_id("s", 0)
        self.model_id = self.client.create_logged_model(store.experiment_id, "m").model_id
        self.batch = LogBatch(**of_child, metrics=POINTS)
        self.end = EndRun(**of_child, status="FINISHED", end_ms=8)
        self.link = LogModelMetrics(
            **of_child, model_id=self.model_id, metrics=POINTS, dataset=("data", "0a1b")
        )

    def apply(self, *operations) -> None:
        for operation in operations:
            stored = serialization.from_text(serialization.to_text(operation), type(operation))
            self.executor.apply(stored)

    def history(self) -> list[tuple[str, float, int, int]]:
        return [
            (point.key, point.value, point.timestamp, point.step)
            for metric in POINTS
            for point in self.client.get_metric_history(self.run_id, metric.key)
        ]

    def scores(self) -> list[tuple[str, float, str, str, str]]:
        model = self.client.get_logged_model(self.model_id)
        return sorted(
            (m.key, m.value, m.dataset_name, m.dataset_digest, m.run_id) for m in model.metrics
        )

    def check(self) -> None:
        assert self.history() == [(m.key, m.value, m.time_ms, m.step) for m in POINTS]
        expected = [(m.key, m.value, "data", "0a1b", self.run_id) for m in POINTS]
        assert self.scores() == expected


@pytest.fixture
def scene(any_store) -> Scene:
    return Scene(any_store)


@pytest.mark.parametrize("any_store", STORES, indirect=True)
def test_model_has_the_points_of_the_run(scene):
    scene.apply(scene.batch, scene.end, scene.link)
    scene.check()


@pytest.mark.parametrize("any_store", STORES, indirect=True)
def test_redelivered_link_exists_once(scene):
    scene.apply(scene.batch, scene.link)
    scene.executor.apply(scene.link, redelivered=True)
    scene.check()


@pytest.mark.parametrize("any_store", ["sqlite", "file"], indirect=True)
def test_order_of_deliveries_does_not_matter(scene):
    first, second = scene.batch, scene.link
    for order in itertools.permutations([first, second]):
        for operation in order:
            scene.executor.apply(operation, redelivered=True)
    scene.check()


@pytest.mark.parametrize("any_store", ["sqlite", "file"], indirect=True)
def test_models_of_all_folds_share_the_points_of_the_average(scene, any_store):
    other = scene.client.create_logged_model(any_store.experiment_id, "m2").model_id
    scene.apply(scene.batch, scene.link, replace(scene.link, model_id=other))
    scene.check()
    higher = LogBatch(search_id="s", candidate=0, metrics=(Metric("avg_f1", 0.5, 9),))
    best = scene.client.create_logged_model(any_store.experiment_id, "best").model_id
    scene.apply(higher, replace(scene.link, model_id=best, metrics=higher.metrics))
    found = scene.client.search_logged_models(
        [any_store.experiment_id],
        order_by=[{"field_name": "metrics.avg_f1", "ascending": False}],
    )
    assert next(each.model_id for each in found) == best
    assert {each.model_id for each in found} == {scene.model_id, other, best}


@pytest.mark.slow
@pytest.mark.parametrize("any_store", ["file-server"], indirect=True)
def test_server_with_file_store_gets_no_second_point(scene):
    """Its store would append the points to the run."""
    scene.apply(scene.batch, scene.link)
    assert scene.history() == [(m.key, m.value, m.time_ms, m.step) for m in POINTS]
    assert scene.scores() == []
