"""One Spark session, one store of each kind and one MLflow server for all tests.

``pytest --store=postgres`` runs the tests that take what ``store`` gives them on another store.
"""

from __future__ import annotations

import atexit
import importlib
import itertools
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
import pytest

import trackmllib
from java import submit_options
from reading import Store
from stores import PASSWORD, S3, USER, Place, Postgres, basic_auth
from trackmllib import thread_exit
from trackmllib.autolog import exchange

# For every Spark that is started from here, also by the processes that tests start.
os.environ["SPARK_SUBMIT_OPTS"] = submit_options()

_numbers = itertools.count(1)


def pytest_addoption(parser):
    parser.addoption(
        "--store",
        default="sqlite",
        choices=["sqlite", "server", "postgres", "s3", "file", "file-server"],
        help="where tests record: the fixture NAME_uri or NAME_place of tests/conftest.py",
    )


def pytest_generate_tests(metafunc):
    said = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "any_store" in metafunc.fixturenames and "any_store" not in said:
        chosen = metafunc.config.getoption("--store")
        names = ["sqlite", "server"] if chosen == "sqlite" else [chosen]
        metafunc.parametrize("any_store", names, indirect=True)


@pytest.fixture(scope="session")
def spark():
    from pyspark.sql import SparkSession

    # Else the workers of Spark take the first python3 on the path, which may have no pandas.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    session = (
        SparkSession.builder.master("local[2]")
        .appName("trackmllib-tests")
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


# MLflow 3 wants to be told that a file store is meant.
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
    """A real MLflow server on loopback, in front of SQLite, of a file store, or of ``backend``;
    returns when it answers.
    """
    if backend is None:
        backend = (folder / "mlruns").as_uri() if files else f"sqlite:///{folder}/server.db"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--backend-store-uri", backend),
            *("--artifacts-destination", artifacts or str(folder / "artifacts")),
            *options,
        ],
        # A process less: nobody here asks the server for jobs.
        env={
            **os.environ,
            **FILE_STORE,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
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
            time.sleep(0.2)


def stop_server(process: subprocess.Popen, number: int = 15) -> None:
    """End the server and the workers it started: they are one process group."""
    if process.poll() is None:
        os.killpg(process.pid, number)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


@pytest.fixture(scope="session")
def server_uri(tmp_path_factory):
    port = free_port()
    process = start_server(tmp_path_factory.mktemp("server"), port)
    yield f"http://127.0.0.1:{port}"
    stop_server(process)


@pytest.fixture(scope="session")
def file_server_uri(tmp_path_factory):
    port = free_port()
    process = start_server(tmp_path_factory.mktemp("file-server"), port, files=True)
    yield f"http://127.0.0.1:{port}"
    stop_server(process)


@pytest.fixture(scope="session")
def file_uri(tmp_path_factory) -> str:
    """The store that older MLflow uses when nobody has said anything."""
    return (tmp_path_factory.mktemp("files") / "mlruns").as_uri()


@pytest.fixture(scope="session")
def postgres():
    """The database of ``postgres_place``, and the one of its users."""
    database = Postgres(free_port(), ("mlflow", "users"))
    yield database
    database.close()


@pytest.fixture(scope="session")
def s3():
    store = S3()
    yield store
    store.close()


@pytest.fixture(scope="session")
def postgres_place(tmp_path_factory, postgres, s3):
    """A server as companies have it: PostgreSQL, passwords, files that it hands on to S3."""
    folder, port = tmp_path_factory.mktemp("company"), free_port()
    process = start_server(
        folder,
        port,
        backend=postgres.uri("mlflow"),
        artifacts=f"s3://{s3.bucket}/served",
        options=("--app-name", "basic-auth"),
        environ={**s3.environ, **basic_auth(folder, postgres.uri("users"))},
    )
    place = Place(
        f"http://127.0.0.1:{port}",
        {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD},
    )
    _warm(place)
    yield place
    stop_server(process)


@pytest.fixture(scope="session")
def s3_place(postgres_place, s3) -> Place:
    """The same server; clients write the files to S3 themselves."""
    environ = {**postgres_place.environ, **s3.environ}
    place = Place(postgres_place.uri, environ, f"s3://{s3.bucket}/direct")
    _warm(place)
    return place


def _warm(place: Place) -> None:
    """What is loaded at the first request and the first file is loaded: no test waits for it."""
    with pytest.MonkeyPatch.context() as environment:
        for variable, value in place.environ.items():
            environment.setenv(variable, value)
        store = _new_store(place)
        run = store.client.create_run(store.experiment_id)
        store.client.log_text(run.info.run_id, "warm", "trackmllib/warm.txt")
        store.client.set_terminated(run.info.run_id)


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """No state of MLflow's or ours goes from one test to the next; our errors are raised."""
    for name in [name for name in os.environ if name.startswith("TRACKMLLIB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRACKMLLIB_STRICT", "1")
    # A report is drawn by a process of its own; the tests of reports ask for them.
    monkeypatch.setenv("TRACKMLLIB_REPORT", "false")
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
    assert_no_labels_are_left()
    while mlflow.active_run() is not None:
        mlflow.end_run()
    session, _ = exchange(None)
    if session is not None:
        # What a test leaves undelivered is not waited for when the tests are over.
        atexit.unregister(session._at_exit)
        thread_exit.unregister(session._before_pools_stop)
        # Nor is it tried again: another test may have a server in its place by then.
        session._delivery.stop()
    mlflow.set_tracking_uri(None)
    mlflow.tracking.fluent._active_experiment_id = None


def assert_no_labels_are_left() -> None:
    """Nothing of ours stays in the properties of the thread that called ``fit()``."""
    from pyspark import SparkContext

    context = SparkContext._active_spark_context
    if context is not None and context._jsc is not None:
        left = str(context._jsc.sc().getLocalProperties())
        assert "trackmllib" not in left
        assert " · " not in left


def _place(request, name: str) -> Place:
    """What ``--store`` and the parameter of ``any_store`` name."""
    if name in ("postgres", "s3"):
        return request.getfixturevalue(f"{name}_place")
    uri = request.getfixturevalue(f"{name.replace('-', '_')}_uri")
    return Place(uri, FILE_STORE if name == "file" else {})


def _new_store(place: Place) -> Store:
    store = Store(place.uri, f"test-{next(_numbers)}")
    location = f"{place.files}/{store.experiment}" if place.files else None
    store.client.create_experiment(store.experiment, location)
    return store


def _store(request, name: str) -> Store:
    place = _place(request, name)
    for variable, value in place.environ.items():
        request.getfixturevalue("monkeypatch").setenv(variable, value)
    store = _new_store(place)
    mlflow.set_tracking_uri(place.uri)
    mlflow.set_experiment(store.experiment)
    return store


@pytest.fixture
def store(request) -> Store:
    """SQLite or what ``--store`` names, with an experiment for this test."""
    return _store(request, request.config.getoption("--store"))


@pytest.fixture
def any_store(request) -> Store:
    """SQLite and a real server, one after the other; or what ``--store`` names."""
    return _store(request, request.param)


@pytest.fixture
def recorded(store) -> Store:
    """Recording is on, to ``store``."""
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
