"""The switch: on, off, twice, by Spark conf; and what is missing or too old."""

from __future__ import annotations

import functools
import logging
import subprocess
import sys
import textwrap

import pyspark.ml.classification
import pyspark.ml.tuning as tuning
import pytest
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit

import trackmllib
from searches import stub_search
from trackmllib.patching import is_patched


def seams() -> dict:
    return {
        "cv": vars(CrossValidator).get("fit"),
        "tvs": vars(TrainValidationSplit).get("fit"),
        "hook": vars(CrossValidator).get("__init_subclass__"),
        "tasks": tuning._parallelFitTasks,
        "threads": pyspark.ml.classification.inheritable_thread_target,
        "attributes": set(vars(CrossValidator)) | set(vars(tuning)),
    }


def test_disable_puts_back_exactly_what_was_there(store):
    before = seams()
    trackmllib.autolog()
    assert is_patched(CrossValidator.fit)
    assert seams() != before
    trackmllib.autolog(disable=True)
    assert seams() == before
    trackmllib.autolog(disable=True)
    assert seams() == before


def test_disabled_nothing_is_recorded(points, recorded):
    trackmllib.autolog(disable=True)
    stub_search().fit(points)
    assert recorded.runs() == []


def test_twice_is_once(points, recorded):
    once = seams()
    trackmllib.autolog()
    assert seams() == once
    stub_search(numFolds=2).fit(points)
    assert len(recorded.runs()) == 4


def test_on_again_after_off(points, recorded):
    for _ in range(3):
        trackmllib.autolog(disable=True)
        trackmllib.autolog()
    stub_search(numFolds=2).fit(points)
    assert len(recorded.runs()) == 4


def test_a_wrapper_of_another_library_stays_and_ours_becomes_a_pass_through(
    points, recorded, caplog
):
    ours, calls = CrossValidator.fit, []

    @functools.wraps(ours)
    def theirs(self, *args, **kwargs):
        calls.append(self)
        return ours(self, *args, **kwargs)

    CrossValidator.fit = theirs
    try:
        trackmllib.autolog()
        stub_search(numFolds=2).fit(points)
        assert len(recorded.runs()) == 4
        with caplog.at_level(logging.DEBUG, logger="trackmllib"):
            trackmllib.autolog(disable=True)
        assert "passes calls through" in caplog.text
        assert CrossValidator.fit is theirs
        stub_search(numFolds=2).fit(points)
        assert len(calls) == 2
        assert len(recorded.runs()) == 4
        trackmllib.autolog()
        stub_search(numFolds=2).fit(points)
        assert len(recorded.runs()) == 8
        trackmllib.autolog(disable=True)
        assert CrossValidator.fit is theirs
    finally:
        del CrossValidator.fit


def test_an_unknown_argument_is_a_type_error(store):
    with pytest.raises(TypeError, match="disble"):
        trackmllib.autolog(disble=True)
    with pytest.raises(TypeError):
        trackmllib.autolog(True)


@pytest.mark.parametrize(
    "key", ["spark.trackmllib.enabled", "spark.databricks.mlflow.trackMLlib.enabled"]
)
def test_a_conf_of_false_switches_that_search_off(points, recorded, spark, key):
    search = stub_search(numFolds=2)
    try:
        spark.conf.set(key, "False")
        search.fit(points)
        assert recorded.runs() == []
        spark.conf.set(key, "true")
        search.fit(points)
        assert len(recorded.runs()) == 4
    finally:
        spark.conf.unset(key)


def test_a_conf_of_anything_else_is_named_once(points, recorded, spark, caplog):
    try:
        spark.conf.set("spark.trackmllib.enabled", "maybe")
        with caplog.at_level(logging.WARNING, logger="trackmllib"):
            stub_search(numFolds=2).fit(points)
            stub_search(numFolds=2).fit(points)
    finally:
        spark.conf.unset("spark.trackmllib.enabled")
    (warning,) = [r for r in caplog.records if r.name == "trackmllib"]
    text = warning.getMessage()
    assert "spark.trackmllib.enabled is 'maybe'" in text
    assert "true or false" in text
    assert len(recorded.main_runs()) == 2


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_importing_loads_neither_pyspark_nor_mlflow():
    loaded = run_python(
        """
        import sys, trackmllib
        heavy = ("pyspark", "mlflow", "numpy", "pandas", "matplotlib", "jinja2", "tqdm")
        print([name for name in heavy if name in sys.modules])
        """
    )
    assert loaded == "[]"


@pytest.mark.timed
def test_importing_takes_less_than_50_ms():
    """The shortest of five, as Python itself measures it."""
    took = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", "import trackmllib"],
            capture_output=True,
            text=True,
            check=True,
        )
        took.append(int(done.stderr.splitlines()[-1].split("|")[1]))
    assert min(took) < 50_000


@pytest.mark.parametrize(
    ("package", "version", "needed"), [("pyspark", "3.4.1", "3.5"), ("mlflow", "2.9.0", "2.22")]
)
def test_a_package_that_is_too_old_is_named(package, version, needed):
    message = run_python(
        f"""
        import sys, types, trackmllib
        fake = types.ModuleType("{package}")
        fake.__version__ = "{version}"
        sys.modules["{package}"] = fake
        try:
            trackmllib.autolog()
        except trackmllib.DependencyError as error:
            print(error)
        """
    )
    assert package in message
    assert version in message
    assert needed in message
    assert "pip install" in message


@pytest.mark.parametrize("package", ["pyspark", "mlflow"])
def test_a_package_that_is_missing_is_named(package):
    message = run_python(
        f"""
        import sys, trackmllib
        sys.modules["{package}"] = None
        try:
            trackmllib.autolog()
        except ImportError as error:
            assert isinstance(error, trackmllib.TrackmllibError)
            print(error)
        """
    )
    assert f"needs {package}" in message
    assert "cannot be imported" in message


def test_on_before_a_session_exists_and_after_it_was_stopped(sqlite_uri):
    """Nothing is started by autolog(); a new session after spark.stop() is recorded too."""
    assert (
        run_python(
            f"""
        import sys, threading
        sys.path[:0] = {[p for p in sys.path if p.endswith("tests")]!r}
        import mlflow, trackmllib
        mlflow.set_tracking_uri("{sqlite_uri}")
        experiment = mlflow.set_experiment("sessions").experiment_id
        before = set(threading.enumerate())
        trackmllib.autolog()
        assert set(threading.enumerate()) == before
        from pyspark.sql import SparkSession
        assert SparkSession.getActiveSession() is None
        from searches import stub_search
        for _ in range(2):
            builder = SparkSession.builder.master("local[1]")
            spark = builder.config("spark.ui.enabled", "false").getOrCreate()
            spark.sparkContext.setLogLevel("OFF")
            stub_search(xs=[1.0], numFolds=2).fit(spark.range(4))
            spark.stop()
        print(len(mlflow.search_runs([experiment])))
        """
        )
        == "4"
    )
