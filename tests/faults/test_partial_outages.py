"""Faults of one request or one store while the rest of the server answers."""

from __future__ import annotations

import time
import uuid

import pytest
from mlflow import MlflowClient

from support.faulty_proxy import Proxy
from support.mlflow_reader import Store
from support.search_events import search
from support.search_player import Player
from support.waiting import wait_until

SCORES = [[0.25, 0.5], [0.75, 1.0], [0.5, 0.5]]
AVERAGES = [0.375, 0.875, 0.5]
FILES = ["best_params.json", "outcome.json", "results.csv", "search.json"]
ARTIFACTS = "/mlflow-artifacts/"


@pytest.fixture
def proxy(server_uri):
    made = Proxy(server_uri)
    yield made
    made.close()


@pytest.fixture
def store(server_uri, request) -> Store:
    """An experiment of this test, read past the proxy."""
    made = Store(server_uri, f"partial outages: {request.node.name}")
    MlflowClient(tracking_uri=server_uri).create_experiment(made.experiment)
    return made


@pytest.fixture
def player(tmp_path, lenient, proxy, store) -> Player:
    return Player(tmp_path, proxy.uri, store.experiment_id, flush_timeout=5.0)


def statuses(store: Store) -> list[str]:
    return [run.info.status for run in store.runs()]


class Refusals:
    """Refuses some requests with 429, and counts them, until ``allowed``."""

    def __init__(self, is_refused):
        self.is_refused = is_refused
        self.allowed = False
        self.times: list[float] = []

    def __call__(self, path, body):
        if self.allowed or not self.is_refused(path, body):
            return None
        self.times.append(time.monotonic())
        return 429


def test_429_for_one_artifact_delays_nothing_else(proxy, store, player):
    refused = Refusals(lambda path, _: path.endswith("/search.json"))
    proxy.disturb_body = refused
    player.emit(search(SCORES, AVERAGES, 1))
    wait_until(lambda: statuses(store) == ["FINISHED"] * 4, 10)
    wait_until(lambda: store.files(store.only_parent_run()) == FILES[:-1], 10)
    # The request keeps waiting for its turn, at a decreasing rate.
    before = len(refused.times)
    wait_until(lambda: len(refused.times) >= before + 2, 20)
    time.sleep(3)
    assert sum(moment > refused.times[-1] - 3 for moment in refused.times) <= 4
    refused.allowed = True
    wait_until(lambda: store.files(store.only_parent_run()) == FILES, 40)
    assert player.session.flush(10)


def test_429_for_one_run_delays_no_other(proxy, store, player):
    def creates_first(path, body):
        return path.endswith("/runs/create") and b'"trackmllib.candidate", "value": "0"' in body

    refused = Refusals(creates_first)
    proxy.disturb_body = refused
    player.emit(search(SCORES, AVERAGES, 1))
    wait_until(lambda: statuses(store) == ["FINISHED"] * 3, 10)
    assert refused.times
    refused.allowed = True
    wait_until(lambda: statuses(store) == ["FINISHED"] * 4, 40)
    assert player.session.flush(10)
    children = store.children(store.only_parent_run())
    metric = "weightedPrecision"
    assert [[value for _, value in store.history(run, metric)] for run in children] == SCORES


def test_429_for_one_search_delays_no_other(proxy, store, player):
    search_id = str(uuid.uuid4())
    refused = Refusals(lambda _, body: search_id.encode() in body)
    proxy.disturb_body = refused
    player.emit(search(SCORES, AVERAGES, 1, search_id=search_id))
    player.emit(search(SCORES, AVERAGES, 1))
    wait_until(lambda: statuses(store) == ["FINISHED"] * 4, 10)
    refused.allowed = True
    wait_until(lambda: statuses(store) == ["FINISHED"] * 8, 40)
    assert player.session.flush(10)


def test_429_for_all_requests_slows_all_down(proxy, store, player):
    def is_of_child_run(path, _):
        return "/experiments/" not in path and len(proxy.answered) >= 4

    refused = Refusals(is_of_child_run)
    proxy.disturb_body = refused
    player.emit(search(SCORES, AVERAGES, 1))
    wait_until(lambda: len(refused.times) >= 1, 10)
    time.sleep(8)
    assert len(refused.times) <= 10
    refused.allowed = True
    wait_until(lambda: statuses(store) == ["FINISHED"] * 4, 40)
    assert player.session.flush(10)
    assert store.files(store.only_parent_run()) == FILES


class StoreOutage:
    """Outage of the artifact store alone, until ``over``."""

    def __init__(self):
        self.over = False
        self.requests = 0

    def __call__(self, path, _):
        if self.over or ARTIFACTS not in path:
            return None
        self.requests += 1
        return 503


@pytest.fixture
def outage(proxy, store, player):
    """Outage of the artifact store; the rest of a search is delivered."""
    outage = StoreOutage()
    proxy.disturb_body = outage
    player.emit(search(SCORES, AVERAGES, 1))
    wait_until(lambda: statuses(store) == ["FINISHED"] * 4, 20)
    # Longer than any other request of the search waits.
    time.sleep(10)
    assert store.files(store.only_parent_run()) == []
    return outage


def test_artifacts_are_delivered_after_outage_of_their_store(store, outage):
    outage.over = True
    wait_until(lambda: store.files(store.only_parent_run()) == FILES, 60)


def test_flush_retries_artifacts_at_once(store, player, outage):
    began = time.monotonic()
    assert not player.session.flush(20)
    assert time.monotonic() - began < 15
    outage.over = True
    assert player.session.flush(5)
    assert store.files(store.only_parent_run()) == FILES


def test_exit_retries_artifacts(store, player, outage, caplog):
    outage.over = True
    player.session.process_exit.at_exit()
    assert store.files(store.only_parent_run()) == FILES
    assert "did not reach the tracking server" not in caplog.text


def test_unavailable_store_gets_few_requests(outage):
    before = outage.requests
    time.sleep(10)
    # Four artifacts, each at a delay that grows to 30 s.
    assert outage.requests - before <= 4 * 8
