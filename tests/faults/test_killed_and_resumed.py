"""Killed drivers that run again with ``autolog(resume=True)``."""

from __future__ import annotations

import json
import random
import shutil
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from support.driver_machine import ROUNDS, Driver, Machine

SEED = 7
_DRIVER = str(Path(__file__).with_name("resumed_driver.py"))


def start(machine: Machine, **settings) -> Driver:
    return Driver(machine, [sys.executable, _DRIVER, json.dumps(settings)])


def outcome(driver: Driver) -> dict:
    printed = driver.finish().wait_until(lambda line: "fitted" in line)
    return {key: printed[key] for key in ("averages", "deviations", "best", "model")}


def reused_scores(driver: Driver) -> int:
    return driver.wait_until(lambda line: "fitted" in line)["taken"]


def on_another_machine(machine: Machine) -> None:
    """Empty the home folder, so that only the server has the record."""
    shutil.rmtree(machine.home, ignore_errors=True)


def scores_on_server(machine: Machine) -> int:
    """Return the number of scores on the server."""
    if machine.store.client.get_experiment_by_name(machine.experiment) is None:
        return 0
    tags = (tag for run in machine.store.runs() for tag in run.data.tags)
    return sum(tag.startswith("trackmllib.fit.") for tag in tags)


def test_killed_search_is_resumed(tmp_path, server_uri, figures):
    """The result equals that of an undisturbed search; only fits in flight run again.

    Stubs and pipelines are killed at random moments and resumed on the same or another machine.
    """
    rng = random.Random(SEED)
    kinds = {
        "stub": {"candidates": 10, "fit_seconds": 0.1},
        "pipeline": {"candidates": 4},
    }
    expected = {}
    for kind, settings in kinds.items():
        machine = Machine(tmp_path / f"whole-{kind}", server_uri)
        expected[kind] = outcome(start(machine, kind=kind, autolog={"resume": False}, **settings))
    found: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for round_ in range(ROUNDS):
        kind = ["stub", "pipeline"][round_ % 2]
        elsewhere = round_ % 4 in (1, 2)
        machine = Machine(tmp_path / str(round_), server_uri)
        settings = {
            **kinds[kind],
            "kind": kind,
            "parallelism": rng.choice([1, 2]),
            "autolog": {"reuse_stages": rng.random() < 0.5, "parallel_folds": rng.random() < 0.5},
        }
        fits = settings["candidates"] * 3
        before, seconds = rng.randrange(1, fits - 3), rng.uniform(0.0, 0.2)
        driver = start(machine, **settings).ready().after_fits(before)
        time.sleep(seconds)
        driver.kill()
        done = len([line for line in driver.printed() if "score" in line])
        least = done - settings["parallelism"]
        if elsewhere:
            # Scores that were not delivered are lost with the machine.
            least = min(least, scores_on_server(machine))
            on_another_machine(machine)
        resumed = start(machine, **settings)
        where = f"seed {SEED}, round {round_}, {settings}, {before} fits and {seconds:.3f} s"
        assert outcome(resumed) == expected[kind], where
        assert least <= reused_scores(resumed) <= done, (where, least, done, reused_scores(resumed))
        computed = len([line for line in resumed.printed() if "score" in line])
        assert computed + reused_scores(resumed) == fits, where
        which = "another machine" if elsewhere else "the same machine"
        found[which].append((done, done - reused_scores(resumed), fits))
    for number, (which, rounds) in enumerate(sorted(found.items()), start=15):
        done, again, fits = (sum(column) for column in zip(*rounds, strict=True))
        figures[f"{number} kill -9 and again with resume, on {which}"] = (
            f"{len(rounds)} rounds, seed {SEED}: {done} of {fits} fits scored before the kill, "
            f"{again} of these computed again ({again / fits:.1%} of the search)"
        )


def test_search_killed_and_resumed_five_times(tmp_path, server_uri):
    settings = {"candidates": 20, "fit_seconds": 0.1, "parallelism": 2}
    machine = Machine(tmp_path, server_uri)
    expected = outcome(
        start(Machine(tmp_path / "whole", server_uri), **settings, autolog={"resume": False})
    )
    done = 0
    for _ in range(5):
        driver = start(machine, **settings).ready().after_fits(6)
        driver.kill()
        done += len([line for line in driver.printed() if "score" in line])
    last = start(machine, **settings)
    assert outcome(last) == expected
    assert done - 5 * 2 <= reused_scores(last) <= done


def test_two_resumed_searches_at_once(tmp_path, server_uri):
    settings = {"candidates": 8, "fit_seconds": 0.1, "parallelism": 2}
    machine = Machine(tmp_path, server_uri)
    start(machine, **settings).ready().after_fits(10).kill()
    both = [start(machine, **settings) for _ in range(2)]
    first, second = (outcome(driver) for driver in both)
    assert first == second
    assert all(reused_scores(driver) >= 8 for driver in both)
    parents = [run for run in machine.store.parent_runs() if run.info.status == "FINISHED"]
    assert len(parents) == 2
    for parent in parents:
        assert len(machine.store.children(parent)) == 8


@pytest.mark.parametrize(("options", "reused"), [({}, 0), ({"data_version": "1"}, 15)])
def test_other_partitions_in_another_process(tmp_path, server_uri, options, reused):
    settings = {"candidates": 5, "fit_seconds": 0.0, "fold_col": True, "autolog": options}
    machine = Machine(tmp_path, server_uri)
    outcome(start(machine, **settings))
    again = start(machine, partitions=7, **settings)
    outcome(again)
    assert reused_scores(again) == reused
