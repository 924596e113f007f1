"""Spark Connect: a session on local[2], a server process, and the thin client."""

from __future__ import annotations

from collections import Counter

import pytest

from integration.connect_client import Client, connect_server, ending, thin_python
from support.driver_machine import Machine

pytestmark = pytest.mark.timeout(900)

# How long a client may take on a busy machine.
SECONDS = 400.0
# Their fits run one after another, so that the order of scores is known.
IN_ORDER = ("tree", "stub", "one mean")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> str:
    """The URL of a Connect server."""
    with connect_server(tmp_path_factory.mktemp("connect")) as (url, _):
        yield url


def children_as_printed(client: Client, search: str) -> list[dict]:
    """Return the child runs of a search, checked against the program's output."""
    printed = client.last_printed(search)
    assert "error" not in printed, printed
    record = client.recorded(search)
    children = record["children"]
    count = printed["candidates"]
    assert record["status"] == "FINISHED"
    assert [child["status"] for child in children] == ["FINISHED"] * count
    assert [child["average"] for child in children] == printed["averages"]
    assert [child["deviation"] for child in children] == printed["deviations"]
    scores = printed["scores"]
    folds = [scores[first : first + count] for first in range(0, len(scores), count)]
    assert len(folds) == int(record["params"]["numFolds"])
    for number, fold in enumerate(folds):
        recorded = [child["scores"][number] for child in children]
        assert [step for step, _ in recorded] == [number] * count
        values = [value for _, value in recorded]
        assert values == fold if search in IN_ORDER else sorted(values) == sorted(fold)
    assert "trackmllib.application_id" not in record["tags"]
    return children


def test_local_session_is_recorded_before_and_after_autolog(tmp_path, server_uri):
    """Classic and Connect tuners, with autolog() before and after the session."""
    machine = Machine(tmp_path, server_uri)
    searches = ["tree", "again", "means at once", "one mean", "stub"]
    client = Client(machine, {"remote": "local[2]", "name": "local", "searches": searches})
    with ending(client):
        client.finish(SECONDS)
    for search in ("tree", "means at once", "one mean", "stub"):
        children_as_printed(client, search)
    assert len(machine.store.parent_runs()) == 4
    assert client.warnings() == []


def test_full_and_thin_client_have_equal_records(tmp_path, server, server_uri):
    """The thin client has pyspark-client, without py4j and jars; the records are equal."""
    machine = Machine(tmp_path, server_uri)
    # MLflow clients that create the same experiment at once conflict.
    machine.store.client.create_experiment(machine.experiment)
    searches = ["trees at once", "means at once", "stub"]
    settings = {"remote": server, "searches": searches, "log_models": "best"}
    full = Client(machine, {"name": "full", **settings})
    thin = Client(machine, {"name": "thin", **settings}, thin_python())
    with ending(full, thin):
        full.finish(SECONDS)
        thin.finish(SECONDS)
    parts = {client.settings["name"]: client.printed()[0] for client in (full, thin)}
    assert (parts["full"]["jars"], parts["full"]["py4j"]) == (True, True)
    assert (parts["thin"]["jars"], parts["thin"]["py4j"]) == (False, False)
    for search in searches:
        assert children_as_printed(full, search) == children_as_printed(thin, search)
        one, other = full.recorded(search), thin.recorded(search)
        assert one["params"] == other["params"]
        assert one["best"] == other["best"] != {}
    assert len(machine.store.parent_runs()) == 6
    for client in (full, thin):
        assert len(client.warnings()) == len(searches), client.warnings()
        for warning in client.warnings():
            assert "best model is not logged: MLflow cannot save it on Spark Connect" in warning


def test_killed_connect_server_raises_sparks_own_error(tmp_path, server_uri):
    """The server is killed during a search and down in the next: nothing hangs or keeps running."""
    machine = Machine(tmp_path, server_uri)
    # By default, Spark's client retries a lost server for ten minutes.
    settings = {"searches": ["means at once", "stub"], "stop_at_score": 4, "tries": 2, "bare": True}
    with connect_server(tmp_path) as (url, process):
        client = Client(machine, {"remote": url, **settings})
        with ending(client):
            client.wait_until(lambda line: "stopped" in line, SECONDS)
            process.kill()
            process.wait(30)
            client.release()
            client.finish(SECONDS)
    cut, after = client.last_printed("means at once"), client.last_printed("stub")
    assert cut["error"].startswith("pyspark.errors.exceptions.connect."), cut
    assert cut["error"] == after["error"], after
    first, second = machine.store.parent_runs()
    assert (first.info.status, second.info.status) == ("FAILED", "FAILED")
    children = machine.store.children(first)
    assert "FAILED" in [child.info.status for child in children]
    assert {run.info.status for run in machine.store.runs()} <= {"FAILED", "KILLED", "FINISHED"}
    recorded = [
        value.hex() for child in children for _, value in machine.store.history(child, "mse")
    ]
    assert sorted(recorded) == sorted(cut["scores"])
    # The server did not answer our first request, so the next one is Spark's.
    asked = {method: after["calls"].get(method) for method in ("Config", "AnalyzePlan")}
    assert asked == {"Config": 3, "AnalyzePlan": 3}
    assert client.warnings() == []


def test_recording_holds_no_models_and_adds_two_calls(tmp_path, server, server_uri):
    """The numbers of live models on client and server are as without recording."""
    machine = Machine(tmp_path, server_uri)
    searches = ["mean", "two trees"]
    client = Client(machine, {"remote": server, "name": "x", "searches": searches, "look": True})
    with ending(client):
        client.finish(SECONDS)
    for search in searches:
        without, recorded = (line for line in client.printed() if line.get("search") == search)
        assert recorded["models"] == without["models"]
        # On the server, their references in the program, and models of the program alone.
        assert recorded["models"][0] == ([0, 0, 1] if search == "mean" else [2, 2, 0])
        more = Counter(recorded["calls"])
        more.subtract(without["calls"])
        # A thread of Spark sends these calls, which free results on the server.
        del more["ReleaseExecute"]
        assert {method: times for method, times in more.items() if times} == {
            "Config": 1,
            "AnalyzePlan": 1,
        }
    assert len(machine.store.parent_runs()) == 2
