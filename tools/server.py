"""Runs MLflow's server on the demo's store, on loopback only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEMO = Path(os.environ.get("DEMO_FOLDER", Path(__file__).resolve().parent.parent / ".demo"))
DATABASE = DEMO / "mlflow.db"
LOG = DEMO / "server.log"
FIRST_PORT = 5000
START_SECONDS = 120
STOP_SECONDS = 10
# A proxy of the environment cannot reach this machine's loopback.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def running() -> Iterator[str]:
    """Run the server during the block; yield its address once it answers."""
    if not DATABASE.exists():
        raise SystemExit("There are no runs to show yet; run make demo first.")
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    # Otherwise SIGTERM would skip the finally block.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with LOG.open("w") as log:
        # A process group, to end the server with its child processes.
        process = subprocess.Popen(
            _command(port), env=_environment(), stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_for(url, process)
        yield url
    finally:
        _end(process)
        signal.signal(signal.SIGTERM, before)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with _direct.open(f"{url}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit(f"MLflow's server did not start:\n{LOG.read_text()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(STOP_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _free_port() -> int:
    """Return the first free port from 5000 on."""
    for port in range(FIRST_PORT, FIRST_PORT + 100):
        # On macOS, a port used on all addresses can still be bound on one, so try to connect first.
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit(f"No port from {FIRST_PORT} to {FIRST_PORT + 99} is free.")


def _command(port: int) -> list[str]:
    store = ["--backend-store-uri", f"sqlite:///{DATABASE}"]
    artifacts = ["--default-artifact-root", (DEMO / "artifacts").as_uri()]
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "server", *store, *artifacts, *address]


def _environment() -> dict[str, str]:
    """Return the environment without MLflow's settings."""
    kept = {name: value for name, value in os.environ.items() if "MLFLOW_" not in name}
    # Background jobs evaluate language models; they would take seven idle processes.
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return {**kept, **quiet}
