"""Searches stopped from another terminal or in the MLflow UI."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import mlflow
import pytest

import trackmllib
from support.commands import trackmllib_command
from support.resume_searches import rows_search, table
from support.searches import stub_search
from support.stubs import StubEstimator
from support.waiting import wait_until
from trackmllib.api.autolog import exchange
from trackmllib.config.settings import Settings
from trackmllib.runtime import stop_poller
from trackmllib.runtime.session import Session
from trackmllib.support.clock import SystemClock

# So many that no search ends before it is stopped, however slowly the command starts.
MANY = [float(x) for x in range(2000)]


@pytest.fixture(autouse=True)
def poll_at_once(monkeypatch):
    monkeypatch.setattr(stop_poller, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(stop_poller, "EVERY_SECONDS", 0.1)


def stop_after_first_scores(recorded, request_stop):
    """Start a thread that calls ``request_stop(run_id)`` after the first scores."""

    def wait():
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            running = [run for run in recorded.parent_runs() if run.info.status == "RUNNING"]
            if running and running[-1].data.metrics.get("fits_finished", 0) >= 2:
                request_stop(running[-1].info.run_id)
                return
            time.sleep(0.05)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def by_command(recorded):
    return lambda run_id: trackmllib_command("stop", run_id, "--tracking-uri", recorded.uri)


def by_tag(recorded):
    return lambda run_id: recorded.client.set_tag(run_id, "trackmllib.stop", "true")


@pytest.mark.slow
@pytest.mark.parametrize("parallelism", [1, 3])
@pytest.mark.parametrize("way", [by_command, by_tag])
def test_stop_starts_no_fit_and_keeps_the_scores(points, recorded, parallelism, way):
    thread = stop_after_first_scores(recorded, way(recorded))
    est = StubEstimator(fitSeconds=0.05)
    search = stub_search(est=est, xs=MANY, numFolds=2, parallelism=parallelism)
    with pytest.raises(trackmllib.SearchStopped) as raised:
        search.fit(points)
    thread.join()
    parent = recorded.only_parent_run()
    assert parent.info.status == "KILLED"
    done = len(search.getEvaluator().returned)
    assert 2 <= done < 4000
    # Spark's pool, which outlives the search, starts none either.
    time.sleep(0.5)
    assert len(search.getEvaluator().returned) == done
    assert parent.data.metrics["fits_finished"] == done
    rows = recorded.results(parent)
    assert sum(bool(row[f"fold_{fold}"]) for row in rows for fold in range(2)) == done
    candidates = raised.value.results.search.candidates.values()
    fits = [fold_fit for candidate in candidates for fold_fit in candidate.fits.values()]
    assert sum(fold_fit.score is not None for fold_fit in fits) == done
    assert parent.data.tags["trackmllib.stop"] == parent.data.tags["trackmllib.search_id"]


class AdjustableClock(SystemClock):
    ahead_ms = 0

    def now_ms(self):
        return super().now_ms() + self.ahead_ms


@pytest.mark.slow
def test_search_stops_after_clock_set_back(points, store):
    clock = AdjustableClock()
    exchange(Session(Settings(report=False), clock=clock))

    def set_back_and_stop(run_id):
        clock.ahead_ms = -3_600_000
        by_tag(store)(run_id)

    thread = stop_after_first_scores(store, set_back_and_stop)
    search = stub_search(est=StubEstimator(fitSeconds=0.05), xs=range(400), numFolds=2)
    with pytest.raises(trackmllib.SearchStopped):
        search.fit(points)
    thread.join()
    assert store.only_parent_run().info.status == "KILLED"


@pytest.mark.slow
def test_stopped_search_can_be_resumed(spark, recorded):
    data = table(spark)
    trackmllib.autolog(resume=True, code_version="1", progress=False)
    xs = [float(x) for x in range(30)]
    thread = stop_after_first_scores(recorded, by_tag(recorded))
    with pytest.raises(trackmllib.SearchStopped) as raised:
        rows_search(xs, est=StubEstimator(fitSeconds=0.05)).fit(data)
    thread.join()
    done = sum(each.scored for each in raised.value.results.search.candidates.values())
    model = rows_search(xs, est=StubEstimator(fitSeconds=0.05)).fit(data)
    found = trackmllib.results(model).search.candidates.values()
    assert sum(each.reused for each in found) == done


@pytest.mark.slow
def test_next_search_in_the_run_is_not_stopped(points, recorded):
    with mlflow.start_run():
        thread = stop_after_first_scores(recorded, by_tag(recorded))
        with pytest.raises(trackmllib.SearchStopped):
            stub_search(est=StubEstimator(fitSeconds=0.05), xs=range(200), numFolds=2).fit(points)
        thread.join()
        stub_search(est=StubEstimator(fitSeconds=0.3), numFolds=2).fit(points)


def slow_search():
    """Search whose fits take much longer than the interval of polls."""
    return stub_search(est=StubEstimator(fitSeconds=0.3), xs=(1.0, 2.0, 3.0), numFolds=2)


@pytest.mark.slow
def test_tag_set_between_searches_stops_none(points, recorded):
    with mlflow.start_run() as run:
        stub_search().fit(points)
        assert trackmllib.flush(60)
        by_tag(recorded)(run.info.run_id)
        search = slow_search()
        search.fit(points)
    assert len(search.getEvaluator().returned) == 6


@pytest.mark.slow
def test_stop_of_an_ended_run_exits_1(points, recorded):
    stub_search(numFolds=2).fit(points)
    tags = recorded.only_parent_run().data.tags
    ended = by_command(recorded)(recorded.only_parent_run().info.run_id)
    assert ended.returncode == 1
    assert "has ended (the run is FINISHED); there is nothing to stop" in ended.stdout
    assert recorded.only_parent_run().data.tags == tags


@pytest.mark.slow
def test_stop_of_an_ended_search_in_a_running_run_exits_1(points, recorded):
    with mlflow.start_run() as run:
        stub_search().fit(points)
        assert trackmllib.flush(60)
        search_id = recorded.client.get_run(run.info.run_id).data.tags["trackmllib.search_id"]
        for named in (run.info.run_id, search_id):
            ended = by_command(recorded)(named)
            assert ended.returncode == 1
            assert f"Search {search_id} in run {run.info.run_id}" in ended.stdout
            assert "has ended; there is nothing to stop" in ended.stdout
        search = slow_search()
        search.fit(points)
    assert len(search.getEvaluator().returned) == 6


@pytest.mark.slow
def test_stop_says_whether_the_run_ends(points, recorded):
    said = []

    def stop(run_id):
        said.append(by_command(recorded)(run_id))

    def fit_until_stopped():
        thread = stop_after_first_scores(recorded, stop)
        with pytest.raises(trackmllib.SearchStopped):
            stub_search(est=StubEstimator(fitSeconds=0.05), xs=MANY, numFolds=2).fit(points)
        thread.join()

    fit_until_stopped()
    with mlflow.start_run() as run:
        fit_until_stopped()
        assert recorded.client.get_run(run.info.run_id).info.status == "RUNNING"
    assert [each.returncode for each in said] == [0, 0]
    ours, users = (each.stdout for each in said)
    assert "SearchStopped, and the run ends as KILLED" in ours
    assert "SearchStopped; the run is your own, and trackmllib does not end it" in users
    statuses = {each.info.run_id: each.info.status for each in recorded.parent_runs()}
    assert statuses.pop(run.info.run_id) == "FINISHED"
    assert list(statuses.values()) == ["KILLED"]


@contextmanager
def two_searches_in_one_run(recorded, points):
    """Run two concurrent searches; yield the run id and the errors they raise."""
    errors = []
    all_over = threading.Barrier(3, timeout=120)

    def fit(run_id):
        # An MLflow run ends with the first of the blocks.
        with mlflow.start_run(run_id=run_id):
            try:
                stub_search(est=StubEstimator(fitSeconds=0.1), xs=MANY, numFolds=2).fit(points)
            except Exception as error:  # noqa: BLE001 - the test looks at it
                errors.append(error)
            all_over.wait()

    experiment = recorded.client.get_experiment_by_name(recorded.experiment)
    run_id = recorded.client.create_run(experiment.experiment_id).info.run_id
    threads = [threading.Thread(target=fit, args=(run_id,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(started_searches(recorded, run_id)) == 2)
    yield run_id, errors
    wait_until(lambda: len(errors) == 2)
    all_over.wait()
    for thread in threads:
        thread.join()
    assert [type(error) for error in errors] == [trackmllib.SearchStopped] * 2


def started_searches(recorded, run_id) -> set[str]:
    """Ids of the searches of a run that have a score."""
    data = recorded.client.get_run(run_id).data
    if not any(key.startswith("fits_finished_") for key in data.metrics):
        return set()
    return {value for key, value in data.tags.items() if key.startswith("trackmllib.search_id")}


@pytest.mark.slow
@pytest.mark.parametrize("way", [by_command, by_tag])
def test_stop_of_a_run_stops_all_searches_in_it(points, recorded, way):
    with two_searches_in_one_run(recorded, points) as (run_id, _):
        way(recorded)(run_id)


@pytest.mark.slow
def test_stop_of_one_search_lets_the_other_in_its_run_go_on(points, recorded):
    with two_searches_in_one_run(recorded, points) as (run_id, errors):
        one, other = sorted(started_searches(recorded, run_id))
        server = ("--tracking-uri", recorded.uri)
        assert trackmllib_command("stop", run_id, "--search", one, *server).returncode == 0
        wait_until(lambda: errors)
        # Many times the interval of polls.
        time.sleep(2)
        (stopped,) = errors
        assert stopped.results.search.search_id == one
        assert trackmllib_command("stop", other, *server).returncode == 0
