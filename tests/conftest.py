"""One Spark session, one SQLite store and one MLflow server for all tests."""

from __future__ import annotations

import importlib
import itertools
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import mlflow
import pytest

import trackmllib
from reading import Store
from trackmllib.autolog import exchange

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def spark():
    from pyspark.sql import SparkSession

    # Else the workers of Spark take the first python3 on the path, which may have no pandas.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    session = (
        SparkSession.builder.master("local[2]")
        .appName("trackmllib-tests")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def points(spark):
    """300 rows of two classes; no shuffle, whose stages concurrent jobs would share by chance."""
    from pyspark.ml.linalg import Vectors

    rows = [
        (
            Vectors.dense([(i * 7 % 100) / 100, (i * 13 % 50) / 50, i % 3]),
            float(i * 7 % 100 > 55),
            i % 2,
        )
        for i in range(300)
    ]
    return spark.createDataFrame(rows, ["features", "label", "fold"])


@pytest.fixture(scope="session")
def sqlite_uri(tmp_path_factory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/mlflow.db"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start_server(folder: Path, port: int, *, files: bool = False) -> subprocess.Popen:
    """A real MLflow server on loopback, in front of SQLite, or of a file store; returns when it
    answers.
    """
    backend = (folder / "mlruns").as_uri() if files else f"sqlite:///{folder}/server.db"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--backend-store-uri", backend),
            *("--artifacts-destination", str(folder / "artifacts")),
        ],
        # MLflow 3 wants to be told that a file store is meant.
        env={**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true"},
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
            time.sleep(0.2)


def stop_server(process: subprocess.Popen, number: int = 15) -> None:
    """End the server and the workers it started: they are one process group."""
    if process.poll() is None:
        os.killpg(process.pid, number)
        process.wait(30)


@pytest.fixture(scope="session")
def server_uri(tmp_path_factory):
    port = free_port()
    process = start_server(tmp_path_factory.mktemp("server"), port)
    yield f"http://127.0.0.1:{port}"
    stop_server(process)


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """No state of MLflow's or ours goes from one test to the next; our errors are raised."""
    for name in [name for name in os.environ if name.startswith("TRACKMLLIB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRACKMLLIB_STRICT", "1")
    monkeypatch.setenv("TRACKMLLIB_HOME", str(tmp_path / "home"))
    for name in (
        "MLFLOW_TRACKING_URI",
        "MLFLOW_EXPERIMENT_ID",
        "MLFLOW_EXPERIMENT_NAME",
        "MLFLOW_RUN_ID",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield
    while mlflow.active_run() is not None:
        mlflow.end_run()
    exchange(None)
    mlflow.set_tracking_uri(None)
    mlflow.tracking.fluent._active_experiment_id = None


def _store(uri: str) -> Store:
    store = Store(uri, f"test-{next(_numbers)}")
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(store.experiment)
    return store


@pytest.fixture
def store(sqlite_uri) -> Store:
    """SQLite, with an experiment for this test."""
    return _store(sqlite_uri)


@pytest.fixture(params=["sqlite", "server"])
def any_store(request) -> Store:
    """SQLite and a real server, one after the other."""
    return _store(request.getfixturevalue(f"{request.param}_uri"))


@pytest.fixture
def recorded(store) -> Store:
    """Recording is on, to SQLite."""
    trackmllib.autolog()
    return store


@pytest.fixture
def session(recorded):
    """The session behind autolog(), to change its settings or to wait for its delivery."""
    return importlib.import_module("trackmllib.autolog")._session


@pytest.fixture
def lenient(monkeypatch):
    """Our errors are warned of, as for users."""
    monkeypatch.delenv("TRACKMLLIB_STRICT")
