"""Delivery at the end of ``fit()`` and at the end of the process."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
    _EnvironmentVariable,
)

import trackmllib
from support.searches import stub_search
from support.slow_stores import slow_store
from trackmllib.tracking.http import single_attempt


@pytest.mark.slow
def test_fit_does_not_wait_with_wait_false(points, store, lenient, logged_warnings):
    trackmllib.autolog(wait=False)
    with slow_store(0.3):
        stub_search(numFolds=2).fit(points)
        assert trackmllib.flush(timeout=0.0) is False
        assert trackmllib.flush() is True
    assert len(store.children(store.only_parent_run())) == 3
    assert store.only_parent_run().info.status == "FINISHED"
    assert logged_warnings() == []


@pytest.mark.timed
def test_fit_returns_at_once_with_wait_false(points, store, lenient):
    trackmllib.autolog(wait=False)
    with slow_store(0.3):
        began = time.monotonic()
        stub_search(numFolds=2).fit(points)
        assert time.monotonic() - began < 2.0
        assert trackmllib.flush() is True


@pytest.mark.slow
def test_long_wait_of_fit_is_announced_in_one_line(points, store, lenient, logged_warnings):
    trackmllib.autolog(flush_timeout=30)
    with slow_store(0.4):
        stub_search(numFolds=2).fit(points)
    (line,) = logged_warnings()
    assert line.startswith(f"Waiting for {store.uri}: ")
    assert "fit() returns within 28 s" in line
    assert store.only_parent_run().info.status == "FINISHED"


def test_outbox_is_emptied_and_its_files_are_removed_at_exit(points, recorded, session):
    home = Path(session.directory.path)
    stub_search(numFolds=2).fit(points)
    assert trackmllib.flush(10)
    assert [path.suffix for path in home.glob("*.lock")] == [".lock"]
    session.process_exit.at_exit()
    assert list(home.iterdir()) == []


def test_only_our_calls_have_short_retries(monkeypatch):
    def retries_and_timeout():
        return MLFLOW_HTTP_REQUEST_MAX_RETRIES.get(), MLFLOW_HTTP_REQUEST_TIMEOUT.get()

    before = vars(_EnvironmentVariable)["get"]
    usual = retries_and_timeout()
    assert usual[0] > 0
    with single_attempt():
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
