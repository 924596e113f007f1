"""What README says of MLflow's own autologging, which trackmllib is compared with there.

If one of these tests fails with a newer MLflow, README's table is out of date.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from support.commands import environ, finished
from support.mlflow_reader import Store
from support.sqlite_store import sqlite_store

pytestmark = pytest.mark.timeout(600)

PROGRAM = Path(__file__).parents[1] / "support/mlflow_alone_program.py"


def run(case, uri, **more):
    env = environ(
        MLFLOW_TRACKING_URI=uri, TRACKMLLIB_AUTOLOG="0", PYSPARK_PYTHON=sys.executable, **more
    )
    return finished([sys.executable, str(PROGRAM), case], env, seconds=400)


@pytest.fixture
def own_uri(tmp_path):
    """A store of its own for each test, because all use one experiment."""
    return sqlite_store(tmp_path)


def test_children_appear_at_the_end_and_second_search_is_lost(own_uri):
    done = run("search", own_uri)
    assert done.returncode == 0, done.stderr
    store = Store(own_uri, "alone")
    parent = store.only_parent_run()
    children = store.under(parent.info.run_id)
    # In the last of four fits, the first search has no child run; the second search adds none.
    assert json.loads(done.stdout.splitlines()[-1])["live"] == [0, 2]
    assert len(children) == 2
    assert {child.info.start_time for child in children} == {parent.info.start_time}
    assert {key for child in children for key in child.data.metrics} == {"avg_f1", "std_f1"}
    assert "Changing param values is not allowed" in done.stderr


def test_killed_driver_leaves_no_scores(own_uri):
    assert run("kill", own_uri).returncode == -signal.SIGKILL
    (parent,) = Store(own_uri, "alone").runs()
    assert parent.info.status == "RUNNING"
    assert parent.data.metrics == {}


def test_unreachable_server_delays_training():
    """With a fraction of the default number of retries, which takes minutes."""
    done = run("down", "http://127.0.0.1:9", MLFLOW_HTTP_REQUEST_MAX_RETRIES="3")
    assert done.returncode == 0, done.stderr
    (seconds,) = json.loads(done.stdout.splitlines()[-1])["seconds"]
    quick = run("down", "http://127.0.0.1:9", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    (without_retries,) = json.loads(quick.stdout.splitlines()[-1])["seconds"]
    assert seconds > without_retries + 5


def test_connect_session_is_not_supported(own_uri):
    done = run("connect", own_uri)
    assert done.returncode == 1
    assert "Attribute `sparkContext` is not supported in Spark Connect" in done.stderr
