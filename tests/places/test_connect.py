"""Spark Connect with real parts: a session on local[2], a server process, and the thin client."""

from __future__ import annotations

from collections import Counter

import pytest

from faults.scene import Scene
from places.connect_place import Client, connect_server, ending, thin_python

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]

# How long a client may take on a machine that is busy with other things.
SECONDS = 400.0
# Of these, one cell follows the other, so that each score has its place.
IN_ORDER = ("tree", "stub", "one mean")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> str:
    """The URL of a Connect server."""
    with connect_server(tmp_path_factory.mktemp("connect")) as (url, _):
        yield url


def as_said(client: Client, search: str) -> list[dict]:
    """The children of a search, after a look that they hold what the program saw."""
    said = client.heard(search)
    assert "error" not in said, said
    record = client.recorded(search)
    children = record["children"]
    count = said["candidates"]
    assert record["status"] == "FINISHED"
    assert [child["status"] for child in children] == ["FINISHED"] * count
    assert [child["average"] for child in children] == said["averages"]
    assert [child["deviation"] for child in children] == said["deviations"]
    scores = said["scores"]
    folds = [scores[first : first + count] for first in range(0, len(scores), count)]
    assert len(folds) == int(record["params"]["numFolds"])
    for number, fold in enumerate(folds):
        recorded = [child["scores"][number] for child in children]
        assert [step for step, _ in recorded] == [number] * count
        values = [value for _, value in recorded]
        assert values == fold if search in IN_ORDER else sorted(values) == sorted(fold)
    assert "trackmllib.application_id" not in record["tags"]
    return children


def test_a_session_on_local_is_recorded_whichever_comes_first(tmp_path, server_uri):
    """Both of Spark's worlds, with autolog() before the session, and with autolog() after it."""
    scene = Scene(tmp_path, server_uri)
    searches = ["tree", "again", "means at once", "one mean", "stub"]
    client = Client(scene, {"remote": "local[2]", "name": "local", "searches": searches})
    with ending(client):
        client.finish(SECONDS)
    for search in ("tree", "means at once", "one mean", "stub"):
        as_said(client, search)
    assert len(scene.store.main_runs()) == 4
    assert client.warnings() == []


def test_two_clients_of_a_server_are_recorded_alike_and_apart(tmp_path, server, server_uri):
    """One of them has pyspark-client, without py4j and jars; to the last bit the same record."""
    scene = Scene(tmp_path, server_uri)
    # Two programs of MLflow's that make the same experiment at once get in each other's way.
    scene.store.client.create_experiment(scene.experiment)
    searches = ["trees at once", "means at once", "stub"]
    settings = {"remote": server, "searches": searches, "log_models": "best"}
    full = Client(scene, {"name": "full", **settings})
    thin = Client(scene, {"name": "thin", **settings}, thin_python())
    with ending(full, thin):
        full.finish(SECONDS)
        thin.finish(SECONDS)
    parts = {client.settings["name"]: client.said()[0] for client in (full, thin)}
    assert (parts["full"]["jars"], parts["full"]["py4j"]) == (True, True)
    assert (parts["thin"]["jars"], parts["thin"]["py4j"]) == (False, False)
    for search in searches:
        assert as_said(full, search) == as_said(thin, search)
        one, other = full.recorded(search), thin.recorded(search)
        assert one["params"] == other["params"]
        assert one["best"] == other["best"] != {}
    assert len(scene.store.main_runs()) == 6
    for client in (full, thin):
        assert len(client.warnings()) == len(searches), client.warnings()
        for warning in client.warnings():
            assert "best model is not logged: MLflow cannot save it on Spark Connect" in warning


def test_a_server_that_is_gone_is_sparks_own_error(tmp_path, server_uri):
    """Killed in the middle of a search, and still gone at the next: nothing hangs or runs on."""
    scene = Scene(tmp_path, server_uri)
    # By default, Spark's client tries for ten minutes to reach a server that is gone.
    settings = {"searches": ["means at once", "stub"], "stop_at_score": 4, "tries": 2, "bare": True}
    with connect_server(tmp_path) as (url, process):
        client = Client(scene, {"remote": url, **settings})
        with ending(client):
            client.wait_until(lambda line: "stopped" in line, SECONDS)
            process.kill()
            process.wait(30)
            client.go_on()
            client.finish(SECONDS)
    cut, after = client.heard("means at once"), client.heard("stub")
    assert cut["error"].startswith("pyspark.errors.exceptions.connect."), cut
    assert cut["error"] == after["error"], after
    first, second = scene.store.main_runs()
    assert (first.info.status, second.info.status) == ("FAILED", "FAILED")
    children = scene.store.children(first)
    assert "FAILED" in [child.info.status for child in children]
    assert {run.info.status for run in scene.store.runs()} <= {"FAILED", "KILLED", "FINISHED"}
    recorded = [value.hex() for child in children for _, value in scene.store.history(child, "mse")]
    assert sorted(recorded) == sorted(cut["scores"])
    # The server did not answer our first question, so it is asked no other; then Spark asks.
    asked = {method: after["calls"].get(method) for method in ("Config", "AnalyzePlan")}
    assert asked == {"Config": 3, "AnalyzePlan": 3}
    assert client.warnings() == []


def test_models_are_held_no_longer_and_calls_are_two(tmp_path, server, server_uri):
    """At each score as many models as without recording, on the server and in the program."""
    scene = Scene(tmp_path, server_uri)
    searches = ["mean", "two trees"]
    client = Client(scene, {"remote": server, "name": "x", "searches": searches, "look": True})
    with ending(client):
        client.finish(SECONDS)
    for search in searches:
        without, recorded = (line for line in client.said() if line.get("search") == search)
        assert recorded["models"] == without["models"]
        # On the server, their references here, and those that are of this program alone.
        assert recorded["models"][0] == ([0, 0, 1] if search == "mean" else [2, 2, 0])
        more = Counter(recorded["calls"])
        more.subtract(without["calls"])
        # Those that release what the server keeps of a call are sent by a thread of Spark's own.
        del more["ReleaseExecute"]
        assert {method: times for method, times in more.items() if times} == {
            "Config": 1,
            "AnalyzePlan": 1,
        }
    assert len(scene.store.main_runs()) == 2
