"""Scores are taken up, and cells cancelled, on Spark Connect as on classic Spark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from places.connect_place import connect_server

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]


def test_resume_and_a_candidate_that_takes_too_long(tmp_path):
    with connect_server(tmp_path) as (url, _):
        program = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("resume_driver.py")), url],
            capture_output=True,
            text=True,
            timeout=400,
            cwd=tmp_path,
            env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"},
        )
    assert program.returncode == 0, program.stderr[-3000:]
    first, again, slow = (json.loads(line) for line in program.stdout.splitlines())
    assert first["taken"] == [0, 0]
    assert again["taken"] == [2, 2, 0]
    assert again["averages"][:2] == first["averages"]
    assert slow["status"] == ["FINISHED", "FAILED", "FINISHED"]
    assert slow["averages"][1] == "-inf"
    # Fifteen seconds of sleep in each partition, if nobody had cancelled it.
    assert slow["seconds"] < 12
