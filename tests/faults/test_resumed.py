"""Drivers that are killed, and run again with ``autolog(resume=True)``."""

from __future__ import annotations

import json
import random
import shutil
import sys
import time
from collections import defaultdict

import pytest

from faults.scene import _HERE, ROUNDS, Driver, Scene

SEED = 7


def start(scene: Scene, **settings) -> Driver:
    return Driver(scene, [sys.executable, str(_HERE / "resumed_driver.py"), json.dumps(settings)])


def outcome(driver: Driver) -> dict:
    said = driver.finish().wait_until(lambda line: "fitted" in line)
    return {key: said[key] for key in ("averages", "deviations", "best", "model")}


def taken(driver: Driver) -> int:
    return driver.wait_until(lambda line: "fitted" in line)["taken"]


def on_another_machine(scene: Scene) -> None:
    """Its home folder is empty: there is the server alone."""
    shutil.rmtree(scene.home, ignore_errors=True)


def on_the_server(scene: Scene) -> int:
    """How many scores it has."""
    if scene.store.client.get_experiment_by_name(scene.experiment) is None:
        return 0
    tags = (tag for run in scene.store.runs() for tag in run.data.tags)
    return sum(tag.startswith("trackmllib.cell.") for tag in tags)


def test_kill_9_and_again_with_resume(tmp_path, server_uri, figures):
    """Killed at random moments, stubs and trees, on the same machine and on another one: the end is
    that of a search that nobody killed, and only what was in flight is computed again.
    """
    rng = random.Random(SEED)
    kinds = {
        "stub": {"candidates": 10, "fit_seconds": 0.1},
        "tree": {"candidates": 4},
    }
    expected = {}
    for kind, settings in kinds.items():
        scene = Scene(tmp_path / f"whole-{kind}", server_uri)
        expected[kind] = outcome(start(scene, kind=kind, autolog={"resume": False}, **settings))
    found: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for round_ in range(ROUNDS):
        kind = ["stub", "tree"][round_ % 2]
        elsewhere = round_ % 4 in (1, 2)
        scene = Scene(tmp_path / str(round_), server_uri)
        settings = {
            **kinds[kind],
            "kind": kind,
            "parallelism": rng.choice([1, 2]),
            "autolog": {"reuse_stages": rng.random() < 0.5, "parallel_folds": rng.random() < 0.5},
        }
        cells = settings["candidates"] * 3
        before, seconds = rng.randrange(1, cells - 3), rng.uniform(0.0, 0.2)
        driver = start(scene, **settings).ready().after_cells(before)
        time.sleep(seconds)
        driver.kill()
        done = len([line for line in driver.said() if "score" in line])
        least = done - settings["parallelism"]
        if elsewhere:
            # What the server did not have by then is on the machine that is gone.
            least = min(least, on_the_server(scene))
            on_another_machine(scene)
        resumed = start(scene, **settings)
        where = f"seed {SEED}, round {round_}, {settings}, {before} cells and {seconds:.3f} s"
        assert outcome(resumed) == expected[kind], where
        assert least <= taken(resumed) <= done, (where, least, done, taken(resumed))
        computed = len([line for line in resumed.said() if "score" in line])
        assert computed + taken(resumed) == cells, where
        which = "another machine" if elsewhere else "the same machine"
        found[which].append((done, done - taken(resumed), cells))
    for number, (which, rounds) in enumerate(sorted(found.items()), start=15):
        done, again, cells = (sum(column) for column in zip(*rounds, strict=True))
        figures[f"{number} kill -9 and again with resume, on {which}"] = (
            f"{len(rounds)} rounds, seed {SEED}: {done} of {cells} cells scored before the kill, "
            f"{again} of these computed again ({again / cells:.1%} of the search)"
        )


def test_killed_and_resumed_five_times(tmp_path, server_uri):
    settings = {"candidates": 20, "fit_seconds": 0.1, "parallelism": 2}
    scene = Scene(tmp_path, server_uri)
    expected = outcome(
        start(Scene(tmp_path / "whole", server_uri), **settings, autolog={"resume": False})
    )
    done = 0
    for _ in range(5):
        driver = start(scene, **settings).ready().after_cells(6)
        driver.kill()
        done += len([line for line in driver.said() if "score" in line])
    last = start(scene, **settings)
    assert outcome(last) == expected
    assert done - 5 * 2 <= taken(last) <= done


def test_two_resumed_searches_at_once(tmp_path, server_uri):
    settings = {"candidates": 8, "fit_seconds": 0.1, "parallelism": 2}
    scene = Scene(tmp_path, server_uri)
    start(scene, **settings).ready().after_cells(10).kill()
    both = [start(scene, **settings) for _ in range(2)]
    first, second = (outcome(driver) for driver in both)
    assert first == second
    assert all(taken(driver) >= 8 for driver in both)
    mains = [run for run in scene.store.main_runs() if run.info.status == "FINISHED"]
    assert len(mains) == 2
    for main in mains:
        assert len(scene.store.children(main)) == 8


@pytest.mark.parametrize(("options", "reused"), [({}, 0), ({"data_version": "1"}, 15)])
def test_other_partitions_in_another_process(tmp_path, server_uri, options, reused):
    settings = {"candidates": 5, "fit_seconds": 0.0, "fold_col": True, "autolog": options}
    scene = Scene(tmp_path, server_uri)
    outcome(start(scene, **settings))
    again = start(scene, partitions=7, **settings)
    outcome(again)
    assert taken(again) == reused
