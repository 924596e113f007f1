"""Fixtures with the stores of the tests: SQLite, files, servers, PostgreSQL, S3.

``pytest --store=postgres`` runs the tests that use the fixture ``store`` on another store.
"""

from __future__ import annotations

import itertools

import mlflow
import pytest

from support.deployments import PASSWORD, S3, USER, Deployment, Postgres, basic_auth
from support.mlflow_reader import Store
from support.mlflow_server import FILE_STORE, free_port, start_server, stop_server
from support.sqlite_store import sqlite_store

_numbers = itertools.count(1)


def pytest_addoption(parser):
    parser.addoption(
        "--store",
        default="sqlite",
        choices=["sqlite", "server", "postgres", "s3", "file", "file-server"],
        help="where tests record: the fixture NAME_uri or NAME_deployment of tests/conftest.py",
    )


def pytest_generate_tests(metafunc):
    parametrized = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "any_store" in metafunc.fixturenames and "any_store" not in parametrized:
        chosen = metafunc.config.getoption("--store")
        with_server = pytest.param("server", marks=pytest.mark.slow)
        names = ["sqlite", with_server] if chosen == "sqlite" else [chosen]
        metafunc.parametrize("any_store", names, indirect=True)


@pytest.fixture(scope="session")
def sqlite_uri(tmp_path_factory) -> str:
    return sqlite_store(tmp_path_factory.mktemp("sqlite"))


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
    """The default store of older MLflow versions."""
    return (tmp_path_factory.mktemp("files") / "mlruns").as_uri()


@pytest.fixture(scope="session")
def postgres():
    """PostgreSQL with the databases of ``postgres_deployment`` and its users."""
    database = Postgres(free_port(), ("mlflow", "users"))
    yield database
    database.close()


@pytest.fixture(scope="session")
def s3():
    store = S3()
    yield store
    store.close()


@pytest.fixture(scope="session")
def postgres_deployment(tmp_path_factory, postgres, s3):
    """A production server: PostgreSQL, passwords, and artifacts that it forwards to S3."""
    folder, port = tmp_path_factory.mktemp("company"), free_port()
    process = start_server(
        folder,
        port,
        backend=postgres.uri("mlflow"),
        artifacts=f"s3://{s3.bucket}/served",
        options=("--app-name", "basic-auth"),
        environ={**s3.environ, **basic_auth(folder, postgres.uri("users"))},
    )
    deployment = Deployment(
        f"http://127.0.0.1:{port}",
        {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD},
    )
    _warm(deployment)
    yield deployment
    stop_server(process)


@pytest.fixture(scope="session")
def s3_deployment(postgres_deployment, s3) -> Deployment:
    """The same server, with clients that upload artifacts to S3."""
    environ = {**postgres_deployment.environ, **s3.environ}
    deployment = Deployment(postgres_deployment.uri, environ, f"s3://{s3.bucket}/direct")
    _warm(deployment)
    return deployment


def _warm(deployment: Deployment) -> None:
    """Send a first request and a first file, which load modules, before any test."""
    with pytest.MonkeyPatch.context() as environment:
        for variable, value in deployment.environ.items():
            environment.setenv(variable, value)
        store = _new_store(deployment)
        run = store.client.create_run(store.experiment_id)
        store.client.log_text(run.info.run_id, "warm", "trackmllib/warm.txt")
        store.client.set_terminated(run.info.run_id)


def _deployment(request, name: str) -> Deployment:
    """Return the deployment that ``--store`` or the parameter of ``any_store`` names."""
    if name in ("postgres", "s3"):
        return request.getfixturevalue(f"{name}_deployment")
    uri = request.getfixturevalue(f"{name.replace('-', '_')}_uri")
    return Deployment(uri, FILE_STORE if name == "file" else {})


def _new_store(deployment: Deployment) -> Store:
    store = Store(deployment.uri, f"test-{next(_numbers)}")
    location = f"{deployment.files}/{store.experiment}" if deployment.files else None
    store.client.create_experiment(store.experiment, location)
    return store


def _store(request, name: str) -> Store:
    deployment = _deployment(request, name)
    for variable, value in deployment.environ.items():
        request.getfixturevalue("monkeypatch").setenv(variable, value)
    store = _new_store(deployment)
    mlflow.set_tracking_uri(deployment.uri)
    mlflow.set_experiment(store.experiment)
    return store


@pytest.fixture
def store(request) -> Store:
    """SQLite or the store named by ``--store``, with an experiment for this test."""
    return _store(request, request.config.getoption("--store"))


@pytest.fixture
def any_store(request) -> Store:
    """SQLite and a real server in turn, or the store named by ``--store``."""
    return _store(request, request.param)
