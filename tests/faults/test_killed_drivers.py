"""Faults 1, 2, 10, 11 and 12: killed and concurrent processes."""

from __future__ import annotations

import random
import shutil
import signal
import sys
import time

import pytest

from support.driver_machine import ROUNDS, Machine, compare
from support.faulty_proxy import Proxy
from support.waiting import wait_until

SEED = random.randrange(1_000_000)


@pytest.fixture
def machine(tmp_path, server_uri):
    return Machine(tmp_path, server_uri)


@pytest.mark.versions
def test_1_driver_killed_at_random_moments(tmp_path, server_uri, figures):
    """All scores before the kill are recorded, except those in flight."""
    rng = random.Random(SEED)
    printed = lost = 0
    for round_ in range(ROUNDS):
        machine = Machine(tmp_path / str(round_), server_uri)
        parallelism = rng.choice([1, 2])
        seconds, in_one_run = rng.uniform(0.0, 4.0), rng.random() < 0.5
        driver = machine.driver(
            candidates=12,
            fit_seconds=0.08 * parallelism,
            parallelism=parallelism,
            in_one_run=in_one_run,
        ).ready()
        time.sleep(seconds)
        driver.kill()
        machine.sync()
        if not _has_a_search(machine):
            # Killed before the search started; a run of the user may exist.
            assert not driver.scores()
            assert machine.files() == []
            continue
        report = compare(machine.store, driver)
        where = f"seed {SEED}, round {round_}, {seconds:.3f} s: {report}"
        if in_one_run and report.status == {"FINISHED": 12, "RUNNING": 1}:
            # The search had ended, and the run is the user's (docs/explanation/durability.md).
            (parent,) = machine.store.parent_runs()
            assert report.running == [parent.info.run_name], where
            assert "trackmllib.last_sign_of_life" not in parent.data.tags, where
            report.running.clear()
        assert report.is_clean(in_flight=parallelism), where
        assert machine.status() == {"searches": [], "damaged": []}, where
        assert machine.files() == [], where
        printed, lost = printed + report.printed, lost + len(report.lost)
        parents = machine.store.parent_runs()
        for parent in parents:
            if parent.info.status == "KILLED" and "trackmllib.search_id" in parent.data.tags:
                assert "trackmllib.last_sign_of_life" in parent.data.tags, where
                rows = machine.store.results(parent)
                in_csv = sum(bool(row[f"fold_{fold}"]) for row in rows for fold in range(3))
                assert in_csv == report.printed - len(report.lost), where
    figures["1 kill -9 of the driver"] = (
        f"{ROUNDS} rounds, seed {SEED}: {printed} scores printed, {lost} in flight, 0 lost, "
        "0 duplicated"
    )


def _has_a_search(machine: Machine) -> bool:
    if machine.store.client.get_experiment_by_name(machine.experiment) is None:
        return False
    return any("trackmllib.search_id" in run.data.tags for run in machine.store.runs())


def test_2_sync_killed_at_random_moments(tmp_path, server_uri, figures):
    rng = random.Random(SEED)
    made = Machine(tmp_path / "made", "http://127.0.0.1:1")
    driver = made.driver(candidates=12, fit_seconds=0.0, autolog={"flush_timeout": 0}).ready()
    driver.finish()
    for round_ in range(ROUNDS):
        machine = Machine(tmp_path / str(round_), server_uri)
        shutil.copytree(made.home, machine.home)
        machine.redirect_outbox(made)
        seconds = rng.uniform(1.0, 4.0)
        sync = machine.command("sync")
        time.sleep(seconds)
        sync.kill()
        sync.communicate()
        machine.sync()
        report = compare(machine.store, driver)
        where = f"seed {SEED}, round {round_}, {seconds:.3f} s: {report}"
        assert report.is_clean(), where
        assert report.printed == 36, where
        assert report.status == {"FINISHED": 13}, where
        assert machine.files() == [], where
    figures["2 kill -9 during sync"] = (
        f"{ROUNDS} rounds, seed {SEED}: 36 scores each, 0 lost, 0 doubled"
    )


@pytest.mark.parametrize("in_one_run", [False, True])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, -signal.SIGINT)]
)
def test_11_signal_during_a_fit(machine, number, code, in_one_run, figures):
    """Runs are KILLED and complete without a sync; the signal ends the process."""
    driver = machine.driver(
        fit_seconds=0.02, stop_at_fits=[15], parallelism=1, in_one_run=in_one_run
    )
    driver.wait_until(lambda line: "stopped" in line)
    driver.signal(number, code)
    report = compare(machine.store, driver)
    assert report.printed >= 14
    assert report.is_clean(), report
    parent = machine.store.only_parent_run()
    # After Ctrl-C, MLflow ends a run of the user as after any other error.
    assert parent.info.status == ("FAILED" if in_one_run and number == signal.SIGINT else "KILLED")
    assert {run.info.status for run in machine.store.children(parent)} == {"KILLED"}
    assert machine.files() == []
    figures[f"11 {signal.Signals(number).name}"] = f"{report.printed} scores printed, 0 lost"


def check_ended_killed(machine, driver, printed: int) -> None:
    """Check that SIGTERM leaves KILLED runs with all scores, without a sync."""
    report = compare(machine.store, driver)
    assert report.printed == printed
    assert report.is_clean(), report
    assert set(report.status) == {"KILLED"}
    assert machine.files() == []


@pytest.mark.skipif(sys.platform != "linux", reason="there are no PID namespaces")
def test_11_first_process_of_a_container_ends_at_sigterm(machine):
    driver = machine.driver_in_container(fit_seconds=0.02, stop_at_fits=[15], parallelism=1)
    driver.wait_until(lambda line: "stopped" in line)
    driver.signal(signal.SIGTERM, 128 + signal.SIGTERM)
    check_ended_killed(machine, driver, 14)


def test_11_driver_at_the_thread_limit_ends_at_sigterm(machine):
    driver = machine.driver(
        fit_seconds=0.02, stop_at_fits=[15], parallelism=1, no_more_threads=True
    )
    driver.wait_until(lambda line: "stopped" in line)
    driver.signal(signal.SIGTERM, -signal.SIGTERM)
    check_ended_killed(machine, driver, 14)


def test_10_one_of_four_drivers_is_killed(machine, figures):
    drivers = [
        machine.driver(candidates=8, fit_seconds=0.1, seed=n, autolog={"flush_timeout": 60})
        for n in range(4)
    ]
    dead, *others = drivers
    dead.after_fits(6).kill()
    for driver in others:
        driver.finish()
    # The next search of this user recovers the dead one's outbox in the background.
    later = machine.driver(candidates=2, seed=9).finish()
    machine.sync()
    store = machine.store
    by_size = sorted(store.parent_runs(), key=lambda run: len(store.children(run)))
    assert len(by_size) == 5
    killed = [run for run in by_size if run.info.status == "KILLED"]
    assert len(killed) == 1
    report = compare(store, *others, later, dead)
    assert report.is_clean(in_flight=2), report
    assert machine.files() == []
    figures["10 four drivers at once"] = (
        f"{report.printed} scores printed, {len(report.lost)} in flight, 0 lost, "
        "1 search recovered once"
    )


def test_10_next_autolog_recovers_in_the_background(machine):
    """Without a sync, while a search runs."""
    dead = machine.driver(candidates=8, fit_seconds=0.1).after_fits(6)
    dead.kill()
    assert [s["state"] for s in machine.status()["searches"]] == ["died with its process"]
    later = machine.driver(candidates=2, folds=2, seed=9, stop_at_fits=[3])
    wait_until(lambda: len(machine.store.parent_runs()) == 2, 60)
    wait_until(lambda: "KILLED" in {run.info.status for run in machine.store.parent_runs()}, 60)
    later.wait_until(lambda line: "stopped" in line)
    machine.release(3)
    later.finish()
    report = compare(machine.store, dead, later)
    assert report.is_clean(in_flight=2), report
    assert report.status["KILLED"] >= 1
    assert machine.files() == []


def test_running_search_is_never_recovered(machine):
    driver = machine.driver(candidates=12, stop_at_fits=[10], fit_seconds=0.02)
    driver.wait_until(lambda line: "stopped" in line)
    out = machine.sync(code=1)
    assert f"running in process {driver.process.pid}, which delivers it" in out
    (search,) = machine.status()["searches"]
    assert search["pid"] == driver.process.pid
    assert machine.command("drop", search["search_id"], "--yes").wait(60) == 1
    driver.signal(signal.SIGTERM, -signal.SIGTERM)
    assert compare(machine.store, driver).is_clean()
    assert machine.files() == []


def test_12_two_syncs_at_once(machine, server_uri, figures):
    """Each operation is sent once, as counted at the server."""
    proxy = Proxy(server_uri)
    proxy.rule = lambda _: 503
    machine.uri, machine.real_uri = proxy.uri, server_uri
    driver = machine.driver(candidates=20, fit_seconds=0.0, autolog={"flush_timeout": 0}).finish()
    proxy.rule = lambda _: None
    syncs = [machine.command("sync"), machine.command("sync")]
    codes = sorted(process.wait(120) for process in syncs)
    assert codes[0] == 0, [process.communicate() for process in syncs]
    machine.sync()
    report = compare(machine.store, driver)
    assert report.is_clean(), report
    created = [r for r in proxy.answered if r.path.endswith("/runs/create") and r.status == 200]
    assert len(created) == 21
    figures["12 two syncs at once"] = (
        f"{len(created)} runs for 21, {report.printed} scores, 0 doubled"
    )
    proxy.close()


def test_driver_killed_in_an_inner_search(machine):
    """Runs stay nested, and each run of both searches gets its true status."""
    driver = machine.driver(candidates=2, parallelism=1, inner=3).ready()
    driver.wait_until(lambda line: "stopped" in line)
    driver.kill()
    machine.sync()
    (parent,) = machine.store.parent_runs()
    (child,) = machine.store.children(parent)
    (inner,) = machine.store.inner(child)
    assert inner.info.run_name == "CrossValidator: StubEstimator (fold 0)"
    assert [run.info.status for run in (parent, child, inner)] == ["KILLED"] * 3
    children = machine.store.children(inner)
    assert [run.info.status for run in children] == ["KILLED", "KILLED"]
    printed = [line["score"] for line in driver.printed() if line.get("search") == "inner"]
    recorded = [value for run in children for _, value in machine.store.history(run, "stub")]
    # The driver stopped before it printed the third score.
    assert sorted(recorded) == sorted(printed)
    assert len(printed) == 2
    assert machine.status() == {"searches": [], "damaged": []}
