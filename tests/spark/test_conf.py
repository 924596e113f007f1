"""What keys of the Spark conf and environment variables decide, on real Spark."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pandas as pd
import pytest
from test_durable import WithSecrets, messages
from test_left_alone import slow_store

import trackmllib
from searches import stub_search
from trackmllib.options.listed import OPTIONS
from trackmllib.options.names import KNOWN_KEYS
from trackmllib.spark.conf import SessionConf


@pytest.fixture
def conf(spark):
    """Sets keys of ours in the conf of the session, for the length of a test."""
    keys = set()

    def set_keys(**values: str) -> None:
        for name, value in values.items():
            keys.add(f"spark.trackmllib.{name}")
            spark.conf.set(f"spark.trackmllib.{name}", value)

    yield set_keys
    for key in keys:
        spark.conf.unset(key)


def test_a_conf_decides_whether_fit_waits_and_an_argument_over_it(
    points, store, lenient, conf, caplog
):
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
    assert [line for line in messages(caplog) if not line.startswith("Waiting for")] == []


def test_a_conf_decides_for_how_long_and_how_loudly_in_its_own_session_only(
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
    said = [
        (record.levelname, record.getMessage().partition(" operations are ")[2])
        for record in caplog.records
        if " operations are " in record.getMessage()
    ]
    (quiet, short), (loud, longer) = said
    assert (quiet, loud) == ("DEBUG", "WARNING")
    assert short.startswith("not delivered after 0 s")
    assert longer.startswith("not delivered after 0.05 s")


def test_a_conf_decides_what_is_hidden(points, recorded, conf):
    conf(redact=r"^internal jd{1,2}bc")
    stub_search(est=WithSecrets(), xs=[1.0], numFolds=2).fit(points)
    params = recorded.json(recorded.only_main_run(), "trackmllib/search.json")["estimator"]
    hidden = {name for name, value in params["params"].items() if value == "***"}
    assert hidden == {"apiKey", "internalUrl", "jdbc"}


def test_a_conf_of_true_records_where_the_variable_says_no(points, store, conf, monkeypatch):
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


def test_what_is_wrong_is_said_once_in_a_process(points, store, conf, caplog, monkeypatch):
    monkeypatch.setenv("TRACKMLLIB_SILNT", "true")
    monkeypatch.setenv("TRACKMLLIB_WAIT", "no")
    conf(flush_timeout="1", flushTimeout="1 min")
    for _ in range(2):
        trackmllib.autolog()
        for _ in range(2):
            stub_search(xs=[1.0], numFolds=2).fit(points)
    assert messages(caplog) == [
        "TRACKMLLIB_WAIT is 'no', but must be true or false (did you mean 'false'?); true holds "
        "instead.",
        "The environment variable TRACKMLLIB_SILNT is not known to trackmllib (did you mean "
        "TRACKMLLIB_SILENT?), and has no effect.",
        "spark.trackmllib.flushTimeout is '1 min', but must be a number of seconds; 30 holds "
        "instead.",
        "The Spark conf key spark.trackmllib.flush_timeout is not known to trackmllib (did you "
        "mean spark.trackmllib.flushTimeout?), and has no effect.",
    ]
    assert len(store.main_runs()) == 4


def test_a_conf_of_silent_keeps_these_sentences_off_too(points, recorded, conf, caplog):
    conf(silent="true", wait="maybe")
    stub_search(xs=[1.0], numFolds=2).fit(points)
    assert messages(caplog) == []


def test_all_our_keys_are_read_and_no_others_without_a_job(spark, points, conf):
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
    """A conf that can be asked for one key at a time only, as on Spark Connect before Spark 4."""

    def __init__(self, conf):
        self.get = conf.get


def test_where_keys_cannot_be_listed_those_that_are_known_are_read(spark, conf):
    every = {option.keys[0].rpartition(".")[2]: "x" for option in OPTIONS}
    conf(**every, other="1")
    dataset = SimpleNamespace(sparkSession=SimpleNamespace(conf=OneByOne(spark.conf)))
    assert SessionConf().read(dataset) == dict.fromkeys(
        (key for key in KNOWN_KEYS if key.startswith("spark.trackmllib.")), "x"
    )


@pytest.mark.parametrize("dataset", [None, "no data", 3, pd.DataFrame({"sparkSession": [1]})])
def test_what_has_no_session_has_no_conf(dataset):
    assert SessionConf().read(dataset) == {}


@pytest.mark.heavy
def test_the_conf_of_spark_connect_is_read_too():
    code = """
        import json
        from pyspark.sql import SparkSession
        from trackmllib.spark.conf import SessionConf
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
