"""A search that somebody asks to stop, from another terminal or on MLflow's page."""

from __future__ import annotations

import threading
import time

import mlflow
import pytest

import trackmllib
from commands import trackmllib_command
from resuming import rows_search, table
from searches import stub_search
from stubs import StubEstimator
from trackmllib import stopping
from trackmllib.autolog import exchange
from trackmllib.clock import SystemClock
from trackmllib.session import Session
from trackmllib.settings import Settings


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(stopping, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(stopping, "EVERY_SECONDS", 0.1)


def asking(recorded, ask):
    """A thread that asks as soon as a search has its first scores."""

    def wait():
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            running = [run for run in recorded.main_runs() if run.info.status == "RUNNING"]
            if running and running[-1].data.metrics.get("cells_finished", 0) >= 2:
                ask(running[-1].info.run_id)
                return
            time.sleep(0.05)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def by_command(recorded):
    return lambda run_id: trackmllib_command("stop", run_id, "--tracking-uri", recorded.uri)


def by_tag(recorded):
    return lambda run_id: recorded.client.set_tag(run_id, "trackmllib.stop", "true")


@pytest.mark.parametrize("parallelism", [1, 3])
@pytest.mark.parametrize("way", [by_command, by_tag])
def test_no_new_cell_begins_and_what_is_scored_is_recorded(points, recorded, parallelism, way):
    thread = asking(recorded, way(recorded))
    # The command takes seconds to start; then the search may be in its second fold.
    xs = [float(x) for x in range(400)]
    est = StubEstimator(fitSeconds=0.05)
    search = stub_search(est=est, xs=xs, numFolds=2, parallelism=parallelism)
    with pytest.raises(trackmllib.SearchStopped) as raised:
        search.fit(points)
    thread.join()
    main = recorded.only_main_run()
    assert main.info.status == "KILLED"
    done = len(search.getEvaluator().returned)
    assert 2 <= done < 800
    # Nor does one begin in Spark's pool, which goes on after the end.
    time.sleep(0.5)
    assert len(search.getEvaluator().returned) == done
    assert main.data.metrics["cells_finished"] == done
    rows = recorded.results(main)
    assert sum(bool(row[f"fold_{fold}"]) for row in rows for fold in range(2)) == done
    candidates = raised.value.results.search.candidates.values()
    cells = [cell for candidate in candidates for cell in candidate.cells.values()]
    assert sum(cell.score is not None for cell in cells) == done
    assert main.data.tags["trackmllib.stop"].startswith("seen by ")


class ClockThatIsSet(SystemClock):
    ahead_ms = 0

    def now_ms(self):
        return super().now_ms() + self.ahead_ms


def test_search_stops_after_clock_set_back(points, store):
    clock = ClockThatIsSet()
    exchange(Session(Settings(report=False), clock=clock))

    def set_back_and_ask(run_id):
        clock.ahead_ms = -3_600_000
        by_tag(store)(run_id)

    thread = asking(store, set_back_and_ask)
    search = stub_search(est=StubEstimator(fitSeconds=0.05), xs=range(60), numFolds=2)
    with pytest.raises(trackmllib.SearchStopped):
        search.fit(points)
    thread.join()
    assert store.only_main_run().info.status == "KILLED"


def test_a_stopped_search_goes_on_with_resume(spark, recorded):
    data = table(spark)
    trackmllib.autolog(resume=True, code_version="1", progress=False)
    xs = [float(x) for x in range(30)]
    thread = asking(recorded, by_tag(recorded))
    with pytest.raises(trackmllib.SearchStopped) as raised:
        rows_search(xs, est=StubEstimator(fitSeconds=0.05)).fit(data)
    thread.join()
    done = sum(each.scored for each in raised.value.results.search.candidates.values())
    model = rows_search(xs, est=StubEstimator(fitSeconds=0.05)).fit(data)
    found = trackmllib.results(model).search.candidates.values()
    assert sum(each.taken_up for each in found) == done


def test_the_next_search_in_the_run_is_not_stopped(points, recorded):
    with mlflow.start_run():
        thread = asking(recorded, by_tag(recorded))
        with pytest.raises(trackmllib.SearchStopped):
            stub_search(est=StubEstimator(fitSeconds=0.05), xs=range(200), numFolds=2).fit(points)
        thread.join()
        stub_search(est=StubEstimator(fitSeconds=0.3), numFolds=2).fit(points)


def test_a_run_that_has_ended_is_code_1(points, recorded):
    stub_search(numFolds=2).fit(points)
    main = recorded.only_main_run()
    ended = trackmllib_command("stop", main.info.run_id, "--tracking-uri", recorded.uri)
    assert ended.returncode == 1
    assert "is FINISHED: there is nothing to stop" in ended.stdout
