"""Ctrl-C while ``fit()`` waits for delivery, which never loses a fitted model."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from support.driver_machine import Machine, compare
from support.faulty_proxy import Proxy

_DRIVER = Path(__file__).resolve().parent / "interrupted_driver.py"


@pytest.fixture
def proxy(server_uri):
    """A server that accepts each connection and never answers."""
    made = Proxy(server_uri, lambda _: "vanish")
    yield made
    made.close()


@pytest.fixture
def machine(tmp_path, proxy, server_uri):
    return Machine(tmp_path, proxy.uri, real_uri=server_uri)


@pytest.mark.parametrize("kind", [{}, {"inner": 0}, {"tuner": "subclass"}, {"report": True}])
def test_ctrl_c_in_wait_returns_model(machine, proxy, kind):
    options = {"flush_timeout": 60, "report": kind.get("report", False)}
    driver = machine.driver(candidates=3, autolog=options, **kind)
    driver.wait_until(lambda line: str(line.get("warning", "")).startswith("Waiting for "))
    driver.process.send_signal(signal.SIGINT)
    assert driver.seconds() < 30
    fitted = driver.wait_until(lambda line: "fitted" in line)
    assert fitted["averages"]
    (warning,) = driver.warnings()
    assert warning.startswith(f"Ctrl-C ended the wait for {machine.uri}")
    assert "all of them are safe on disk" in warning
    driver.kill()
    assert {search["state"] for search in machine.status()["searches"]} == {"ended"}

    proxy.rule = lambda _: None
    machine.sync()
    parent = next(r for r in machine.store.parent_runs() if "parentRunId" not in str(r.data.tags))
    assert parent.info.status == "FINISHED"
    if "inner" not in kind:
        report = compare(machine.store, driver)
        assert report.is_clean(), report
        assert set(report.status) == {"FINISHED"}
    assert machine.files() == []


def test_ctrl_c_in_wait_for_run_of_best_model(machine):
    options = {"flush_timeout": 60, "log_models": "best"}
    driver = machine.driver(candidates=2, autolog=options)
    # The wait begins when the refit has ended.
    driver.wait_until(lambda line: "refitted" in line)
    time.sleep(1)
    driver.process.send_signal(signal.SIGINT)
    assert driver.seconds() < 30
    assert any(text.startswith("Ctrl-C ended the wait") for text in driver.warnings())
    driver.kill()


def test_ctrl_c_at_any_moment_breaks_nothing(tmp_path, server_uri):
    """fit() returns the model or raises KeyboardInterrupt, and the record agrees."""
    machine = Machine(tmp_path, server_uri)
    driver = machine.program(sys.executable, str(_DRIVER), "40").finish()
    ends = Counter(line["end"] for line in driver.printed() if "end" in line)
    assert set(ends) <= {"model", "interrupted"}
    assert ends.total() == 40
    assert ends["model"] > 0
    assert driver.wait_until(lambda line: "flushed" in line)["flushed"]
    recorded = Counter(run.info.status for run in machine.store.parent_runs())
    assert recorded.total() == 40
    assert recorded["FINISHED"] >= ends["model"]
    assert set(recorded) <= {"FINISHED", "KILLED"}
    assert machine.files() == []
