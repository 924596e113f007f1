"""Faults 3 to 7: failures of servers and networks."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import pytest

from support.driver_machine import ROUNDS, Machine, compare
from support.faulty_proxy import Proxy
from support.mlflow_server import free_port, start_server, stop_server
from support.waiting import wait_until


@pytest.fixture
def proxy(server_uri):
    made = Proxy(server_uri)
    yield made
    made.close()


@pytest.fixture
def machine(tmp_path, proxy, server_uri):
    """A driver whose requests go through the proxy."""
    return Machine(tmp_path, proxy.uri, real_uri=server_uri)


def test_3_server_down_for_the_whole_search(tmp_path, figures):
    port = free_port()
    machine = Machine(tmp_path, f"http://127.0.0.1:{port}")
    driver = machine.driver(autolog={"flush_timeout": 3}).finish()
    untracked = 30 * 0.05 / 2
    assert driver.seconds() < untracked + 3 + 2
    printed = driver.warnings()
    assert "All of them are safe on disk" in printed[-1]
    assert "trackmllib sync" in printed[-1]
    (search,) = machine.status()["searches"]
    assert search["state"] == "ended"
    assert search["tracking_uri"] == machine.uri
    assert search["waiting"] > 30
    assert "refused" in search["last_error"]
    assert "operations wait for" in machine.sync("--timeout", "2", code=1)
    server = start_server(tmp_path, port)
    try:
        machine.sync("--tracking-uri", "http://127.0.0.1:1", code=0)
        (left,) = machine.status()["searches"]
        assert left["waiting"] == search["waiting"]
        machine.sync("--tracking-uri", machine.uri)
        report = compare(machine.store, driver)
        assert report.is_clean(), report
        assert report.status == {"FINISHED": 11}
        assert machine.files() == []
    finally:
        stop_server(server)
    figures["3 server dead throughout"] = (
        f"fit() {driver.seconds():.1f} s with a flush_timeout of 3 s; "
        f"{report.printed} scores, 0 lost"
    )


def test_4_server_killed_and_restarted_five_times(tmp_path, figures):
    port = free_port()
    server = start_server(tmp_path, port)
    machine = Machine(tmp_path, f"http://127.0.0.1:{port}")
    kills = [2, 12, 22, 32, 42]
    try:
        driver = machine.driver(
            candidates=25,
            fit_seconds=0.0,
            parallelism=1,
            stop_at_fits=[*kills, 52],
            autolog={"flush_timeout": 120},
        )
        for round_, (fit, next_fit) in enumerate(pairwise([*kills, 52])):
            driver.wait_until(lambda line, fit=fit: line.get("stopped") == fit)
            if round_ % 2:
                wait_until(lambda: machine.status()["searches"][0]["waiting"] == 0, 60)
            # Otherwise the relay is delivering.
            stop_server(server, 9)
            machine.release(fit)
            driver.wait_until(lambda line, fit=next_fit: line.get("stopped") == fit)
            server = start_server(tmp_path, port)
        machine.release(52)
        driver.finish()
        report = compare(machine.store, driver)
        assert report.is_clean(), report
        assert report.status == {"FINISHED": 26}
        assert machine.files() == []
    finally:
        stop_server(server)
    figures["4 server killed 5 times"] = (
        f"complete at the end of fit(), {driver.seconds():.0f} s; {report.printed} scores, 0 lost"
    )


@pytest.mark.parametrize("kind", ["server", "file_server"])
def test_5_every_third_connection_cut_before_the_answer(tmp_path, request, kind, figures):
    """On SQLite, and on a file store, which keeps a point as often as it is sent."""
    uri = request.getfixturevalue(f"{kind}_uri")
    proxy = Proxy(uri, lambda number: "cut" if number % 3 == 0 else None)
    try:
        machine = Machine(tmp_path, proxy.uri, real_uri=uri)
        driver = machine.driver(autolog={"flush_timeout": 150}).finish()
        report = compare(machine.store, driver)
        assert report.is_clean(), report
        assert report.status == {"FINISHED": 11}
        parent = machine.store.only_parent_run()
        counts = machine.store.history(parent, "fits_finished")
        assert [step for step, _ in counts] == sorted({step for step, _ in counts})
        assert machine.files() == []
    finally:
        proxy.close()
    figures[f"5 every third answer lost, {'SQLite' if kind == 'server' else 'file store'}"] = (
        f"{len(proxy.answered)} requests, {report.printed} scores, 0 lost, 0 doubled"
    )


def test_6_answers_that_ask_to_retry(machine, proxy, figures):
    """The server sends each of these answers several times."""
    statuses = (429, 500, 503)
    proxy.rule = lambda number: statuses[number % 3] if number <= 9 else None
    driver = machine.driver(autolog={"flush_timeout": 120}).finish()
    report = compare(machine.store, driver)
    assert report.is_clean(), report
    assert report.status == {"FINISHED": 11}
    figures["6 status 429, 500, 503 for a while"] = f"{report.printed} scores, 0 lost"


def test_6_401_warns_once_and_is_retried_at_the_next_search(machine, proxy, figures):
    allowed = [False]
    proxy.rule = lambda _: None if allowed[0] else 401
    driver = machine.driver(autolog={"flush_timeout": 20}).finish()
    assert driver.seconds() < 10, "fit() waited although retries cannot succeed"
    of_search = [text for text in driver.warnings() if "MLFLOW_TRACKING_TOKEN" in text]
    assert len(of_search) == 2, driver.warnings()  # one by the search, one at process exit
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in of_search[0]
    (search,) = machine.status()["searches"]
    assert "401" in search["last_error"]
    allowed[0] = True
    later = machine.driver(candidates=2, seed=5, autolog={"flush_timeout": 60}).finish()
    machine.sync()
    report = compare(machine.store, driver, later)
    assert report.is_clean(), report
    assert report.status == {"FINISHED": 14}
    figures["6 status 401"] = f"kept, one warning; {report.printed} scores, 0 lost"


@pytest.mark.timed
def test_7_lost_packets(machine, proxy, figures):
    """Requests are never answered: Spark threads continue, and waits are bounded."""
    proxy.rule = lambda _: "vanish"
    began = time.monotonic()
    driver = machine.driver(autolog={"flush_timeout": 3}).ready()
    ready = time.monotonic()
    driver.finish()
    whole = time.monotonic() - began
    untracked = 30 * 0.05 / 2
    assert driver.seconds() < untracked + 3 + 2
    assert time.monotonic() - ready < untracked + 3 + 3 + 8, "fit(), the exit, and Spark's own end"
    proxy.rule = lambda _: None
    machine.sync()
    report = compare(machine.store, driver)
    assert report.is_clean(), report
    figures["7 packets vanish"] = (
        f"fit() {driver.seconds():.1f} s, process {whole:.1f} s, with a flush_timeout of 3 s; "
        f"{report.printed} scores, 0 lost"
    )


def test_rejected_search_is_kept_listed_and_synced_later(machine, server_uri):
    """The experiment is deleted, so the server rejects the search until it is restored."""
    client = machine.store.client
    experiment_id = client.create_experiment(machine.experiment)
    client.delete_experiment(experiment_id)
    driver = machine.driver(candidates=3).finish()
    (search,) = machine.status()["searches"]
    assert search["waiting"] == 0
    assert search["rejected"] > 10
    assert "deleted" in search["rejected_reason"]
    assert "rejected by the server" in machine.sync(code=1)
    client.restore_experiment(experiment_id)
    machine.sync()
    report = compare(machine.store, driver)
    assert report.is_clean(), report
    assert report.status == {"FINISHED": 4}
    assert machine.files() == []


def test_drop_lists_and_deletes_undelivered_operations(tmp_path):
    machine = Machine(tmp_path, "http://127.0.0.1:1")
    machine.driver(candidates=2, autolog={"flush_timeout": 0}).finish()
    (search,) = machine.status()["searches"]
    asks = machine.command("drop", search["search_id"])
    out, _ = asks.communicate(timeout=60)
    assert asks.returncode == 1
    assert f"deletes {search['waiting']} operations that have not reached http://127.0.0.1:1" in out
    assert machine.status()["searches"][0]["waiting"] == search["waiting"]
    dropped = machine.command("drop", search["search_id"], "--yes")
    out, _ = dropped.communicate(timeout=60)
    assert dropped.returncode == 0
    assert machine.files() == []
    assert json.loads(json.dumps(machine.status()))["searches"] == []
    assert machine.command("drop", "no-such-search").wait(60) == 1


CANDIDATES = 100 if ROUNDS > 3 else 30


@pytest.mark.parametrize("slow", [False, True])
def test_child_run_takes_three_requests(machine, proxy, slow, figures):
    """Create, one batch and end; batches of the parent run are allowed on top."""
    proxy.delay = 0.05 if slow else 0.0
    driver = machine.driver(
        candidates=CANDIDATES, fit_seconds=0.0, parallelism=4, autolog={"flush_timeout": 120}
    ).finish()
    report = compare(machine.store, driver)
    assert report.is_clean(), report
    parent = machine.store.only_parent_run()
    requests = len(proxy.answered)
    creates = sum(r.path.endswith("runs/create") for r in proxy.answered) - 1
    ends = sum(r.path.endswith("runs/update") for r in proxy.answered) - 1
    batches = sum(r.path.endswith("runs/log-batch") for r in proxy.answered)
    assert creates == ends == CANDIDATES
    assert creates + ends + batches <= 3 * CANDIDATES + parent_run_batches(machine, parent)
    name = "slow" if slow else "fast"
    figures[f"13 requests a child, {name} server"] = (
        f"{(creates + ends + batches) / CANDIDATES:.2f} a child of 3 folds with the parent run's "
        f"batches, {requests} requests in all for {CANDIDATES} candidates"
    )


def parent_run_batches(machine: Machine, parent) -> int:
    """Return the maximum number of batches of the parent run, one per progress update."""
    return len(machine.store.history(parent, "fits_finished")) + 5
