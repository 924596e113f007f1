"""The demo's notebook with a kernel that is killed halfway.

It needs Jupyter, which the lock file of the oldest versions lacks.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import nbformat
from mlflow import MlflowClient
from nbclient import NotebookClient

from support.driver_machine import Machine
from support.mlflow_reader import Store

NOTEBOOK = Path(__file__).parents[2] / "examples" / "tuning.ipynb"


def test_sync_completes_search_of_killed_kernel(tmp_path, monkeypatch, figures):
    machine = Machine(tmp_path, f"sqlite:///{tmp_path}/mlflow.db", "digits")
    MlflowClient(machine.uri).create_experiment(
        "digits", artifact_location=(tmp_path / "artifacts").as_uri()
    )
    for name, value in machine.environ().items():
        monkeypatch.setenv(name, value)
    # Ignore kernels that the user has registered as python3.
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    client = NotebookClient(
        nbformat.read(NOTEBOOK, as_version=4),
        timeout=240,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    ended = []

    def run() -> None:
        try:
            client.execute(stderr=sys.stderr)
        except Exception as error:  # noqa: BLE001 - nbclient raises it if the kernel died
            ended.append(type(error).__name__)

    thread = threading.Thread(target=run)
    thread.start()
    store = Store(machine.uri, "digits")
    deadline = time.monotonic() + 200
    while _fits(store) < 13:
        assert thread.is_alive(), ended
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(client.km.provisioner.pid, signal.SIGKILL)
    thread.join(60)
    assert ended == ["DeadKernelError"]

    assert machine.status()["searches"][0]["state"] == "died with its process"
    machine.sync()
    parent = store.only_parent_run()
    assert parent.info.status == "KILLED"
    assert "trackmllib.last_sign_of_life" in parent.data.tags
    children = store.children(parent)
    assert len(children) == 9
    assert {child.info.status for child in children} <= {"KILLED", "FINISHED"}
    scores = sum(len(store.history(child, "weightedPrecision")) for child in children)
    in_csv = sum(bool(row[f"fold_{fold}"]) for row in store.results(parent) for fold in range(3))
    assert scores == in_csv == parent.data.metrics["fits_finished"] >= 13
    assert machine.status() == {"searches": [], "damaged": []}
    assert machine.files() == []
    figures["14 kernel of the demo killed"] = f"KILLED with its {scores} scores after a sync"


def _fits(store: Store) -> float:
    """Return the number of recorded fits of the first search."""
    return max(
        (run.data.metrics.get("fits_finished", 0.0) for run in store.parent_runs()), default=0
    )
