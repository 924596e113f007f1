"""Searches whose threads compute the first PCAs of a JVM concurrently.

Without a native LAPACK, the JVM's first decompositions must not be concurrent
(trackmllib/spark/middleware/lapack.py).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from support.driver_machine import ROUNDS

_DRIVER = Path(__file__).resolve().parent / "first_pca_driver.py"
_LIMIT_SECONDS = 180


@pytest.fixture
def busy_machine():
    """Two other processes that compete for the processors."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_search_ends_on_a_busy_machine(round_, tmp_path, busy_machine):
    output = tmp_path / "output"
    # Java as on a user's machine.
    environ = {key: value for key, value in os.environ.items() if key != "SPARK_SUBMIT_OPTS"}
    environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path / 'mlflow.db'}"
    environ["TRACKMLLIB_HOME"] = str(tmp_path / "home")
    with output.open("w") as file:
        driver = subprocess.Popen(
            [sys.executable, str(_DRIVER)],
            env=environ,
            cwd=tmp_path,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        code = driver.wait(_LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        _print_stacks(driver, output)
        pytest.fail(f"No end after {_LIMIT_SECONDS} s:\n{output.read_text()}", pytrace=False)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    assert code == 0, output.read_text()
    ended = _printed(output)[-1]
    assert len(ended["averages"]) == 9
    assert ended["precision"] == 2.0**-53


def _printed(output: Path) -> list[dict]:
    return [json.loads(line) for line in output.read_text().splitlines() if line.startswith("{")]


def _print_stacks(driver: subprocess.Popen, output: Path) -> None:
    """Let the driver and its JVM append the stacks of their threads to the output, twice."""
    jvms = [line["jvm"] for line in _printed(output) if "jvm" in line]
    for _ in range(2):
        driver.send_signal(signal.SIGUSR1)
        for jvm in jvms:
            os.kill(jvm, signal.SIGQUIT)
        time.sleep(2)
