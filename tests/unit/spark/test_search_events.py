"""Events of a search: averages and winners, and events after the end."""

from __future__ import annotations

import math
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from pyspark.ml.tuning import CrossValidator

from support.search_descriptions import describe
from trackmllib.domain.descriptions import Failure, PriorScore
from trackmllib.domain.events import (
    CandidateScored,
    FitFailed,
    FitScored,
    FitStarted,
    RefitStarted,
    ScoreReused,
)
from trackmllib.domain.search_state import SearchState
from trackmllib.spark.instrumentation.fit_tracker import FitTracker
from trackmllib.spark.instrumentation.search_events import SearchEvents
from trackmllib.spark.introspection.scores import numpy_type

FAILURE = Failure(type="Odd", message="", traceback="", interrupted=False)


class Recording:
    """Callbacks that only build the state."""

    def __init__(self) -> None:
        self.clock = SimpleNamespace(now_ms=lambda: 1, monotonic=lambda: 1.0)
        self.events = []
        self._state = None

    def emit(self, event, settings=None):
        if self._state is None:
            self._state = SearchState(event)
        else:
            self._state.apply(event)
        self.events.append(event)

    def state(self, search_id):
        return self._state

    def guard(self, search_id, doing):
        return nullcontext()


class Loop:
    """Spark's loop over the folds of a search with these candidates."""

    def __init__(self, candidates: int, folds: int) -> None:
        self.callbacks = Recording()
        self.events = SearchEvents(self.callbacks, "s", None, None)
        self.events.start(describe(candidates, folds), 0)
        self.folds = folds

    def _where(self, candidate, fold):
        return {"search_id": "s", "time_ms": 1, "candidate": candidate, "fold": fold}

    def start(self, candidate, fold):
        self.events.emit(FitStarted(**self._where(candidate, fold)))

    def score(self, candidate, fold, score, counts_as=None, *, by_spark=True):
        self.start(candidate, fold)
        seconds = {"fit_seconds": 1.0 + fold, "evaluate_seconds": 0.5}
        event = FitScored(
            **self._where(candidate, fold),
            **seconds,
            score=float(score),
            dtype=numpy_type(score),
            counts_as=counts_as,
        )
        return self.events.fit_ended(event, by_spark=by_spark)

    def reuse(self, candidate, fold, score):
        prior = PriorScore(
            score=score, fit_seconds=9.0, evaluate_seconds=1.0, start_ms=1, end_ms=2, search_id="p"
        )
        event = ScoreReused(**self._where(candidate, fold), prior=prior)
        return self.events.fit_ended(event, by_spark=True)

    def fail(self, candidate, fold):
        event = FitFailed(**self._where(candidate, fold), failure=FAILURE)
        return self.events.fit_ended(event, by_spark=True)

    def emitted(self, kind):
        return [event for event in self.callbacks.events if isinstance(event, kind)]


@pytest.mark.parametrize("number", [float, int, np.float64, np.float32, np.int32, np.float16])
def test_averages_are_those_of_spark_in_every_precision(number):
    table = [[number(7), number(3)], [number(10) / 3, number(5) / 7], [number(1), number(2)]]
    if number is int:
        table = [[7, 3], [3, 5], [1, 2]]
    averages, deviations = CrossValidator._gen_avg_and_std_metrics(table)
    loop = Loop(2, 3)
    for fold, scores in enumerate(table):
        for candidate, score in enumerate(scores):
            loop.score(candidate, fold, score)
    found = loop.emitted(CandidateScored)
    assert [each.average for each in found] == [float(average) for average in averages]
    assert [each.deviation for each in found] == [float(deviation) for deviation in deviations]


def test_refit_starts_with_the_last_score():
    loop = Loop(2, 2)
    assert [loop.score(0, 0, 0.5), loop.score(1, 0, 0.75), loop.score(0, 1, 0.5)] == [None] * 3
    assert loop.events.refit_began is None
    assert loop.reuse(1, 1, 0.25) == 0
    assert [each.best for each in loop.emitted(RefitStarted)] == [0]
    assert loop.events.refit_began == 1.0


def test_folds_of_a_loop_of_the_user_have_no_averages():
    loop = Loop(1, 1)
    assert loop.score(0, 0, 0.5, by_spark=False) is None
    assert loop.emitted(CandidateScored) == loop.emitted(RefitStarted) == []


def test_skipped_candidate_does_not_win():
    loop = Loop(2, 2)
    loop.events.cannot_win = {1}
    loop.start(1, 0)
    assert loop.fail(1, 0) is None
    assert loop.score(0, 0, 0.5) is None
    assert loop.score(0, 1, 0.5) == 0
    assert [each.candidate for each in loop.emitted(CandidateScored)] == [0]


def test_refit_waits_for_the_running_fit_of_a_skipped_candidate():
    loop = Loop(2, 2)
    loop.events.cannot_win = {1}
    loop.start(1, 0)
    loop.start(1, 1)
    assert loop.fail(1, 0) is None
    assert loop.score(0, 0, 0.5) is None
    assert loop.score(0, 1, 0.5) is None
    assert loop.fail(1, 1) == 0


def test_fit_that_is_skipped_between_two_tries_ends_with_the_last_error():
    """Another fold of its candidate has failed in the meantime."""
    loop = Loop(2, 1)
    loop.events.cannot_win = {1}
    loop.score(0, 0, 0.5)
    labels = SimpleNamespace(
        new_fit=lambda of_pool: SimpleNamespace(stop=lambda: None),
        refit_starts=lambda name: None,
        context=None,
    )
    metrics = SimpleNamespace(labels=labels, fit_ended=lambda *fit: None)
    with FitTracker(loop.events, metrics, 0, by_spark=True) as fit:
        fit.started(1)
        fit.retried(1, ValueError("the first try"))
        assert loop.emitted(RefitStarted) == []
        fit.skipped(1, None)
    (failed,) = loop.emitted(FitFailed)
    assert failed.failure.message == "the first try"
    assert [each.best for each in loop.emitted(RefitStarted)] == [0]


def test_number_that_spark_receives_counts_for_the_average():
    loop = Loop(2, 1)
    loop.events.cannot_win = {0}
    loop.score(0, 0, math.nan, counts_as=-math.inf)
    assert loop.score(1, 0, 0.5) == 1
    assert [each.average for each in loop.emitted(CandidateScored)] == [-math.inf, 0.5]
    assert math.isnan(loop.events.state.candidates[0].fits[0].score)


def test_closed_search_emits_no_fits():
    loop = Loop(2, 1)
    loop.start(0, 0)
    loop.events.close()
    before = list(loop.callbacks.events)
    loop.start(1, 0)
    assert loop.score(0, 0, 0.5) is None
    assert loop.callbacks.events == before


def test_seconds_of_the_last_scored_fit():
    loop = Loop(3, 2)
    loop.score(0, 0, 0.5)
    loop.score(0, 1, 0.5)
    loop.reuse(1, 0, 0.5)
    loop.start(2, 0)
    assert loop.events.last_seconds() == {0: 2.5, 1: 10.0}
