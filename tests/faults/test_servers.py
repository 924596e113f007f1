"""Faults 3 to 7: what servers and networks do."""

from __future__ import annotations

import json
import time

import pytest

from conftest import free_port, start_server, stop_server
from faults.proxy import Proxy
from faults.scene import Scene, compare


@pytest.fixture
def proxy(server_uri):
    made = Proxy(server_uri)
    yield made
    made.close()


@pytest.fixture
def scene(tmp_path, proxy, server_uri):
    """A driver whose requests go through the proxy."""
    return Scene(tmp_path, proxy.uri, real_uri=server_uri)


def test_3_a_server_that_is_dead_from_before_to_after(tmp_path, figures):
    port = free_port()
    scene = Scene(tmp_path, f"http://127.0.0.1:{port}")
    driver = scene.driver(autolog={"flush_timeout": 3}).finish()
    untracked = 30 * 0.05 / 2
    assert driver.seconds() < untracked + 3 + 2
    said = driver.warnings()
    assert "All of it is safe on disk" in said[-1]
    assert "trackmllib sync" in said[-1]
    (search,) = scene.status()["searches"]
    assert search["state"] == "ended"
    assert search["server"] == scene.uri
    assert search["waiting"] > 30
    assert "refused" in search["last_error"]
    assert "operations wait for" in scene.sync("--timeout", "2", code=1)
    server = start_server(tmp_path, port)
    try:
        scene.sync("--server", "http://127.0.0.1:1", code=0)
        (left,) = scene.status()["searches"]
        assert left["waiting"] == search["waiting"]
        scene.sync("--server", scene.uri)
        report = compare(scene.store, driver)
        assert report.is_clean(), report
        assert report.status == {"FINISHED": 11}
        assert scene.files() == []
    finally:
        stop_server(server)
    figures["3 server dead throughout"] = (
        f"fit() {driver.seconds():.1f} s with a flush_timeout of 3 s; {report.said} scores, 0 lost"
    )


def test_4_a_server_that_is_killed_and_restarted_five_times(tmp_path, figures):
    port = free_port()
    server = start_server(tmp_path, port)
    scene = Scene(tmp_path, f"http://127.0.0.1:{port}")
    try:
        driver = scene.driver(
            candidates=25, fit_seconds=0.9, autolog={"flush_timeout": 120}, folds=3
        ).ready()
        for round_ in range(5):
            driver.after_cells(2 + 10 * round_)
            stop_server(server, 9)
            time.sleep(1.0)
            server = start_server(tmp_path, port)
        driver.finish()
        report = compare(scene.store, driver)
        assert report.is_clean(), report
        assert report.status == {"FINISHED": 26}
        assert scene.files() == []
    finally:
        stop_server(server)
    figures["4 server killed 5 times"] = (
        f"complete at the end of fit(), {driver.seconds():.0f} s; {report.said} scores, 0 lost"
    )


@pytest.mark.parametrize("files", [False, True])
def test_5_every_third_connection_is_cut_before_the_answer(tmp_path, files, figures):
    """In front of SQLite, and of a file store, which keeps a point as often as it is sent."""
    port = free_port()
    server = start_server(tmp_path, port, files=files)
    proxy = Proxy(f"http://127.0.0.1:{port}", lambda number: "cut" if number % 3 == 0 else None)
    try:
        scene = Scene(tmp_path, proxy.uri, real_uri=f"http://127.0.0.1:{port}")
        driver = scene.driver(autolog={"flush_timeout": 150}).finish()
        report = compare(scene.store, driver)
        assert report.is_clean(), report
        assert report.status == {"FINISHED": 11}
        main = scene.store.only_main_run()
        counts = scene.store.history(main, "cells_finished")
        assert [step for step, _ in counts] == sorted({step for step, _ in counts})
        assert scene.files() == []
    finally:
        proxy.close()
        stop_server(server)
    figures[f"5 every third answer lost, {'file store' if files else 'SQLite'}"] = (
        f"{len(proxy.answered)} requests, {report.said} scores, 0 lost, 0 doubled"
    )


@pytest.mark.parametrize("status", [429, 500, 503])
def test_6_answers_that_say_later(scene, proxy, status, figures):
    proxy.rule = lambda number: status if number <= 4 else None
    driver = scene.driver(autolog={"flush_timeout": 120}).finish()
    report = compare(scene.store, driver)
    assert report.is_clean(), report
    assert report.status == {"FINISHED": 11}
    figures[f"6 status {status} for a while"] = f"{report.said} scores, 0 lost"


def test_6_401_is_kept_with_one_warning_and_tried_at_the_next_search(scene, proxy, figures):
    allowed = [False]
    proxy.rule = lambda _: None if allowed[0] else 401
    driver = scene.driver(autolog={"flush_timeout": 20}).finish()
    assert driver.seconds() < 10, "nobody waits for what no time can mend"
    of_search = [text for text in driver.warnings() if "MLFLOW_TRACKING_TOKEN" in text]
    assert len(of_search) == 2, (
        driver.warnings()
    )  # one of the search, one at the end of the process
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in of_search[0]
    (search,) = scene.status()["searches"]
    assert "401" in search["last_error"]
    allowed[0] = True
    later = scene.driver(candidates=2, seed=5, autolog={"flush_timeout": 60}).finish()
    scene.sync()
    report = compare(scene.store, driver, later)
    assert report.is_clean(), report
    assert report.status == {"FINISHED": 14}
    figures["6 status 401"] = f"kept, one warning; {report.said} scores, 0 lost"


@pytest.mark.timed
def test_7_packets_vanish(scene, proxy, figures):
    """Accepted and never answered: the Spark threads go on, and each wait has its bound."""
    proxy.rule = lambda _: "vanish"
    began = time.monotonic()
    driver = scene.driver(autolog={"flush_timeout": 3}).ready()
    ready = time.monotonic()
    driver.finish()
    whole = time.monotonic() - began
    untracked = 30 * 0.05 / 2
    assert driver.seconds() < untracked + 3 + 2
    assert time.monotonic() - ready < untracked + 3 + 3 + 8, "fit(), the exit, and Spark's own end"
    proxy.rule = lambda _: None
    scene.sync()
    report = compare(scene.store, driver)
    assert report.is_clean(), report
    figures["7 packets vanish"] = (
        f"fit() {driver.seconds():.1f} s, process {whole:.1f} s, with a flush_timeout of 3 s; "
        f"{report.said} scores, 0 lost"
    )


def test_a_refused_search_is_set_aside_and_shown_and_synced_when_the_server_agrees(
    scene, server_uri
):
    """A deleted experiment: the server will never take it, until somebody restores it."""
    client = scene.store.client
    experiment_id = client.create_experiment(scene.experiment)
    client.delete_experiment(experiment_id)
    driver = scene.driver(candidates=3).finish()
    (search,) = scene.status()["searches"]
    assert search["waiting"] == 0
    assert search["rejected"] > 10
    assert "deleted" in search["reason"]
    assert "rejected by the server" in scene.sync(code=1)
    client.restore_experiment(experiment_id)
    scene.sync()
    report = compare(scene.store, driver)
    assert report.is_clean(), report
    assert report.status == {"FINISHED": 4}
    assert scene.files() == []


def test_drop_says_what_is_lost_and_drops_it(tmp_path):
    scene = Scene(tmp_path, "http://127.0.0.1:1")
    scene.driver(candidates=2, autolog={"flush_timeout": 0}).finish()
    (search,) = scene.status()["searches"]
    asks = scene.command("drop", search["search_id"])
    out, _ = asks.communicate(timeout=60)
    assert asks.returncode == 1
    assert f"{search['waiting']} operations that http://127.0.0.1:1 does not have" in out
    assert scene.status()["searches"][0]["waiting"] == search["waiting"]
    dropped = scene.command("drop", search["search_id"], "--yes")
    out, _ = dropped.communicate(timeout=60)
    assert dropped.returncode == 0
    assert scene.files() == []
    assert json.loads(json.dumps(scene.status()))["searches"] == []
    assert scene.command("drop", "no-such-search").wait(60) == 1


@pytest.mark.parametrize("slow", [False, True])
def test_a_child_costs_three_requests(scene, proxy, slow, figures):
    """Counted at the proxy: create, one batch, end; the main run's are counted apart."""
    proxy.delay = 0.05 if slow else 0.0
    driver = scene.driver(
        candidates=100, fit_seconds=0.0, parallelism=4, autolog={"flush_timeout": 120}
    ).finish()
    report = compare(scene.store, driver)
    assert report.is_clean(), report
    of_main = scene.store.only_main_run()
    requests = len(proxy.answered)
    creates = sum(r.path.endswith("runs/create") for r in proxy.answered) - 1
    ends = sum(r.path.endswith("runs/update") for r in proxy.answered) - 1
    batches = sum(r.path.endswith("runs/log-batch") for r in proxy.answered)
    assert creates == ends == 100
    assert creates + ends + batches <= 3 * 100 + main_batches(scene, of_main)
    name = "slow" if slow else "fast"
    figures[f"13 requests a child, {name} server"] = (
        f"{(creates + ends + batches) / 100:.2f} a child of 3 folds with the main run's batches, "
        f"{requests} requests in all for 100 candidates"
    )


def main_batches(scene: Scene, main) -> int:
    """At most how many batches went to the main run: one for each moment it shows progress."""
    return len(scene.store.history(main, "cells_finished")) + 5
