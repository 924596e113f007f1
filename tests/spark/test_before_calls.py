"""Labels of Spark's jobs cost a cell nothing that starts no job."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from py4j.clientserver import JavaClient

import trackmllib
from searches import stub_search
from stubs import FitMultipleEstimator, StubEstimator, StubEvaluator
from trackmllib.spark import before_calls


@pytest.fixture
def calls(monkeypatch):
    """How many calls of the JVM each thread has made since."""
    counted: Counter[int] = Counter()
    original = JavaClient.send_command

    def send_command(self, *args, **kwargs):
        counted[threading.get_ident()] += 1
        return original(self, *args, **kwargs)

    monkeypatch.setattr(JavaClient, "send_command", send_command)
    return counted


class Noting(StubEvaluator):
    """Notes in which threads the cells were computed."""

    def __init__(self):
        super().__init__(call=lambda _: self.threads.add(threading.get_ident()))
        self.threads = set()


def calls_of_cells(calls, points, est):
    calls.clear()
    evaluator = Noting()
    stub_search(est=est, eva=evaluator, xs=range(10), numFolds=2, parallelism=2).fit(points)
    return sum(calls[thread] for thread in evaluator.threads)


@pytest.mark.parametrize("kind", [StubEstimator, FitMultipleEstimator])
def test_a_cell_that_starts_no_job_makes_no_call_for_us(recorded, points, calls, kind):
    trackmllib.autolog(disable=True)
    untracked = calls_of_cells(calls, points, kind())
    trackmllib.autolog()
    # One: the name of the refit, in the thread that is through with the last cell.
    assert calls_of_cells(calls, points, kind()) <= untracked + 1


def test_nothing_of_ours_stays_in_py4j(recorded, points):
    before = JavaClient.send_command
    seen = []
    stub_search(eva=StubEvaluator(call=lambda _: seen.append(JavaClient.send_command))).fit(points)
    assert JavaClient.send_command is before
    assert seen[0] is not before


def test_what_was_put_off_is_done_once_and_before_the_call(spark):
    done = []
    count = spark.sparkContext._jsc.sc().dagScheduler()
    before_calls.begin()
    try:
        before_calls.put_off(lambda: done.append("in place of this"))
        before_calls.put_off(lambda: done.append(count.numTotalJobs()))
        assert done == []
        count.numTotalJobs()
        count.numTotalJobs()
        assert len(done) == 1
        before_calls.put_off(lambda: done.append("dropped"))
        before_calls.drop()
        count.numTotalJobs()
        assert len(done) == 1
    finally:
        before_calls.end()
