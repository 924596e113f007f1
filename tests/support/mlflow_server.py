"""MLflow servers as processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import mlflow

from support.sqlite_store import sqlite_store

# MLflow 3 requires this to use a file store.
FILE_STORE = {"MLFLOW_ALLOW_FILE_STORE": "true"}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start_server(
    folder: Path,
    port: int,
    *,
    files: bool = False,
    backend: str | None = None,
    artifacts: str | None = None,
    options: tuple[str, ...] = (),
    environ: Mapping[str, str] | None = None,
) -> subprocess.Popen:
    """Start a real MLflow server on loopback and wait until it answers.

    Its store is SQLite, a file store, or ``backend``. Without options, the process is the one that
    ``mlflow server`` starts, which saves the time that the command takes to import MLflow.
    """
    if files:
        backend = (folder / "mlruns").as_uri()
    elif backend is None:
        exists = (folder / "server.db").exists()
        backend = f"sqlite:///{folder}/server.db" if exists else sqlite_store(folder, "server.db")
    destination = artifacts or str(folder / "artifacts")
    if options:
        command = _by_command(port, backend, destination, *options)
        process_environ: dict[str, str] = {}
    else:
        command, process_environ = _application(port), _application_environ(backend, destination)
    process = subprocess.Popen(
        command,
        env={
            **os.environ,
            **FILE_STORE,
            # Otherwise the server starts another process for jobs.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            **process_environ,
            **(environ or {}),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).read()
            return process
        except OSError:
            if time.monotonic() > deadline or process.poll() is not None:
                stop_server(process)
                raise
            time.sleep(0.05)


def _by_command(port: int, backend: str, destination: str, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", backend),
        *("--artifacts-destination", destination),
        *options,
    ]


def _application(port: int) -> list[str]:
    where = ("127.0.0.1", str(port))
    if not (Path(mlflow.__file__).parent / "server" / "fastapi_app.py").exists():
        # Early versions serve the Flask application.
        return [sys.executable, "-m", "gunicorn", "-b", ":".join(where), "mlflow.server:app"]
    application = "mlflow.server.fastapi_app:app"
    return [sys.executable, "-m", "uvicorn", "--host", where[0], "--port", where[1], application]


def _application_environ(backend: str, destination: str) -> dict[str, str]:
    """Return the environment in which ``mlflow server`` starts its application."""
    return {
        "_MLFLOW_SERVER_FILE_STORE": backend,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": destination,
        "_MLFLOW_SGI_NAME": "uvicorn",
    }


def stop_server(process: subprocess.Popen, number: int = 15) -> None:
    """End the process group of the server and its workers."""
    if process.poll() is None:
        os.killpg(process.pid, number)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
