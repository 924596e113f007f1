"""``autolog()``: enabled, disabled, repeated, set by Spark conf, and unsupported packages."""

from __future__ import annotations

import functools
import logging
import math
import signal
import subprocess
import sys
import textwrap

import pyspark.ml.classification
import pyspark.ml.tuning as tuning
import pytest
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit

import trackmllib
from support.searches import stub_search
from trackmllib.support.patching import is_patched

pytestmark = pytest.mark.versions


def patched_functions() -> dict:
    return {
        "cv": vars(CrossValidator).get("fit"),
        "tvs": vars(TrainValidationSplit).get("fit"),
        "hook": vars(CrossValidator).get("__init_subclass__"),
        "tasks": tuning._parallelFitTasks,
        "threads": pyspark.ml.classification.inheritable_thread_target,
        "attributes": set(vars(CrossValidator)) | set(vars(tuning)),
    }


def test_disable_restores_the_original_functions(store):
    before = patched_functions()
    trackmllib.autolog()
    assert is_patched(CrossValidator.fit)
    assert patched_functions() != before
    trackmllib.autolog(disable=True)
    assert patched_functions() == before
    trackmllib.autolog(disable=True)
    assert patched_functions() == before


def test_disabled_autolog_records_nothing(points, recorded):
    trackmllib.autolog(disable=True)
    stub_search().fit(points)
    assert recorded.runs() == []


def test_autolog_is_idempotent(points, recorded):
    once = patched_functions()
    trackmllib.autolog()
    assert patched_functions() == once
    stub_search(numFolds=2).fit(points)
    assert len(recorded.runs()) == 4


def test_autolog_can_be_enabled_again(points, recorded):
    for _ in range(3):
        trackmllib.autolog(disable=True)
        trackmllib.autolog()
    stub_search(numFolds=2).fit(points)
    assert len(recorded.runs()) == 4


def test_disable_keeps_the_wrapper_of_another_library(points, recorded, caplog):
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


def test_unknown_argument_raises_type_error(store):
    with pytest.raises(TypeError, match="disble"):
        trackmllib.autolog(disble=True)
    with pytest.raises(TypeError):
        trackmllib.autolog(True)


@pytest.mark.parametrize(
    "key", ["spark.trackmllib.enabled", "spark.databricks.mlflow.trackMLlib.enabled"]
)
def test_conf_disables_recording_of_one_search(points, recorded, spark, key):
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


def test_invalid_conf_value_warns_once(points, recorded, spark, caplog):
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
    assert len(recorded.parent_runs()) == 2


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_import_loads_no_slow_package():
    loaded = run_python(
        """
        import sys, trackmllib
        slow = "pyspark mlflow pydantic numpy pandas matplotlib jinja2 tqdm".split()
        print([name for name in slow if name in sys.modules])
        """
    )
    assert loaded == "[]"


@pytest.mark.timed
def test_import_takes_less_than_50_ms():
    """The shortest of five imports, as measured by Python itself."""
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
    ("package", "version", "needed"),
    [("pyspark", "3.4.1", "3.5"), ("mlflow", "2.9.0", "2.22"), ("pydantic", "1.10.26", "2.0")],
)
def test_too_old_package_is_named(package, version, needed):
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


@pytest.mark.parametrize("package", ["pyspark", "mlflow", "pydantic"])
def test_missing_package_is_named(package):
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


@pytest.mark.slow
def test_autolog_works_before_and_after_a_spark_session(sqlite_uri):
    """autolog() starts nothing, and records a new session after spark.stop()."""
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
        from support.searches import stub_search
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


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (
            {"flush_timeout": -1},
            ValueError,
            "flush_timeout is -1, but must be a number of seconds from 0 to",
        ),
        ({"flush_timeout": math.nan}, ValueError, "flush_timeout is nan"),
        ({"flush_timeout": math.inf}, ValueError, "flush_timeout is inf"),
        ({"flush_timeout": "30"}, TypeError, "flush_timeout is '30', but must be a number of sec"),
        ({"flush_timeout": None}, TypeError, "flush_timeout is None, but must be a number of sec"),
        (
            {"redact": ["("]},
            ValueError,
            r"redact is \['\('\], but must be a regular expression.*; '\(' is invalid",
        ),
        (
            {"redact": [3]},
            ValueError,
            r"redact is \[3\], but must be a regular expression.*; 3 is invalid",
        ),
    ],
)
def test_invalid_argument_raises_one_line(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        trackmllib.autolog(**arguments)


def test_flush_without_autolog_is_true():
    assert trackmllib.flush() is True


def test_sigterm_handler_of_the_user_stays_and_ours_is_removed():
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    trackmllib.autolog()
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    trackmllib.autolog()
    trackmllib.autolog(disable=True)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def users(number, frame):
        pass

    signal.signal(signal.SIGTERM, users)
    try:
        trackmllib.autolog()
        assert signal.getsignal(signal.SIGTERM) is users
        trackmllib.autolog(disable=True)
        assert signal.getsignal(signal.SIGTERM) is users
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
