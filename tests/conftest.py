"""One Spark session for all tests, and a clean state of MLflow and of trackmllib for each."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import mlflow
import pytest

import trackmllib
from ci_tests import CI_TESTS
from support.java import submit_options
from support.mlflow_reader import Store
from trackmllib.api.autolog import exchange

# For each Spark that the tests start, in this and other processes.
os.environ["SPARK_SUBMIT_OPTS"] = submit_options()

pytest_plugins = ["support.store_fixtures"]


# They begin first, so that no worker is left alone with one of them.
LONGEST_FILES = (
    "test_random_searches.py",
    "test_score_keys.py",
    "test_nested_fits.py",
    "test_nested_rules.py",
    "test_resume_comparability.py",
    "test_hostile_proxy.py",
    "test_model_logging.py",
    "test_fresh_install.py",
    "test_mlflow_ui.py",
    "test_connect_middleware.py",
)


def check_ci_tests(items):
    """Raise an error if an entry of the list is out of date."""
    ids = [item.nodeid for item in items]
    files = {name.partition("::")[0] for name in ids}
    for entry in CI_TESTS:
        if entry.partition("::")[0] in files and not any(name.startswith(entry) for name in ids):
            raise pytest.UsageError(f"tests/ci_tests.py: no test id begins with {entry}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if {"faults", "integration"} & set(item.path.parts):
            item.add_marker(pytest.mark.slow)
        if item.nodeid.startswith(CI_TESTS):
            item.add_marker(pytest.mark.ci)
    config = items[0].config if items else None
    # The ids name the default store.
    if config and "ci" in config.option.markexpr and config.option.store == "sqlite":
        check_ci_tests(items)
    order = {name: number for number, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(scope="session")
def spark():
    from pyspark.sql import SparkSession

    # Otherwise Spark's workers use the first python3 on the path, which may lack pandas.
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
    """300 rows of two classes, without a shuffle, whose stages concurrent jobs might share."""
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


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """Isolate the state of MLflow and trackmllib per test, and raise internal errors."""
    for name in [name for name in os.environ if name.startswith("TRACKMLLIB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRACKMLLIB_STRICT", "1")
    # Each report takes a process; tests of reports turn them on.
    monkeypatch.setenv("TRACKMLLIB_REPORT", "false")
    monkeypatch.setenv("TRACKMLLIB_HOME", str(tmp_path / "home"))
    for name in (
        "MLFLOW_TRACKING_URI",
        "MLFLOW_EXPERIMENT_ID",
        "MLFLOW_EXPERIMENT_NAME",
        "MLFLOW_RUN_ID",
        # The width of a table.
        "COLUMNS",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    context = active_context()
    before = None if context is None else context._jsc.sc().getLocalProperties().clone()
    yield
    assert_no_labels_are_left()
    # Job descriptions of the next test would begin with one that this test left.
    if before is not None and active_context() is context:
        context._jsc.sc().setLocalProperties(before)
    while mlflow.active_run() is not None:
        mlflow.end_run()
    session, _ = exchange(None)
    importlib.import_module("trackmllib.api.autolog")._calls.clear()
    if session is not None:
        # The end of the tests does not wait for undelivered operations.
        session.process_exit.discard()
        # They are not retried, since another test may run a server at that address.
        session.relay.stop()
    mlflow.set_tracking_uri(None)
    mlflow.tracking.fluent._active_experiment_id = None


def active_context() -> Any:
    """The active SparkContext of this process, if any."""
    from pyspark import SparkContext

    context = SparkContext._active_spark_context
    return None if context is None or context._jsc is None else context


def assert_no_labels_are_left() -> None:
    """Check that no local property of trackmllib stays in this thread."""
    context = active_context()
    if context is not None:
        left = str(context._jsc.sc().getLocalProperties())
        assert "trackmllib" not in left
        assert " · " not in left


@pytest.fixture
def recorded(store) -> Store:
    """``store``, with recording enabled."""
    trackmllib.autolog()
    return store


@pytest.fixture
def session(recorded):
    """The session behind autolog()."""
    return importlib.import_module("trackmllib.api.autolog")._session


@pytest.fixture
def lenient(monkeypatch):
    """Internal errors cause warnings, as for users."""
    monkeypatch.delenv("TRACKMLLIB_STRICT")
