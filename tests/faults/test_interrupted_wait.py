"""Ctrl-C while ``fit()`` waits for delivery, which never loses a fitted model."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from faults.proxy import Proxy
from faults.scene import Scene, compare

_DRIVER = Path(__file__).resolve().parent / "interrupted_driver.py"


@pytest.fixture
def proxy(server_uri):
    """A server that accepts each connection and never answers."""
    made = Proxy(server_uri, lambda _: "vanish")
    yield made
    made.close()


@pytest.fixture
def scene(tmp_path, proxy, server_uri):
    return Scene(tmp_path, proxy.uri, real_uri=server_uri)


@pytest.mark.parametrize("kind", [{}, {"inner": 0}, {"tuner": "subclass"}, {"report": True}])
def test_ctrl_c_in_wait_returns_model(scene, proxy, kind):
    options = {"flush_timeout": 60, "report": kind.get("report", False)}
    driver = scene.driver(candidates=3, autolog=options, **kind)
    driver.wait_until(lambda line: str(line.get("warning", "")).startswith("Waiting for "))
    driver.process.send_signal(signal.SIGINT)
    assert driver.seconds() < 30
    fitted = driver.wait_until(lambda line: "fitted" in line)
    assert fitted["averages"]
    (warning,) = driver.warnings()
    assert warning.startswith(f"Ctrl-C ended the wait for {scene.uri}")
    assert "all of it is safe on disk" in warning
    driver.kill()
    assert {search["state"] for search in scene.status()["searches"]} == {"ended"}

    proxy.rule = lambda _: None
    scene.sync()
    main = next(r for r in scene.store.main_runs() if "parentRunId" not in str(r.data.tags))
    assert main.info.status == "FINISHED"
    if "inner" not in kind:
        report = compare(scene.store, driver)
        assert report.is_clean(), report
        assert set(report.status) == {"FINISHED"}
    assert scene.files() == []


def test_ctrl_c_in_wait_for_run_of_best_model(scene):
    options = {"flush_timeout": 60, "log_models": "best"}
    driver = scene.driver(candidates=2, autolog=options)
    # The wait begins with the end of the refit.
    driver.after_cells(6)
    time.sleep(2)
    driver.process.send_signal(signal.SIGINT)
    assert driver.seconds() < 30
    assert any(text.startswith("Ctrl-C ended the wait") for text in driver.warnings())
    driver.kill()


def test_ctrl_c_at_any_moment_breaks_nothing(tmp_path, server_uri):
    """fit() returns the model or raises KeyboardInterrupt, and the record agrees."""
    scene = Scene(tmp_path, server_uri)
    driver = scene.program(sys.executable, str(_DRIVER), "40").finish()
    ends = Counter(line["end"] for line in driver.said() if "end" in line)
    assert set(ends) <= {"model", "interrupted"}
    assert ends.total() == 40
    assert ends["model"] > 0
    assert driver.wait_until(lambda line: "flushed" in line)["flushed"]
    recorded = Counter(run.info.status for run in scene.store.main_runs())
    assert recorded.total() == 40
    assert recorded["FINISHED"] >= ends["model"]
    assert set(recorded) <= {"FINISHED", "KILLED"}
    assert scene.files() == []
