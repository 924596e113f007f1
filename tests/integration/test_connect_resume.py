"""Reused scores and cancelled fits on Spark Connect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from integration.connect_client import connect_server

pytestmark = pytest.mark.timeout(600)


def test_resume_and_timeout_on_connect(tmp_path):
    with connect_server(tmp_path) as (url, _):
        program = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("connect_resume_driver.py")), url],
            capture_output=True,
            text=True,
            timeout=400,
            cwd=tmp_path,
            env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"},
        )
    assert program.returncode == 0, program.stderr[-3000:]
    first, again, slow = (json.loads(line) for line in program.stdout.splitlines())
    assert first["reused"] == [0, 0]
    assert again["reused"] == [2, 2, 0]
    assert again["averages"][:2] == first["averages"]
    assert again["metrics"] == first["metrics"]
    assert list(first["metrics"]) == ["mae", "r2", "train_mae", "train_r2", "train_rmse"]
    assert slow["status"] == ["FINISHED", "FAILED", "FINISHED"]
    assert slow["averages"][1] == "-inf"
    # Without the timeout, each partition sleeps for 60 seconds.
    assert slow["seconds"] < 55
