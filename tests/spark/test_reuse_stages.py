"""``reuse_stages`` computes shared stages once per fold, with stock Spark's results."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from pyspark.ml import Pipeline, feature
from pyspark.ml.tuning import ParamGridBuilder, TrainValidationSplit

import trackmllib
from support.searches import regression_search
from support.stage_searches import BOTH, FeaturesEvaluator, scaled_search
from support.stubs import StubEstimator
from support.waiting import wait_until

pytestmark = [pytest.mark.usefixtures("nothing_stays_cached"), pytest.mark.versions]


@pytest.mark.slow
@pytest.mark.parametrize("parallelism", [1, 3])
def test_shared_stages_are_computed_once_per_fold(data, fits, parallelism):
    tuner = scaled_search(parallelism=parallelism)
    trackmllib.autolog(record=False, reuse_stages=True)
    tuner.fit(data)
    # In each of two folds and in the refit.
    assert fits.count("StandardScaler") == 2 + 1
    assert fits.count("IDF") == 2 * 2 + 1
    fits.clear()
    trackmllib.autolog(record=False)
    tuner.fit(data)
    assert (fits.count("StandardScaler"), fits.count("IDF")) == (2 * 4 + 1, 2 * 4 + 1)


@pytest.mark.slow
def test_shared_stages_are_recorded(data, recorded, session):
    events = []
    session.listeners[:] = [events.append]
    trackmllib.autolog(reuse_stages=True)
    scaled_search().fit(data)
    parent = recorded.only_parent_run()
    search = recorded.json(parent, "trackmllib/search.json")
    assert search["shared_stages"] == [
        {"stages": ["StandardScaler"], "candidates": [0, 1, 2, 3]},
        {"stages": ["IDF"], "candidates": [0, 1]},
        {"stages": ["IDF"], "candidates": [2, 3]},
    ]
    computed = [event for event in events if type(event).__name__ == "StagesComputed"]
    assert [(event.fold, event.shared.stages) for event in computed] == [
        (fold, stages) for fold in (0, 1) for stages in (("StandardScaler",), ("IDF",), ("IDF",))
    ]
    seconds = [event.seconds for event in computed]
    assert all(second > 0.0 for second in seconds)
    assert parent.data.metrics["shared_seconds"] == pytest.approx(sum(seconds))
    # In one thread, these do not overlap, so their sum is at most the wall-clock time.
    fits = [event for event in events if type(event).__name__ == "FitScored"]
    spent = sum(fold_fit.fit_seconds + fold_fit.evaluate_seconds for fold_fit in fits)
    whole = (events[-1].time_ms - events[0].time_ms) / 1000
    assert sum(seconds) + spent + parent.data.metrics["refit_seconds"] <= whole + 0.1


def test_shared_seconds_count_for_no_fit(data, session, monkeypatch):
    """The first fit starts when its shared stages are computed."""
    events = []
    session.listeners[:] = [events.append]
    trackmllib.autolog(reuse_stages=True)
    scaled_search(counts=(0,)).fit(data)
    order = [
        (type(event).__name__, event.fold)
        for event in events
        if type(event).__name__ in ("StagesComputed", "FitStarted", "FitScored")
    ]
    fold = ["StagesComputed", "FitStarted", "FitScored", "FitStarted", "FitScored"]
    assert order == [(name, number) for number in (0, 1) for name in fold]
    computed = [event for event in events if type(event).__name__ == "StagesComputed"]
    started = [event for event in events if type(event).__name__ == "FitStarted"]
    assert started[0].time_ms >= computed[0].time_ms
    assert started[2].time_ms >= computed[1].time_ms


def failing(monkeypatch, kind, when=lambda stage: True):
    fit = kind._fit

    def fails(self, dataset):
        if when(self):
            raise ZeroDivisionError("of the user")
        return fit(self, dataset)

    monkeypatch.setattr(kind, "_fit", fails)


@pytest.mark.parametrize("options", [{"reuse_stages": True}, BOTH])
@pytest.mark.parametrize("kind", [feature.StandardScaler, StubEstimator])
def test_user_error_is_raised_and_cache_is_released(data, recorded, monkeypatch, options, kind):
    failing(monkeypatch, kind)
    trackmllib.autolog(**options)
    with pytest.raises(ZeroDivisionError, match="of the user"):
        scaled_search(parallelism=2).fit(data)
    parent = recorded.only_parent_run()
    assert parent.info.status == "FAILED"
    assert "RUNNING" not in {child.info.status for child in recorded.children(parent)}
    assert "FAILED" in {child.info.status for child in recorded.children(parent)}


@pytest.mark.slow
def test_candidates_fit_stages_that_cannot_be_shared(data, stock, recorded, monkeypatch):
    """Each candidate fits them, as in stock Spark."""
    failures = iter([True])
    failing(monkeypatch, feature.IDF, lambda stage: next(failures, False))
    trackmllib.autolog(reuse_stages=True)
    assert scaled_search().fit(data).avgMetrics == stock
    assert recorded.only_parent_run().info.status == "FINISHED"


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"reuse_stages": True}, BOTH])
def test_ctrl_c_ends_threads_and_releases_cache(data, recorded, monkeypatch, options):
    began = threading.Event()

    def slow(stage):
        began.set()
        time.sleep(1.0)
        return False

    failing(monkeypatch, StubEstimator, slow)
    trackmllib.autolog(**options)

    def press():
        began.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        scaled_search(parallelism=2).fit(data)
    assert trackmllib.flush(60)
    assert recorded.only_parent_run().info.status == "KILLED"
    wait_until(
        lambda: not [t for t in threading.enumerate() if t.name.startswith("trackmllib-folds")]
    )


@pytest.mark.slow
def test_search_without_pipeline_warns_once(points, lenient, caplog):
    trackmllib.autolog(record=False, reuse_stages=True)
    for _ in range(2):
        regression_search(TrainValidationSplit).fit(points)
    (message,) = [r.getMessage() for r in caplog.records if r.name == "trackmllib"]
    assert message == (
        "reuse_stages has no effect on a search of pyspark.ml.classification.LogisticRegression: "
        "only the stages of a pyspark.ml.Pipeline can be shared."
    )


@pytest.mark.slow
def test_nested_tuner_shares_stages(data, recorded):
    """The inner search shares its stages in each fit of the outer one."""
    inner = scaled_search(counts=(0,), numFolds=2, collectSubModels=True)
    indexer = feature.StringIndexer(inputCol="colour", outputCol="index")
    grid = ParamGridBuilder().addGrid(inner.numFolds, [2, 3]).build()
    outer = TrainValidationSplit(
        estimator=Pipeline(stages=[indexer, inner]),
        estimatorParamMaps=grid,
        evaluator=FeaturesEvaluator(),
        seed=1,
        parallelism=2,
    )
    trackmllib.autolog(disable=True)
    expected = outer.fit(data).validationMetrics
    trackmllib.autolog(**BOTH)
    assert outer.fit(data).validationMetrics == expected
    runs = recorded.runs()
    assert {run.info.status for run in runs} == {"FINISHED"}
    shared = [run for run in runs if "shared_seconds" in run.data.metrics]
    assert len(shared) == 1 + 2 + 1  # the outer one, two in its fits, and one in its refit


def test_invalid_grid_raises_sparks_own_error(data, lenient, caplog):
    search = scaled_search()
    trackmllib.autolog(disable=True)
    for maps in ([{"k": 2}, {"k": 3}], [3, 4]):
        search.setEstimatorParamMaps(maps)
        trackmllib.autolog(disable=True)
        with pytest.raises((AttributeError, TypeError)) as expected:
            search.fit(data)
        trackmllib.autolog(record=False, **BOTH)
        with pytest.raises(type(expected.value)) as found:
            search.fit(data)
        assert str(found.value) == str(expected.value)


@pytest.mark.slow
def test_grid_may_replace_stages(data):
    search = scaled_search(counts=(0,))
    pipeline = search.getEstimator()
    scaled = feature.StandardScaler(inputCol="raw", outputCol="features")
    stages = [scaled, StubEstimator()]
    search.setEstimatorParamMaps([{pipeline.stages: stages}] * 2 + [{}, {}])
    trackmllib.autolog(disable=True)
    expected = search.fit(data).avgMetrics
    trackmllib.autolog(record=False, **BOTH)
    assert search.fit(data).avgMetrics == expected
    found = trackmllib.explain(search.setEstimatorParamMaps([{pipeline.stages: []}] * 2))
    assert found.stages == ()
