"""The end of ``fit()``, what is kept secret, and what is put back, on real Spark."""

from __future__ import annotations

import importlib
import logging
import math
import signal
import threading
import time
from pathlib import Path

import pytest
from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
    _EnvironmentVariable,
)
from pyspark.ml.param import Param, Params
from test_left_alone import slow_store

import trackmllib
from searches import stub_search
from stubs import StubEstimator
from trackmllib.tracking.http import tried_once


def messages(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "trackmllib"]


def test_with_wait_false_fit_does_not_wait(points, store, lenient, caplog):
    trackmllib.autolog(wait=False)
    with slow_store(0.3):
        stub_search(numFolds=2).fit(points)
        assert trackmllib.flush(timeout=0.0) is False
        assert trackmllib.flush() is True
    assert len(store.children(store.only_main_run())) == 3
    assert store.only_main_run().info.status == "FINISHED"
    assert messages(caplog) == []


@pytest.mark.timed
def test_with_wait_false_fit_returns_at_once(points, store, lenient):
    trackmllib.autolog(wait=False)
    with slow_store(0.3):
        began = time.monotonic()
        stub_search(numFolds=2).fit(points)
        assert time.monotonic() - began < 2.0
        assert trackmllib.flush() is True


def test_one_line_says_that_fit_waits_when_that_takes_long(points, store, lenient, caplog):
    trackmllib.autolog(flush_timeout=30)
    with slow_store(0.4):
        stub_search(numFolds=2).fit(points)
    (line,) = messages(caplog)
    assert line.startswith(f"Waiting for {store.uri}: ")
    assert "fit() returns in 28 s at the latest" in line
    assert store.only_main_run().info.status == "FINISHED"


def test_the_outbox_is_emptied_and_its_files_go_with_the_process(points, recorded, session):
    home = Path(session._home.folder)
    stub_search(numFolds=2).fit(points)
    assert trackmllib.flush(10)
    assert [path.suffix for path in home.glob("*.lock")] == [".lock"]
    session._at_exit()
    assert list(home.iterdir()) == []


class WithSecrets(StubEstimator):
    apiKey = Param(Params._dummy(), "apiKey", "a secret by its name")
    keyCol = Param(Params._dummy(), "keyCol", "none, although there is a key in it")
    internalUrl = Param(Params._dummy(), "internalUrl", "a secret by the user's word")
    jdbc = Param(Params._dummy(), "jdbc", "a URI with a password in it")

    def __init__(self):
        super().__init__()
        self._set(
            apiKey="s3cr3t-1",
            keyCol="id",
            internalUrl="s3cr3t-2",
            jdbc="jdbc:postgresql://me:s3cr3t-3@db/shop?password=s3cr3t-4&ssl=true",
        )

    def _fit(self, dataset):
        if self.getOrDefault(self.x) == 3.0:
            raise ValueError("no access to https://me:s3cr3t-5@files/data")
        return super()._fit(dataset)


def test_no_secret_is_recorded_anywhere(points, store, caplog):
    trackmllib.autolog(redact="^internal", flush_timeout=0, wait=False)
    est = WithSecrets()
    search = stub_search(est=est, numFolds=2)
    search.setEstimatorParamMaps(
        [{**m, est.apiKey: f"s3cr3t-{n}6"} for n, m in enumerate(search.getEstimatorParamMaps())]
    )
    caplog.set_level(logging.DEBUG, "trackmllib")
    session = importlib.import_module("trackmllib.autolog")._session
    with slow_store(0.2), pytest.raises(ValueError, match="s3cr3t-5"):
        search.fit(points)
    on_disk = b"".join(path.read_bytes() for path in session._home.folder.iterdir())
    assert b"apiKey" in on_disk
    assert b"s3cr3t" not in on_disk
    assert trackmllib.flush(60)
    main = store.only_main_run()
    children = store.children(main)
    assert children[0].data.params == {"x": "1.0", "apiKey": "***"}
    said = [str(run.data) + str(run.info) for run in (main, *children)]
    said += [store.text(main, f"trackmllib/{name}") for name in store.files(main)]
    said += [
        store.text(child, f"trackmllib/{name}") for child in children for name in store.files(child)
    ]
    said += [record.getMessage() for record in caplog.records if record.name.startswith("track")]
    assert not [text for text in said if "s3cr3t" in text]
    params = store.json(main, "trackmllib/search.json")["estimator"]["params"]
    assert params["apiKey"] == params["internalUrl"] == "***"
    assert params["keyCol"] == "id"
    assert params["jdbc"] == "jdbc:postgresql://***@db/shop?password=***&ssl=true"


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"flush_timeout": -1}, ValueError, "flush_timeout is -1, but must be from 0 to"),
        ({"flush_timeout": math.nan}, ValueError, "flush_timeout is nan"),
        ({"flush_timeout": math.inf}, ValueError, "flush_timeout is inf"),
        ({"flush_timeout": "30"}, TypeError, "flush_timeout is '30', but must be a number of sec"),
        ({"flush_timeout": None}, TypeError, "flush_timeout is None, but must be a number of sec"),
        ({"redact": ["("]}, ValueError, r"redact holds '\(', which is no regular expression"),
        ({"redact": [3]}, ValueError, "redact holds 3, which is no regular expression"),
    ],
)
def test_a_bad_argument_has_a_sentence(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        trackmllib.autolog(**arguments)


def test_flush_without_autolog_has_nothing_to_wait_for():
    assert trackmllib.flush() is True


def test_sigterm_is_handled_only_where_nobody_does_and_given_back():
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


def test_retries_are_short_for_our_calls_and_for_no_others(monkeypatch):
    def retries_and_timeout():
        return MLFLOW_HTTP_REQUEST_MAX_RETRIES.get(), MLFLOW_HTTP_REQUEST_TIMEOUT.get()

    before = vars(_EnvironmentVariable)["get"]
    usual = retries_and_timeout()
    assert usual[0] > 0
    with tried_once():
        assert retries_and_timeout() == (0, 30)
        elsewhere = []
        thread = threading.Thread(target=lambda: elsewhere.append(retries_and_timeout()))
        thread.start()
        thread.join()
        assert elsewhere == [usual]
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
        assert retries_and_timeout() == (0, 7)
    assert retries_and_timeout() == (usual[0], 7)
    assert vars(_EnvironmentVariable)["get"] is before
