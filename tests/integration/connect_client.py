"""Spark Connect servers, and clients in full and thin environments, as real processes."""

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

from support.driver_machine import Driver, Machine, end
from support.mlflow_reader import Store
from support.mlflow_server import free_port

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

    def __init__(self, machine: Machine, settings: dict, python: str = sys.executable) -> None:
        self.settings = settings
        self.store = machine.store
        machine.folder.mkdir(parents=True, exist_ok=True)
        number = next(_numbers)
        self._out = machine.folder / f"client-{number}.jsonl"
        self._err = machine.folder / f"client-{number}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [python, str(_HERE / "connect_driver.py"), json.dumps(settings)],
                env={**machine.environ(), "PYSPARK_PYTHON": python},
                cwd=machine.folder,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                # The server of a session on local[2] is in the same process group.
                start_new_session=True,
            )

    def release(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def last_printed(self, search: str) -> dict:
        """Return the last line printed about a search."""
        return [line for line in self.printed() if line.get("search") == search][-1]

    def recorded(self, search: str) -> dict:
        """Return the record of a search in MLflow, without ids and times."""
        return record_of(self.store, f"{self.settings['name']} {search}")


@contextlib.contextmanager
def ending(*clients: Client) -> Iterator[None]:
    """Kill the clients and their child processes at the end of the block."""
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
    """Run a Connect server on loopback; yield its URL and its process.

    With ``ui_port``, the server has a Spark UI.
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
            # As in sbin/start-connect-server.sh, which starts a detached server.
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
                printed = (folder / "connect.log").read_text()[-3000:]
                assert process.poll() is None, printed
                assert time.monotonic() < deadline, printed
                time.sleep(0.2)
        yield f"sc://127.0.0.1:{port}", process
    finally:
        end(process)


def record_of(store: Store, run_name: str) -> dict:
    (parent,) = [run for run in store.parent_runs() if run.info.run_name == run_name]
    metric = parent.data.params["metric"]
    return {
        "status": parent.info.status,
        "params": parent.data.params,
        "tags": parent.data.tags,
        "best": {k: v for k, v in parent.data.metrics.items() if k.startswith("best_")},
        "children": [
            {
                "status": child.info.status,
                "name": child.info.run_name,
                "params": child.data.params,
                "scores": [(step, v.hex()) for step, v in store.history(child, metric)],
                "average": _hex(child.data.metrics.get(f"avg_{metric}")),
                "deviation": _hex(child.data.metrics.get(f"std_{metric}")),
            }
            for child in store.children(parent)
        ],
    }


def _hex(value: float | None) -> str | None:
    return None if value is None else value.hex()
