"""The demo's notebook, whose kernel is killed halfway. Needs what the demo needs; not run on the
oldest versions, which have no Jupyter in their lock file.
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

from faults.scene import Scene
from reading import Store

NOTEBOOK = Path(__file__).parents[2] / "examples" / "tuning.ipynb"


def test_kill_9_of_the_demos_kernel_halfway_then_sync(tmp_path, monkeypatch, figures):
    scene = Scene(tmp_path, f"sqlite:///{tmp_path}/mlflow.db", "digits")
    MlflowClient(scene.uri).create_experiment(
        "digits", artifact_location=(tmp_path / "artifacts").as_uri()
    )
    for name, value in scene.environ().items():
        monkeypatch.setenv(name, value)
    # A kernel that the user has registered as python3 must not be taken for this one.
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
        except Exception as error:  # noqa: BLE001 - how nbclient says that the kernel died
            ended.append(type(error).__name__)

    thread = threading.Thread(target=run)
    thread.start()
    store = Store(scene.uri, "digits")
    deadline = time.monotonic() + 200
    while _cells(store) < 13:
        assert thread.is_alive(), ended
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(client.km.provisioner.pid, signal.SIGKILL)
    thread.join(60)
    assert ended == ["DeadKernelError"]

    assert scene.status()["searches"][0]["state"] == "died with its process"
    scene.sync()
    main = store.only_main_run()
    assert main.info.status == "KILLED"
    assert "trackmllib.last_sign_of_life" in main.data.tags
    children = store.children(main)
    assert len(children) == 9
    assert {child.info.status for child in children} <= {"KILLED", "FINISHED"}
    scores = sum(len(store.history(child, "weightedPrecision")) for child in children)
    in_csv = sum(bool(row[f"fold_{fold}"]) for row in store.results(main) for fold in range(3))
    assert scores == in_csv == main.data.metrics["cells_finished"] >= 13
    assert scene.status() == {"searches": [], "damaged": []}
    assert scene.files() == []
    figures["14 kernel of the demo killed"] = f"KILLED with its {scores} scores after a sync"


def _cells(store: Store) -> float:
    """How many cells of the first search are on its run."""
    return max(
        (run.data.metrics.get("cells_finished", 0.0) for run in store.main_runs()), default=0
    )
