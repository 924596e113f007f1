"""``reuse_stages`` and ``parallel_folds`` on Spark Connect: the same to the last bit."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from integration.connect_client import connect_server
from support.driver_machine import ROUNDS
from support.mlflow_server import free_port

pytestmark = pytest.mark.timeout(900)

# All 40 with make soak; test_random_searches.py has the same 40 on classic Spark.
SEEDS = min(40, 4 * ROUNDS)


def test_results_equal_stock_spark_on_connect(tmp_path):
    ui_port = free_port()
    with connect_server(tmp_path, ui_port) as (url, _):
        program = subprocess.run(
            [
                sys.executable,
                str(Path(__file__).with_name("connect_middleware_driver.py")),
                url,
                str(SEEDS),
            ],
            capture_output=True,
            text=True,
            timeout=800,
            cwd=tmp_path,
        )
        assert program.returncode == 0, program.stderr[-3000:]
        results = [json.loads(line) for line in program.stdout.splitlines()]
        assert [line["number"] for line in results] == list(range(SEEDS + 1))
        assert [line["number"] for line in results if not line["same"]] == []
        assert [line["number"] for line in results if line["left"]] == []
        assert sum(line["shared"] for line in results) > SEEDS / 2
        deadline = time.monotonic() + 30
        while storage(ui_port):
            assert time.monotonic() < deadline, "Spark's storage page is not empty"
            time.sleep(0.5)


def storage(ui_port: int) -> list:
    """Return the cached data that the Spark UI lists."""
    page = f"http://127.0.0.1:{ui_port}/api/v1/applications"
    (application,) = json.load(urllib.request.urlopen(page, timeout=10))
    return json.load(urllib.request.urlopen(f"{page}/{application['id']}/storage/rdd", timeout=10))
