"""Post-training metrics of a driver that is killed while the server is down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from integration.connect_client import connect_server
from support.driver_machine import Machine
from support.mlflow_server import free_port, start_server, stop_server

DRIVER = Path(__file__).parents[1] / "support" / "evaluation_driver.py"


@pytest.mark.parametrize("on_connect", [False, True])
def test_metric_of_a_killed_driver_is_recovered(tmp_path, on_connect):
    if on_connect:
        with connect_server(tmp_path) as (url, _):
            metric_is_recovered(tmp_path, url)
    else:
        metric_is_recovered(tmp_path)


def metric_is_recovered(folder, *remote):
    port = free_port()
    server = start_server(folder, port)
    machine = Machine(folder, f"http://127.0.0.1:{port}")
    driver = subprocess.Popen(
        [sys.executable, str(DRIVER), *remote],
        env=machine.environ(),
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert driver.stdout.readline() == "fitted\n"
        stop_server(server)
        printed, _ = driver.communicate("\n", 60)
        server = start_server(folder, port)
        machine.sync()
        assert machine.status() == {"searches": [], "damaged": []}
        parent = machine.store.only_parent_run()
        assert parent.info.status == "FINISHED"
        assert parent.data.metrics["accuracy_holdout"] == float.fromhex(printed)
        assert "accuracy_holdout" in machine.store.json(parent, "metric_info.json")
        contexts = [each.tags[0].value for each in parent.inputs.dataset_inputs]
        assert sorted(contexts) == ["eval", "train"]
    finally:
        driver.kill()
        driver.wait(30)
        stop_server(server)
