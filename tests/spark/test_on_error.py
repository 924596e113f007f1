"""``on_error`` and ``candidate_timeout``: the search continues although candidates fail."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest
from pyspark.ml import tuning
from pyspark.ml.feature import StandardScaler
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit

import trackmllib
from support.searches import fit_within, regression_search, stub_search
from support.stage_searches import scaled_search
from support.stubs import FitMultipleEstimator, StubEstimator, StubEvaluator
from trackmllib.exceptions import SearchStopped
from trackmllib.spark.middleware import on_error as module
from trackmllib.spark.middleware.fatal_errors import is_fatal

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_wait(monkeypatch):
    monkeypatch.setattr(module, "FIRST_WAIT_SECONDS", 0.01)


def on(**given):
    trackmllib.autolog(progress=False, **given)


class Flaky(StubEstimator):
    """Fails ``times`` times for this value of ``x``."""

    def __init__(self, x: float, times: int):
        super().__init__()
        self.failing, self.left = x, times
        self.lock = threading.Lock()

    def copy(self, extra=None):
        copied = super().copy(extra)
        copied.origin = getattr(self, "origin", self)
        return copied

    def _fit(self, dataset):
        origin = getattr(self, "origin", self)
        with origin.lock:
            if self.getOrDefault(self.x) == self.failing and origin.left:
                origin.left -= 1
                raise ValueError("a lost executor")
        return super()._fit(dataset)


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("larger", [True, False])
@pytest.mark.parametrize("options", [{}, {"parallel_folds": True}])
def test_failed_candidate_is_skipped(
    points, recorded, logged_warnings, parallelism, larger, options
):
    on(on_error="skip", **options)
    failing = 3.0 if larger else 1.0
    search = stub_search(
        est=StubEstimator(fail={failing: ValueError("too deep")}),
        eva=StubEvaluator(larger=larger),
        numFolds=2,
        parallelism=parallelism,
    )
    model = search.fit(points)
    at = 2 if larger else 0
    assert model.avgMetrics[at] == (-math.inf if larger else math.inf)
    assert all(math.isfinite(each) for index, each in enumerate(model.avgMetrics) if index != at)
    parent = recorded.only_parent_run()
    assert parent.info.status == "FINISHED"
    children = recorded.children(parent)
    assert [child.info.status for child in children].count("FAILED") == 1
    failed = children[at]
    assert failed.info.status == "FAILED"
    assert failed.data.tags["trackmllib.error"] == "ValueError: too deep"
    assert "ValueError: too deep" in recorded.text(failed, "trackmllib/traceback.txt")
    assert "avg_stub" not in failed.data.metrics
    best = [c.data.params["x"] for c in children if c.data.tags.get("trackmllib.best") == "true"]
    assert best == ["2.0"]
    assert parent.data.metrics["refit_seconds"] > 0
    (sentence,) = logged_warnings()
    assert sentence == f"1 candidate failed and was skipped: candidate {at} (ValueError: too deep)."


def test_other_folds_of_a_failed_candidate_are_not_computed(points, recorded, logged_warnings):
    on(on_error="skip")
    fitted = []

    class Counting(StubEstimator):
        def _fit(self, dataset):
            fitted.append(self.getOrDefault(self.x))
            if fitted[-1] == 1.0:
                raise ValueError("no")
            return super()._fit(dataset)

    stub_search(est=Counting(), numFolds=3).fit(points)
    assert fitted.count(1.0) == 1
    assert fitted.count(2.0) == 3


def test_error_is_raised_if_every_candidate_fails(points, recorded):
    on(on_error="skip")
    fail = {x: ValueError(f"no {x}") for x in (1.0, 2.0, 3.0)}
    with pytest.raises(ValueError, match="no"):
        stub_search(est=StubEstimator(fail=fail), numFolds=2).fit(points)
    parent = recorded.only_parent_run()
    assert parent.info.status == "FAILED"
    assert [child.info.status for child in recorded.children(parent)] == ["FAILED"] * 3


def test_refit_error_is_raised(points, recorded):
    on(on_error="retry:2,skip")

    class NoRefit(StubEstimator):
        def _fit(self, dataset):
            if not dataset.is_cached:
                raise ValueError("no refit")
            return super()._fit(dataset)

    with pytest.raises(ValueError, match="no refit"):
        stub_search(est=NoRefit(), numFolds=2).fit(points)


@pytest.mark.parametrize("est", [StubEstimator, FitMultipleEstimator])
def test_nan_never_wins_with_skip(points, recorded, est):
    on(on_error="skip")
    eva = StubEvaluator(scores={3.0: math.nan})
    model = stub_search(est=est(), eva=eva, numFolds=2).fit(points)
    assert model.avgMetrics[2] == -math.inf
    assert model.bestModel.getOrDefault("x") == 2.0
    child = recorded.children(recorded.only_parent_run())[2]
    # The run has the scores that Spark computed.
    assert all(math.isnan(value) for _, value in recorded.history(child, "stub"))


def test_nan_wins_without_skip_as_in_stock_spark(points, recorded, caplog):
    on()
    model = stub_search(eva=StubEvaluator(scores={3.0: math.nan}), numFolds=2).fit(points)
    assert model.bestModel.getOrDefault("x") == 3.0


# A failed candidate gets the worst score and is the first of the grid: of equal scores, Spark
# chooses the first.
@pytest.mark.parametrize("options", [{}, {"parallel_folds": True}])
@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("larger", [True, False])
@pytest.mark.parametrize("kind", [CrossValidator, TrainValidationSplit])
def test_failed_candidate_does_not_win_over_the_worst_score(
    points, recorded, kind, larger, parallelism, options
):
    on(on_error="skip", **options)
    worst = -math.inf if larger else math.inf
    search = stub_search(
        kind=kind,
        est=StubEstimator(fail={1.0: ValueError("no")}),
        eva=StubEvaluator(larger=larger, scores={2.0: worst, 3.0: worst}),
        parallelism=parallelism,
    )
    model = search.fit(points)
    assert model.bestModel.getOrDefault("x") == 2.0
    averages = model.avgMetrics if kind is CrossValidator else model.validationMetrics
    assert averages == [worst] * 3
    children = recorded.children(recorded.only_parent_run())
    best = [c.data.params["x"] for c in children if c.data.tags.get("trackmllib.best") == "true"]
    assert best == ["2.0"]


def test_numpy_is_restored_after_the_search(points, recorded):
    on(on_error="skip")
    stub_search(est=StubEstimator(fail={1.0: ValueError("no")})).fit(points)
    assert tuning.np is np
    with pytest.raises(LookupError):
        stub_search(eva=StubEvaluator(call=lambda seen: [][0]), numFolds=2).fit(points)
    assert tuning.np is np


def test_failed_candidate_and_nan_do_not_win_over_the_worst_score(points, recorded):
    on(on_error="skip")
    search = stub_search(
        est=StubEstimator(fail={1.0: ValueError("no")}),
        eva=StubEvaluator(scores={2.0: math.nan, 3.0: -math.inf}),
    )
    assert search.fit(points).bestModel.getOrDefault("x") == 3.0


class Retrying(CrossValidator):
    """Runs Spark's loop a second time, in which no candidate fails."""

    def _fit(self, dataset):
        first = super()._fit(dataset)
        self.getEstimator().fail.clear()
        second = super()._fit(dataset)
        self.seen = first.avgMetrics, second.avgMetrics
        return second


class RetryingOnOwnFolds(Retrying):
    def _kFold(self, dataset):
        return [(dataset, dataset)] * self.getNumFolds()


@pytest.mark.parametrize("kind", [Retrying, RetryingOnOwnFolds])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_failed_candidates_are_computed_in_the_next_loop(points, recorded, kind, parallelism):
    on(on_error="skip")
    search = stub_search(
        kind=kind,
        est=StubEstimator(fail={3.0: ValueError("no")}),
        eva=StubEvaluator(scores={x: x for x in (1.0, 2.0, 3.0)}),
        numFolds=2,
        parallelism=parallelism,
    )
    model = search.fit(points)
    assert search.seen == ([1.0, 2.0, -math.inf], [1.0, 2.0, 3.0])
    assert model.bestModel.getOrDefault("x") == 3.0


class Alternating(CrossValidator):
    """Runs Spark's loop twice; another candidate fails in each."""

    def _fit(self, dataset):
        first = super()._fit(dataset)
        fail = self.getEstimator().fail
        fail[2.0] = fail.pop(1.0)
        second = super()._fit(dataset)
        self.seen = first, second
        return second


def test_each_loop_needs_only_one_candidate_left(points, recorded, logged_warnings):
    on(on_error="skip")
    search = stub_search(
        kind=Alternating,
        xs=(1.0, 2.0),
        est=StubEstimator(fail={1.0: ValueError("no")}),
        eva=StubEvaluator(scores={1.0: -math.inf, 2.0: -math.inf}),
        numFolds=2,
    )
    search.fit(points)
    assert [model.bestModel.getOrDefault("x") for model in search.seen] == [2.0, 1.0]
    (sentence,) = logged_warnings()
    assert sentence.startswith("2 candidates failed")


@pytest.mark.parametrize("option", ["skip", "retry:1", "retry:1,skip"])
def test_stop_iteration_is_not_skipped(points, recorded, option):
    """For Spark's loop, it ends the fold, and the next one starts."""

    class StopPoller(StubEstimator):
        def _fit(self, dataset):
            if self.getOrDefault(self.x) == 2.0:
                next(iter(()))
            return super()._fit(dataset)

    def fitted(**options):
        on(**options)
        eva = StubEvaluator(scores={x: x for x in (1.0, 2.0, 3.0)})
        return fit_within(20, stub_search(est=StopPoller(), eva=eva, numFolds=2), points)

    assert fitted().avgMetrics == fitted(on_error=option).avgMetrics == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("kind", ["pipeline", "split"])
def test_failed_fit_is_retried(points, recorded, logged_warnings, kind):
    on(on_error="retry:2")
    est = Flaky(2.0, 2)
    search = (
        stub_search(est=est, numFolds=2)
        if kind == "pipeline"
        else stub_search(est=est, kind=TrainValidationSplit)
    )
    search.fit(points)
    assert est.left == 0
    parent = recorded.only_parent_run()
    children = recorded.children(parent)
    assert [child.info.status for child in children] == ["FINISHED"] * 3
    assert recorded.history(children[1], "tries") == [(0, 2.0), (0, 3.0)]
    assert children[1].data.tags["trackmllib.retried.0.1"] == "ValueError: a lost executor"
    assert children[1].data.tags["trackmllib.retried.0.2"] == "ValueError: a lost executor"
    folds = 2 if kind == "pipeline" else 1
    assert len(recorded.history(children[1], "stub")) == folds
    assert logged_warnings() == []


def test_error_is_raised_after_the_last_retry(points, recorded):
    on(on_error="retry:2")
    est = Flaky(2.0, 3)
    with pytest.raises(ValueError, match="a lost executor"):
        stub_search(est=est, numFolds=2).fit(points)
    assert est.left == 0


def test_fit_is_retried_then_skipped(points, recorded, logged_warnings):
    on(on_error="retry:1,skip")
    est = Flaky(2.0, 100)
    model = stub_search(est=est, numFolds=2).fit(points)
    assert est.left == 98
    assert model.avgMetrics[1] == -math.inf


def test_retried_fit_shares_stages(data, recorded, spark):
    """The evaluator fails once, so the whole fit is computed again."""
    expected = scaled_search().fit(data).avgMetrics
    kept = set(spark.sparkContext._jsc.getPersistentRDDs())
    on(on_error="retry:1", reuse_stages=True)
    search = scaled_search()
    evaluator = search.getEvaluator()
    evaluate, failed = type(evaluator).evaluate, []

    class Once(type(evaluator)):
        def evaluate(self, dataset, params=None):
            if not failed:
                failed.append(1)
                raise ValueError("once")
            return evaluate(self, dataset, params)

    evaluator.__class__ = Once
    assert search.fit(data).avgMetrics == expected
    assert failed
    assert set(spark.sparkContext._jsc.getPersistentRDDs()) == kept


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("all of it"),
        RuntimeError("java.lang.OutOfMemoryError: Java heap space"),
        RuntimeError("[INVALID_HANDLE.SESSION_CLOSED] The handle is invalid."),
    ],
)
def test_fatal_errors_are_never_skipped(points, recorded, error):
    on(on_error="retry:5,skip")
    with pytest.raises(type(error)):
        stub_search(est=StubEstimator(fail={2.0: error}), numFolds=2).fit(points)
    child = recorded.children(recorded.only_parent_run())[1]
    assert not [key for key in child.data.metrics if key == "tries"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), SearchStopped("enough")])
def test_exits_and_stops_are_fatal(spark, error):
    assert is_fatal(error)
    assert not is_fatal(ValueError("too deep"))


def test_fit_is_cancelled_at_its_timeout(points, recorded, spark, logged_warnings):
    on(on_error="skip", candidate_timeout=1.0)

    class Slow(StubEstimator):
        def _fit(self, dataset):
            if self.getOrDefault(self.x) == 2.0:
                dataset.rdd.foreachPartition(lambda rows: time.sleep(10))
            return super()._fit(dataset)

    began = time.monotonic()
    model = stub_search(est=Slow(), numFolds=2).fit(points)
    assert time.monotonic() - began < 9
    assert model.avgMetrics[1] == -math.inf
    child = recorded.children(recorded.only_parent_run())[1]
    assert child.info.status == "FAILED"
    assert (
        "candidate 1 took longer than candidate_timeout=1 s"
        in (child.data.tags["trackmllib.error"])
    )


def test_pure_python_fit_is_awaited_with_a_warning(points, recorded, logged_warnings, monkeypatch):
    from trackmllib.spark.middleware import timeout

    monkeypatch.setattr(timeout, "CANCEL_INTERVAL_SECONDS", 0.1)
    on(candidate_timeout=0.1)
    with pytest.raises(trackmllib.CandidateTimeout, match="candidate 0 took longer"):
        stub_search(est=StubEstimator(fitSeconds=1.5), numFolds=2).fit(points)
    assert any("cannot be cancelled" in sentence for sentence in logged_warnings())


def test_fits_within_the_timeout_are_unchanged(points, recorded):
    expected = regression_search(TrainValidationSplit).fit(points).validationMetrics
    on(candidate_timeout=300)
    assert regression_search(TrainValidationSplit).fit(points).validationMetrics == expected


def test_late_score_does_not_count(points, recorded):
    """Pure-Python work is not cancelled, but the fit fails."""
    on(on_error="skip", candidate_timeout=3.0)

    class Slow(StubEstimator):
        def _fit(self, dataset):
            time.sleep(3.2 if self.getOrDefault(self.x) == 3.0 else 0.0)
            return super()._fit(dataset)

    model = stub_search(est=Slow(), numFolds=2).fit(points)
    assert model.avgMetrics[2] == -math.inf
    parent = recorded.only_parent_run()
    children = recorded.children(parent)
    assert [child.info.status for child in children] == ["FINISHED", "FINISHED", "FAILED"]
    assert recorded.history(children[2], "stub") == []
    assert parent.data.metrics["fits_finished"] == 4
    assert parent.data.metrics["candidates_finished"] == 2
    assert children[1].data.tags["trackmllib.best"] == "true"


def test_shared_stages_count_for_no_timeout(data, recorded, monkeypatch):
    fit, timeout = StandardScaler._fit, 8.0
    first = iter([True])

    def slow(self, dataset):
        if next(first, False):
            time.sleep(timeout + 0.2)
        return fit(self, dataset)

    expected = scaled_search(parallelism=2).fit(data).avgMetrics
    monkeypatch.setattr(StandardScaler, "_fit", slow)
    on(on_error="skip", candidate_timeout=timeout, reuse_stages=True)
    assert scaled_search(parallelism=2).fit(data).avgMetrics == expected


@pytest.mark.parametrize("failing", [1.0, None])
def test_no_candidate_left_is_an_error(points, recorded, failing):
    """One candidate fails and the others have a score of NaN, or all of them have."""
    on(on_error="skip")
    fail = {} if failing is None else {failing: ValueError("no")}
    scores = {x: math.nan for x in (1.0, 2.0, 3.0) if x != failing}
    with pytest.raises(ValueError, match="every candidate failed or has a score of NaN"):
        stub_search(est=StubEstimator(fail=fail), eva=StubEvaluator(scores=scores), numFolds=2).fit(
            points
        )


def test_skip_has_no_effect_with_sub_models(points, recorded, logged_warnings):
    on(on_error="skip")
    with pytest.raises(ValueError, match="no"):
        stub_search(
            est=StubEstimator(fail={2.0: ValueError("no")}), numFolds=2, collectSubModels=True
        ).fit(points)
    assert any("no effect with collectSubModels" in sentence for sentence in logged_warnings())
