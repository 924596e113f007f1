"""Faults 1, 2, 10, 11 and 12: processes that die, and several at once."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import sys
import time

import pytest

from faults.proxy import Proxy
from faults.scene import ROUNDS, Scene, compare

SEED = random.randrange(1_000_000)


@pytest.fixture
def scene(tmp_path, server_uri):
    return Scene(tmp_path, server_uri)


def test_1_kill_9_of_the_driver_at_random_moments(tmp_path, server_uri, figures):
    """Every score that the evaluator returned before the kill is there, less those in flight."""
    rng = random.Random(SEED)
    said = lost = 0
    for round_ in range(ROUNDS):
        scene = Scene(tmp_path / str(round_), server_uri)
        parallelism = rng.choice([1, 2])
        seconds, in_one_run = rng.uniform(0.0, 4.0), rng.random() < 0.5
        driver = scene.driver(
            candidates=12,
            fit_seconds=0.08 * parallelism,
            parallelism=parallelism,
            in_one_run=in_one_run,
        ).ready()
        time.sleep(seconds)
        driver.kill()
        scene.sync()
        if not _has_a_search(scene):
            # Killed before the search had begun; a run of the user's may have.
            assert not driver.scores()
            assert scene.files() == []
            continue
        report = compare(scene.store, driver)
        where = f"seed {SEED}, round {round_}, {seconds:.3f} s: {report}"
        if in_one_run and report.status == {"FINISHED": 12, "RUNNING": 1}:
            # The search was over before the kill, and the run is the user's: docs/durability.md.
            (main,) = scene.store.main_runs()
            assert report.running == [main.info.run_name], where
            assert "trackmllib.last_sign_of_life" not in main.data.tags, where
            report.running.clear()
        assert report.is_clean(in_flight=parallelism), where
        assert scene.status() == {"searches": [], "damaged": []}, where
        assert scene.files() == [], where
        said, lost = said + report.said, lost + len(report.lost)
        mains = scene.store.main_runs()
        for main in mains:
            if main.info.status == "KILLED" and "trackmllib.search_id" in main.data.tags:
                assert "trackmllib.last_sign_of_life" in main.data.tags, where
                rows = scene.store.results(main)
                in_csv = sum(bool(row[f"fold_{fold}"]) for row in rows for fold in range(3))
                assert in_csv == report.said - len(report.lost), where
    figures["1 kill -9 of the driver"] = (
        f"{ROUNDS} rounds, seed {SEED}: {said} scores said, {lost} in flight, 0 lost, 0 doubled"
    )


def _has_a_search(scene: Scene) -> bool:
    if scene.store.client.get_experiment_by_name(scene.experiment) is None:
        return False
    return any("trackmllib.search_id" in run.data.tags for run in scene.store.runs())


def test_2_kill_9_during_sync_at_random_moments(tmp_path, server_uri, figures):
    rng = random.Random(SEED)
    made = Scene(tmp_path / "made", "http://127.0.0.1:1")
    driver = made.driver(candidates=12, fit_seconds=0.0, autolog={"flush_timeout": 0}).ready()
    driver.finish()
    for round_ in range(ROUNDS):
        scene = Scene(tmp_path / str(round_), server_uri)
        shutil.copytree(made.home, scene.home)
        redirect(scene, made)
        seconds = rng.uniform(1.0, 4.0)
        sync = scene.command("sync")
        time.sleep(seconds)
        sync.kill()
        sync.communicate()
        scene.sync()
        report = compare(scene.store, driver)
        where = f"seed {SEED}, round {round_}, {seconds:.3f} s: {report}"
        assert report.is_clean(), where
        assert report.said == 36, where
        assert report.status == {"FINISHED": 13}, where
        assert scene.files() == [], where
    figures["2 kill -9 during sync"] = (
        f"{ROUNDS} rounds, seed {SEED}: 36 scores each, 0 lost, 0 doubled"
    )


def redirect(scene: Scene, made: Scene) -> None:
    """Let the copy of an outbox be for another server and experiment: a test's need, no user's."""
    for path in (scene.home / "outbox").glob("*.db"):
        connection = sqlite3.connect(path)
        for old, new in ((made.uri, scene.uri), (made.experiment, scene.experiment)):
            for table, column in (("searches", "destination"), ("rows", "body")):
                connection.execute(
                    f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (old, new)
                )
        connection.commit()
        connection.close()


@pytest.mark.parametrize("in_one_run", [False, True])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, -signal.SIGINT)]
)
def test_11_a_signal_in_the_middle_of_a_cell(scene, number, code, in_one_run, figures):
    """KILLED, complete to that moment, without a sync; SIGTERM still ends the process as such."""
    driver = scene.driver(fit_seconds=0.02, stop_at_cell=15, parallelism=1, in_one_run=in_one_run)
    driver.wait_until(lambda line: "stopped" in line)
    driver.signal(number, code)
    report = compare(scene.store, driver)
    assert report.said >= 14
    assert report.is_clean(), report
    main = scene.store.only_main_run()
    # Of a run of the user's, MLflow says at a Ctrl-C what it says of any block that raises.
    assert main.info.status == ("FAILED" if in_one_run and number == signal.SIGINT else "KILLED")
    assert {run.info.status for run in scene.store.children(main)} == {"KILLED"}
    assert scene.files() == []
    figures[f"11 {signal.Signals(number).name}"] = f"{report.said} scores said, 0 lost"


def ended_killed(scene, driver, said: int) -> None:
    """By SIGTERM, without a sync: the runs of its search are KILLED, with all its scores."""
    report = compare(scene.store, driver)
    assert report.said == said
    assert report.is_clean(), report
    assert set(report.status) == {"KILLED"}
    assert scene.files() == []


@pytest.mark.skipif(sys.platform != "linux", reason="there are no PID namespaces")
def test_11_first_process_of_a_container_ends_at_sigterm(scene):
    driver = scene.driver_in_container(fit_seconds=0.02, stop_at_cell=15, parallelism=1)
    driver.wait_until(lambda line: "stopped" in line)
    driver.signal(signal.SIGTERM, 128 + signal.SIGTERM)
    ended_killed(scene, driver, 14)


def test_11_driver_at_the_thread_limit_ends_at_sigterm(scene):
    driver = scene.driver(fit_seconds=0.02, stop_at_cell=15, parallelism=1, no_more_threads=True)
    driver.wait_until(lambda line: "stopped" in line)
    driver.signal(signal.SIGTERM, -signal.SIGTERM)
    ended_killed(scene, driver, 14)


def test_10_four_drivers_at_once_and_one_is_killed(scene, figures):
    drivers = [
        scene.driver(candidates=8, fit_seconds=0.1, seed=n, autolog={"flush_timeout": 60})
        for n in range(4)
    ]
    dead, *others = drivers
    dead.after_cells(6).kill()
    for driver in others:
        driver.finish()
    # The next search of this user takes over what the dead one has left, in the background.
    later = scene.driver(candidates=2, seed=9).finish()
    scene.sync()
    store = scene.store
    by_size = sorted(store.main_runs(), key=lambda run: len(store.children(run)))
    assert len(by_size) == 5
    killed = [run for run in by_size if run.info.status == "KILLED"]
    assert len(killed) == 1
    report = compare(store, *others, later, dead)
    assert report.is_clean(in_flight=2), report
    assert scene.files() == []
    figures["10 four drivers at once"] = (
        f"{report.said} scores said, {len(report.lost)} in flight, 0 lost, 1 search taken over once"
    )


def test_10_the_next_autolog_takes_over_in_the_background(scene):
    """Without a sync; and what it takes over is not waited for."""
    dead = scene.driver(candidates=8, fit_seconds=0.1).after_cells(6)
    dead.kill()
    assert [s["state"] for s in scene.status()["searches"]] == ["died with its process"]
    later = scene.driver(candidates=20, fit_seconds=0.1, seed=9).finish()
    report = compare(scene.store, dead, later)
    assert report.is_clean(in_flight=2), report
    assert report.status["KILLED"] >= 1
    assert scene.files() == []


def test_a_living_search_is_never_touched(scene):
    driver = scene.driver(candidates=12, stop_at_cell=10, fit_seconds=0.02)
    driver.wait_until(lambda line: "stopped" in line)
    out = scene.sync(code=1)
    assert f"running in process {driver.process.pid}, which delivers it" in out
    (search,) = scene.status()["searches"]
    assert search["pid"] == driver.process.pid
    assert scene.command("drop", search["search_id"], "--yes").wait(60) == 1
    driver.signal(signal.SIGTERM, -signal.SIGTERM)
    assert compare(scene.store, driver).is_clean()
    assert scene.files() == []


def test_12_two_syncs_at_once(scene, server_uri, figures):
    """Each operation once, counted at the server."""
    proxy = Proxy(server_uri)
    proxy.rule = lambda _: 503
    scene.uri, scene.real_uri = proxy.uri, server_uri
    driver = scene.driver(candidates=20, fit_seconds=0.0, autolog={"flush_timeout": 0}).finish()
    proxy.rule = lambda _: None
    syncs = [scene.command("sync"), scene.command("sync")]
    codes = sorted(process.wait(120) for process in syncs)
    assert codes[0] == 0, [process.communicate() for process in syncs]
    scene.sync()
    report = compare(scene.store, driver)
    assert report.is_clean(), report
    created = [r for r in proxy.answered if r.path.endswith("/runs/create") and r.status == 200]
    assert len(created) == 21
    figures["12 two syncs at once"] = f"{len(created)} runs for 21, {report.said} scores, 0 doubled"
    proxy.close()


def test_a_driver_that_is_killed_in_an_inner_search(scene):
    """What was nested stays nested, and every run of both searches ends as what it was."""
    driver = scene.driver(candidates=2, parallelism=1, inner=3).ready()
    driver.wait_until(lambda line: "stopped" in line)
    driver.kill()
    scene.sync()
    (main,) = scene.store.main_runs()
    (child,) = scene.store.children(main)
    (inner,) = scene.store.inner(child)
    assert inner.info.run_name == "CrossValidator: StubEstimator (fold 0)"
    assert [run.info.status for run in (main, child, inner)] == ["KILLED"] * 3
    children = scene.store.children(inner)
    assert [run.info.status for run in children] == ["KILLED", "KILLED"]
    said = [line["score"] for line in driver.said() if line.get("search") == "inner"]
    recorded = [value for run in children for _, value in scene.store.history(run, "stub")]
    # The third score stood still before it was said.
    assert sorted(recorded) == sorted(said)
    assert len(said) == 2
    assert scene.status() == {"searches": [], "damaged": []}
