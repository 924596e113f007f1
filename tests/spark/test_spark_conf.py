"""Options in the Spark conf and in environment variables, on real Spark."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pandas as pd
import pytest

import trackmllib
from support.searches import stub_search
from support.slow_stores import slow_store
from support.stubs import WithSecrets
from trackmllib.config.names import OPTIONS
from trackmllib.config.unknown_names import KEYS
from trackmllib.spark.introspection.conf import SessionConf


@pytest.fixture
def conf(spark):
    """Return a function that sets trackmllib's keys in the session conf during the test."""
    keys = set()

    def set_keys(**values: str) -> None:
        for name, value in values.items():
            keys.add(f"spark.trackmllib.{name}")
            spark.conf.set(f"spark.trackmllib.{name}", value)

    yield set_keys
    for key in keys:
        spark.conf.unset(key)


@pytest.mark.slow
def test_conf_sets_wait_and_an_argument_overrides_it(points, store, lenient, conf, logged_warnings):
    trackmllib.autolog()
    conf(wait="false")
    with slow_store(0.3):
        stub_search(xs=[1.0], numFolds=2).fit(points)
        assert trackmllib.flush(timeout=0.0) is False
        assert trackmllib.flush(timeout=120) is True
        trackmllib.autolog(wait=True)
        stub_search(xs=[1.0], numFolds=2).fit(points)
        assert trackmllib.flush(timeout=0.0) is True
    assert {run.info.status for run in store.runs()} == {"FINISHED"}
    assert [line for line in logged_warnings() if not line.startswith("Waiting for")] == []


@pytest.mark.slow
def test_conf_of_flush_timeout_and_silent_holds_in_its_session_only(
    spark, store, lenient, conf, caplog, monkeypatch
):
    monkeypatch.setenv("TRACKMLLIB_FLUSH_TIMEOUT", "0.05")
    trackmllib.autolog()
    conf(flushTimeout="0", silent="true")
    caplog.set_level(logging.DEBUG, "trackmllib")
    with slow_store(0.2):
        for session in (spark, spark.newSession()):
            stub_search(xs=[1.0], numFolds=2).fit(session.range(4))
        assert trackmllib.flush(timeout=120)
    logged = [
        (record.levelname, record.getMessage().partition(" operations are ")[2])
        for record in caplog.records
        if " operations are " in record.getMessage()
    ]
    (quiet, short), (loud, longer) = logged
    assert (quiet, loud) == ("DEBUG", "WARNING")
    assert short.startswith("not delivered after 0 s")
    assert longer.startswith("not delivered after 0.05 s")


def test_conf_sets_redact(points, recorded, conf):
    conf(redact=r"^internal jd{1,2}bc")
    stub_search(est=WithSecrets(), xs=[1.0], numFolds=2).fit(points)
    params = recorded.json(recorded.only_parent_run(), "trackmllib/search.json")["estimator"]
    hidden = {name for name, value in params["params"].items() if value == "***"}
    assert hidden == {"apiKey", "internalUrl", "jdbc"}


def test_conf_of_true_overrides_the_variable(points, store, conf, monkeypatch):
    monkeypatch.setenv("TRACKMLLIB_ENABLED", "false")
    trackmllib.autolog()
    stub_search(xs=[1.0], numFolds=2).fit(points)
    assert store.runs() == []
    conf(enabled="true")
    stub_search(xs=[1.0], numFolds=2).fit(points)
    assert len(store.runs()) == 2
    conf(enabled="false")
    stub_search(xs=[1.0], numFolds=2).fit(points)
    assert len(store.runs()) == 2
    trackmllib.autolog(disable=False)
    stub_search(xs=[1.0], numFolds=2).fit(points)
    assert len(store.runs()) == 4


def test_invalid_options_warn_once_per_process(points, store, conf, logged_warnings, monkeypatch):
    monkeypatch.setenv("TRACKMLLIB_SILNT", "true")
    monkeypatch.setenv("TRACKMLLIB_WAIT", "no")
    conf(flush_timeout="1", flushTimeout="1 min")
    for _ in range(2):
        trackmllib.autolog()
        for _ in range(2):
            stub_search(xs=[1.0], numFolds=2).fit(points)
    assert logged_warnings() == [
        "TRACKMLLIB_WAIT is 'no', but must be true or false (did you mean 'false'?); using true "
        "instead.",
        "Unknown environment variable TRACKMLLIB_SILNT has no effect (did you mean "
        "TRACKMLLIB_SILENT?).",
        "spark.trackmllib.flushTimeout is '1 min', but must be a number of seconds from 0 to "
        "9223372036; using 30 instead.",
        "Unknown Spark conf key spark.trackmllib.flush_timeout has no effect (did you mean "
        "spark.trackmllib.flushTimeout?).",
    ]
    assert len(store.parent_runs()) == 4


def test_silent_in_the_conf_suppresses_warnings_about_the_conf(
    points, recorded, conf, logged_warnings
):
    conf(silent="true", wait="maybe")
    stub_search(xs=[1.0], numFolds=2).fit(points)
    assert logged_warnings() == []


def test_only_our_conf_keys_are_read_and_no_job_runs(spark, points, conf):
    conf(wait="a -> b, c", other="1")
    assert "spark.app.name" in dict(spark.sparkContext.getConf().getAll())
    before = spark.sparkContext.statusTracker().getJobIdsForGroup(None)
    assert SessionConf().read(points) == {
        "spark.trackmllib.wait": "a -> b, c",
        "spark.trackmllib.other": "1",
    }
    assert spark.sparkContext.statusTracker().getJobIdsForGroup(None) == before
    assert SessionConf().read(spark.newSession().range(1)) == {}


class OneByOne:
    """A conf that cannot list its keys, as on Spark Connect before Spark 4."""

    def __init__(self, conf):
        self.get = conf.get


def test_known_keys_are_read_from_a_conf_that_cannot_list_keys(spark, conf):
    every = {option.keys[0].rpartition(".")[2]: "x" for option in OPTIONS}
    conf(**every, other="1")
    dataset = SimpleNamespace(sparkSession=SimpleNamespace(conf=OneByOne(spark.conf)))
    assert SessionConf().read(dataset) == dict.fromkeys(
        (key for key in KEYS if key.startswith("spark.trackmllib.")), "x"
    )


@pytest.mark.parametrize("dataset", [None, "no data", 3, pd.DataFrame({"sparkSession": [1]})])
def test_dataset_without_a_session_has_no_conf(dataset):
    assert SessionConf().read(dataset) == {}


@pytest.mark.slow
def test_conf_of_spark_connect_is_read():
    code = """
        import json
        from pyspark.sql import SparkSession
        from trackmllib.spark.introspection.conf import SessionConf
        builder = SparkSession.builder.remote("local[2]")
        spark = builder.config("spark.trackmllib.silent", "true").getOrCreate()
        spark.conf.set("spark.trackmllib.redact", "^a ,b")
        spark.conf.set("spark.trackmllib.other", "1")
        print(json.dumps(SessionConf().read(spark.range(1))))
        spark.stop()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "spark.trackmllib.silent": "true",
        "spark.trackmllib.redact": "^a ,b",
        "spark.trackmllib.other": "1",
    }
