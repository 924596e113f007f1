"""Spark Connect as real processes: its server, and clients with one environment or another."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyspark

from conftest import free_port
from faults.scene import Driver, Scene, end
from reading import Store

_HERE = Path(__file__).resolve().parent
_THIN = Path(os.environ.get("CLIENT_VENV", _HERE.parents[1] / ".venv-client"))
_numbers = itertools.count(1)


def thin_python() -> str:
    """Python of the environment with ``pyspark-client``, without the JVM parts of pyspark."""
    python = _THIN / "bin" / "python"
    assert python.exists(), (
        f"There is no environment with pyspark-client in {_THIN}. `make test-all` makes it."
    )
    return str(python)


class Client(Driver):
    """A running ``connect_driver.py``."""

    def __init__(self, scene: Scene, settings: dict, python: str = sys.executable) -> None:
        self.settings = settings
        self.store = scene.store
        scene.folder.mkdir(parents=True, exist_ok=True)
        number = next(_numbers)
        self._out = scene.folder / f"client-{number}.jsonl"
        self._err = scene.folder / f"client-{number}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [python, str(_HERE / "connect_driver.py"), json.dumps(settings)],
                env={**scene.environ(), "PYSPARK_PYTHON": python},
                cwd=scene.folder,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                # Spark's own server of a session on local[2] is of the same group.
                start_new_session=True,
            )

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def heard(self, search: str) -> dict:
        """What was said of a search; the last, if there are several."""
        return [line for line in self.said() if line.get("search") == search][-1]

    def recorded(self, search: str) -> dict:
        """The record of a search as it is in MLflow, less what differs from run to run."""
        return record_of(self.store, f"{self.settings['name']} {search}")


@contextlib.contextmanager
def ending(*clients: Client) -> Iterator[None]:
    """No client, nor what it has started, is there after the block."""
    try:
        yield
    finally:
        for client in clients:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(client.process.pid, signal.SIGKILL)
            client.process.wait(30)


@contextlib.contextmanager
def connect_server(
    folder: Path, ui_port: int | None = None
) -> Iterator[tuple[str, subprocess.Popen]]:
    """A Connect server on loopback that takes calls: its URL, and its process; with Spark's page,
    if there is a port for it.
    """
    home = Path(pyspark.__file__).parent
    port = free_port()
    with (folder / "connect.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(str(home / "bin" / "spark-submit"), "--master", "local[2]"),
                *("--class", "org.apache.spark.sql.connect.service.SparkConnectServer"),
                *("--conf", "spark.connect.grpc.binding.address=127.0.0.1"),
                *("--conf", f"spark.connect.grpc.binding.port={port}"),
                *("--conf", f"spark.ui.enabled={str(ui_port is not None).lower()}"),
                *("--conf", f"spark.ui.port={ui_port or 4040}"),
                *("--conf", "spark.ui.showConsoleProgress=false"),
                "spark-internal",
            ],
            # What sbin/start-connect-server.sh sets; it starts a server that nobody waits for.
            env={
                **os.environ,
                "SPARK_HOME": str(home),
                "SPARK_CONNECT_MODE": "0",
                "SPARK_LOCAL_IP": "127.0.0.1",
            },
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except OSError:
                said = (folder / "connect.log").read_text()[-3000:]
                assert process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.2)
        yield f"sc://127.0.0.1:{port}", process
    finally:
        end(process)


def record_of(store: Store, run_name: str) -> dict:
    (main,) = [run for run in store.main_runs() if run.info.run_name == run_name]
    metric = main.data.params["metric"]
    return {
        "status": main.info.status,
        "params": main.data.params,
        "tags": main.data.tags,
        "best": {k: v for k, v in main.data.metrics.items() if k.startswith("best_")},
        "children": [
            {
                "status": child.info.status,
                "name": child.info.run_name,
                "params": child.data.params,
                "scores": [(step, v.hex()) for step, v in store.history(child, metric)],
                "average": _hex(child.data.metrics.get(f"avg_{metric}")),
                "deviation": _hex(child.data.metrics.get(f"std_{metric}")),
            }
            for child in store.children(main)
        ],
    }


def _hex(value: float | None) -> str | None:
    return None if value is None else value.hex()
