"""The record on a fake server, and the expected one."""

from __future__ import annotations

from support.faulty_server import FakeServer
from support.generated_searches import own_destination
from support.mortal_process import process
from trackmllib.domain.events import FitScored, FitStarted, SearchStarted
from trackmllib.runtime.recovery import end_dead_searches

ENDED = {"FINISHED", "FAILED", "KILLED"}


def record(server: FakeServer) -> dict:
    """Return the contents of all runs by search and candidate, without run ids."""
    found: dict = {}
    for run in server.active():
        tags = {k: v for k, v in tags_of(server, run).items() if not k.startswith("mlflow.")}
        parent = run.tags.get("mlflow.parentRunId")
        key = (run.tags["trackmllib.search_id"], run.tags.get("trackmllib.candidate"))
        assert key not in found, f"two runs for {key}"
        found[key] = {
            "name": run.name,
            "start": run.start_ms,
            "status": run.status,
            "end": run.end_ms,
            "params": run.params,
            "tags": tags,
            "description": run.tags.get("mlflow.note.content"),
            "points": sorted(run.points),
            "artifacts": run.artifacts,
            "parent": None if parent is None else server.runs[parent].tags["trackmllib.search_id"],
        }
    return found


def tags_of(server: FakeServer, run) -> dict:
    """Return the tags of a run, with search and candidate in place of a run id."""
    tags = dict(run.tags)
    for name, value in tags.items():
        if name.startswith("trackmllib.best_run_id"):
            best = server.runs[value].tags
            tags[name] = (best["trackmllib.search_id"], best["trackmllib.candidate"])
    return tags


def expected_points(events) -> dict:
    """The points of the child runs, derived from the events alone."""
    points: dict = {}
    for event in events:
        if isinstance(event, FitScored):
            of_child = points.setdefault((event.search_id, str(event.candidate)), [])
            for key, value in (
                ("areaUnderROC", event.score),
                ("fit_seconds", event.fit_seconds),
                ("evaluate_seconds", event.evaluate_seconds),
            ):
                of_child.append((key, repr(value), event.time_ms, event.fold))
    return points


def assert_true_to(events, found: dict) -> None:
    """Assert that nothing in the events is lost, duplicated or left RUNNING."""
    started = {(e.search_id, str(e.candidate)) for e in events if isinstance(e, FitStarted)}
    begun = {(e.search_id, None) for e in events if isinstance(e, SearchStarted)}
    assert set(found) == started | begun
    for key, points in expected_points(events).items():
        logged = [p for p in found[key]["points"] if not p[0].startswith(("avg_", "std_"))]
        assert sorted(logged) == sorted(points)
    for run in found.values():
        assert run["status"] in ENDED
        assert len(set(run["points"])) == len(run["points"])
        assert run["end"] >= run["start"]


def undisturbed(events) -> dict:
    """The record of the same events without faults."""
    server = FakeServer()
    with process(server) as only:
        for event in events:
            only.emit(own_destination(event.search_id), event)
        end_dead_searches(only.outbox)
        assert only.deliver()
        assert only.outbox.waiting() == 0
    return record(server)


def assert_series_are_apart(server: FakeServer) -> None:
    """Assert that no two searches, nor a search and the user, share a series."""
    for key in ("fits_finished", "candidates_finished"):
        of = {
            time_ms // 1_000_000
            for name, _, time_ms, _ in server.runs["users"].points
            if name == key
        }
        assert len(of) <= 1
