"""``reuse_stages`` and ``parallel_folds`` on Spark Connect: the same to the last bit."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from conftest import free_port
from places.connect_place import connect_server

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]

SEEDS = 40


def test_results_are_the_same_to_the_last_bit(tmp_path):
    ui_port = free_port()
    with connect_server(tmp_path, ui_port) as (url, _):
        program = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("switches_driver.py")), url, str(SEEDS)],
            capture_output=True,
            text=True,
            timeout=800,
            cwd=tmp_path,
        )
        assert program.returncode == 0, program.stderr[-3000:]
        said = [json.loads(line) for line in program.stdout.splitlines()]
        assert [line["number"] for line in said] == list(range(SEEDS + 1))
        assert [line["number"] for line in said if not line["same"]] == []
        assert [line["number"] for line in said if line["left"]] == []
        assert sum(line["shared"] for line in said) > SEEDS / 2
        deadline = time.monotonic() + 30
        while storage(ui_port):
            assert time.monotonic() < deadline, "Spark's storage page is not empty"
            time.sleep(0.5)


def storage(ui_port: int) -> list:
    """What Spark keeps, as its page shows it."""
    page = f"http://127.0.0.1:{ui_port}/api/v1/applications"
    (application,) = json.load(urllib.request.urlopen(page, timeout=10))
    return json.load(urllib.request.urlopen(f"{page}/{application['id']}/storage/rdd", timeout=10))
