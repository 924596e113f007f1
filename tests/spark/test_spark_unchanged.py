"""Spark computes the same with and without recording."""

from __future__ import annotations

import time
import warnings

import pytest
from pyspark.ml.classification import LogisticRegressionModel
from pyspark.ml.tuning import TrainValidationSplit

import trackmllib
from support.searches import regression_search, stub_search, stub_split, tree_search
from support.slow_stores import slow_store, stopped_store
from support.stubs import StubEstimator, StubEvaluator

pytestmark = pytest.mark.versions


def spark_work(spark) -> tuple[int, int]:
    """Return the numbers of jobs and stages started so far, from Spark's scheduler."""
    scheduler = spark.sparkContext._jsc.sc().dagScheduler()
    return scheduler.numTotalJobs(), scheduler.nextStageId()


def measured(spark, search, data) -> dict:
    jobs, stages = spark_work(spark)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = search.fit(data)
    jobs_after, stages_after = spark_work(spark)
    split = isinstance(search, TrainValidationSplit)
    best = model.bestModel
    tree_or_regression = best.stages[-1] if hasattr(best, "stages") else best
    return {
        "averages": [
            float(a).hex() for a in (model.validationMetrics if split else model.avgMetrics)
        ],
        "deviations": [] if split else [float(s).hex() for s in model.stdMetrics],
        "best params": {p.name: v for p, v in tree_or_regression.extractParamMap().items()},
        "best model": model_text(tree_or_regression),
        "work": (jobs_after - jobs, stages_after - stages),
        "storage": data.storageLevel,
        # Excludes calls of Python's garbage collector on the pools of earlier searches.
        "warnings": sorted(str(w.message) for w in caught if w.category is not ResourceWarning),
        "attributes": [
            sorted(vars(o)) for o in (search, search.getEstimator(), search.getEvaluator(), model)
        ],
    }


def model_text(model) -> object:
    """The model to the last bit: its coefficients, or the whole tree."""
    if isinstance(model, LogisticRegressionModel):
        return [
            float(c).hex()
            for c in [*model.coefficientMatrix.toArray().ravel(), *model.interceptVector]
        ]
    return model.toDebugString.partition("\n")[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("search", "parallelism"),
    [
        (regression_search, 1),
        (tree_search, 2),
        (tree_search, 1),
        (regression_search, 2),
    ],
)
def test_tracked_search_equals_the_untracked_one(spark, points, store, capfd, search, parallelism):
    def pair():
        trackmllib.autolog(disable=True)
        untracked = measured(spark, search(parallelism=parallelism), points)
        trackmllib.autolog()
        return measured(spark, search(parallelism=parallelism), points), untracked

    tracked, untracked = pair()
    if parallelism > 1 and tracked["work"] != untracked["work"]:
        # Once in a hundred runs with pyspark 3.5, two concurrent fits take one job less. A job of
        # trackmllib would be there every time.
        tracked, untracked = pair()
    assert tracked == untracked
    assert all(count > 0 for count in untracked["work"])
    assert capfd.readouterr().out == ""
    assert len(store.runs()) > 3


def test_caching_of_the_users_dataset_does_not_change(points, recorded):
    assert not points.is_cached
    stub_split().fit(points)
    assert not points.is_cached
    cached = points.select("*").persist()
    try:
        level = cached.storageLevel
        stub_split().fit(cached)
        assert cached.storageLevel == level
        assert cached.is_cached
    finally:
        cached.unpersist()


def test_spark_threads_never_wait_for_the_store(points, recorded, lenient, session):
    """The search ends before the store accepts any operation."""
    session.settings = session.settings.model_copy(update={"strict": False, "flush_timeout": 0.5})
    with stopped_store():
        model = stub_search(xs=range(6), numFolds=2).fit(points)
        assert len(model.avgMetrics) == 6
        assert recorded.runs() == []
    assert session.relay.flush(None, 30.0) == 0
    assert len(recorded.children(recorded.only_parent_run())) == 6


@pytest.mark.timed
def test_fits_take_as_long_as_without_a_store(points, recorded, lenient, session):
    """Twelve fits of 50 ms take 0.6 s, although each call to the store takes 2 s."""
    evaluator = StubEvaluator()
    scored: list[float] = []
    evaluator.call = lambda prediction: scored.append(time.monotonic())
    search = stub_search(est=StubEstimator(fitSeconds=0.05), eva=evaluator, xs=range(6), numFolds=2)
    session.settings = session.settings.model_copy(update={"strict": False, "flush_timeout": 0.5})
    with slow_store(2.0):
        began = time.monotonic()
        search.fit(points)
    assert scored[-1] - began < 2.0
    assert session.relay.flush(None, 30.0) == 0


def test_fit_waits_for_the_flush_timeout(points, recorded, session, caplog):
    session.settings = session.settings.model_copy(update={"strict": False, "flush_timeout": 1.0})
    with slow_store(0.5):
        began = time.monotonic()
        stub_search(numFolds=2).fit(points)
        assert time.monotonic() - began >= 1.0
    (warning,) = [r for r in caplog.records if r.name == "trackmllib"]
    assert "operations are not delivered after 1 s" in warning.getMessage()
    assert session.relay.flush(None, 30.0) == 0
    assert len(recorded.children(recorded.only_parent_run())) == 3
    assert recorded.only_parent_run().info.status == "FINISHED"


@pytest.mark.timed
def test_fit_waits_no_longer_than_the_flush_timeout(points, recorded, lenient, session):
    session.settings = session.settings.model_copy(update={"strict": False, "flush_timeout": 1.0})
    with slow_store(0.5):
        began = time.monotonic()
        stub_search(numFolds=2).fit(points)
        assert time.monotonic() - began < 2.5
    assert session.relay.flush(None, 30.0) == 0


@pytest.mark.timed
def test_fit_returns_promptly_on_an_idle_store(points, any_store):
    """Within 0.3 s of the untracked time; the shortest of three runs each."""

    def seconds():
        began = time.monotonic()
        stub_search(est=StubEstimator(fitSeconds=0.15), numFolds=2).fit(points)
        return time.monotonic() - began

    seconds()
    untracked = [seconds() for _ in range(3)]
    trackmllib.autolog()
    seconds()
    tracked = [seconds() for _ in range(3)]
    assert min(tracked) <= min(untracked) + 0.3
