"""``MLFLOW_RUN_ID`` names the run of one search, and the environment stays as it is."""

from __future__ import annotations

import os
import threading

import pytest
from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_RUN_ID,
    _EnvironmentVariable,
)

from trackmllib.tracking import environment_run
from trackmllib.tracking.active_run import current_destination
from trackmllib.tracking.thread_env import overridden


@pytest.fixture
def named(monkeypatch) -> str:
    """A run id that the environment names, and that no search of this process has claimed."""
    run_id = os.urandom(16).hex()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    return run_id


def destination(*, claim: bool):
    return current_destination(str, claim=claim)


def test_first_search_claims_run(named):
    assert destination(claim=True).run_id == named
    assert destination(claim=True).run_id is None
    assert destination(claim=False).run_id is None


def test_look_claims_nothing(named):
    assert destination(claim=False).run_id == named
    assert destination(claim=False).run_id == named
    assert destination(claim=True).run_id == named


def test_environment_stays_as_it_is(named):
    before = dict(os.environ)
    destination(claim=True)
    with environment_run.claimed_run_hidden():
        assert dict(os.environ) == before
    assert dict(os.environ) == before


def test_one_of_many_threads_claims_run(named):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(destination(claim=True).run_id))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(filter(None, found)) == [named]


def test_new_run_of_environment_is_claimed_again(named, monkeypatch):
    destination(claim=True)
    monkeypatch.setenv("MLFLOW_RUN_ID", "another")
    assert destination(claim=True).run_id == "another"


def test_claimed_run_is_hidden_from_mlflow(named):
    with environment_run.claimed_run_hidden():
        assert MLFLOW_RUN_ID.get() == named
    destination(claim=True)
    with environment_run.claimed_run_hidden():
        assert MLFLOW_RUN_ID.get() is None
    assert MLFLOW_RUN_ID.get() == named


def test_overridden_value_holds_in_its_thread_only():
    def read():
        return MLFLOW_HTTP_REQUEST_MAX_RETRIES.get()

    before, elsewhere = read(), []
    with overridden({MLFLOW_HTTP_REQUEST_MAX_RETRIES.name: 0}):
        thread = threading.Thread(target=lambda: elsewhere.append(read()))
        thread.start()
        thread.join()
        with overridden({MLFLOW_RUN_ID.name: "x"}):
            assert (read(), MLFLOW_RUN_ID.get()) == (0, "x")
        assert (read(), MLFLOW_RUN_ID.get()) == (0, None)
    assert elsewhere == [before]
    assert read() == before


def test_patch_is_removed():
    original = vars(_EnvironmentVariable)["get"]
    with overridden({}):
        assert vars(_EnvironmentVariable)["get"] is not original
    assert vars(_EnvironmentVariable)["get"] is original
