"""Job labels cost nothing in fits that start no job."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from py4j.clientserver import JavaClient

import trackmllib
from support.searches import stub_search
from support.stubs import FitMultipleEstimator, StubEstimator, StubEvaluator
from trackmllib.spark.job_metrics import jvm_hook


@pytest.fixture
def calls(monkeypatch):
    """Count the JVM calls of each thread."""
    counted: Counter[int] = Counter()
    original = JavaClient.send_command

    def send_command(self, *args, **kwargs):
        counted[threading.get_ident()] += 1
        return original(self, *args, **kwargs)

    monkeypatch.setattr(JavaClient, "send_command", send_command)
    return counted


class ThreadNotingEvaluator(StubEvaluator):
    """Remembers the threads in which fits were computed."""

    def __init__(self):
        super().__init__(call=lambda _: self.threads.add(threading.get_ident()))
        self.threads = set()


def calls_of_fits(calls, points, est):
    calls.clear()
    evaluator = ThreadNotingEvaluator()
    stub_search(est=est, eva=evaluator, xs=range(10), numFolds=2, parallelism=2).fit(points)
    return sum(calls[thread] for thread in evaluator.threads)


@pytest.mark.parametrize("kind", [StubEstimator, FitMultipleEstimator])
def test_fit_without_a_job_makes_no_jvm_call(recorded, points, calls, kind):
    trackmllib.autolog(disable=True)
    untracked = calls_of_fits(calls, points, kind())
    trackmllib.autolog()
    # One call: the name of the refit, in the thread that ended the last fit.
    assert calls_of_fits(calls, points, kind()) <= untracked + 1


def test_py4j_is_restored_after_a_search(recorded, points):
    before = JavaClient.send_command
    seen = []
    stub_search(eva=StubEvaluator(call=lambda _: seen.append(JavaClient.send_command))).fit(points)
    assert JavaClient.send_command is before
    assert seen[0] is not before


def test_deferred_function_runs_once_before_the_call(spark):
    done = []
    count = spark.sparkContext._jsc.sc().dagScheduler()
    jvm_hook.begin()
    try:
        jvm_hook.schedule(lambda: done.append("in place of this"))
        jvm_hook.schedule(lambda: done.append(count.numTotalJobs()))
        assert done == []
        count.numTotalJobs()
        count.numTotalJobs()
        assert len(done) == 1
        jvm_hook.schedule(lambda: done.append("dropped"))
        jvm_hook.cancel()
        count.numTotalJobs()
        assert len(done) == 1
    finally:
        jvm_hook.end()
