"""``reuse_stages``: cached data and its lifetime."""

from __future__ import annotations

import gc
import itertools
import weakref

import pytest
from pyspark.ml.regression import LinearRegression

import trackmllib
from support.stage_searches import BOTH, scaled_search
from support.stubs import StubEstimator
from support.waiting import wait_until

pytestmark = [
    pytest.mark.usefixtures("nothing_stays_cached"),
    pytest.mark.versions,
    pytest.mark.slow,
]


def test_users_cached_data_stays_cached(data):
    """Also with params given to ``fit()``."""
    search = scaled_search(parallelism=2)
    params = {search.numFolds: 3, search.estimatorParamMaps: search.getEstimatorParamMaps()[1:]}
    kept = data.select("*").cache()
    trackmllib.autolog(disable=True)
    expected = search.fit(kept, params).avgMetrics
    trackmllib.autolog(record=False, progress=False, **BOTH)
    assert search.fit(kept, params).avgMetrics == expected
    assert len(expected) == 3
    assert kept.is_cached
    kept.unpersist(blocking=True)


def test_few_outputs_are_cached_whatever_the_grid_order(data, spark, monkeypatch):
    """Candidates that share stages run one after the other.

    So only one output is cached, besides that of the stage before it and the fold itself.
    """
    most = []
    fit = LinearRegression._fit

    def counting(self, dataset):
        most.append(spark.sparkContext._jsc.getPersistentRDDs().size())
        return fit(self, dataset)

    monkeypatch.setattr(LinearRegression, "_fit", counting)
    search = scaled_search(counts=(0, 2, 3), stub=False)
    grid = search.getEstimatorParamMaps()
    search.setEstimatorParamMaps([*grid[::2], *grid[1::2]])
    trackmllib.autolog(record=False, reuse_stages=True)
    search.fit(data)
    assert max(most) == 2 + 2 + 2


@pytest.mark.parametrize("name", ["persist", "unpersist", "count"])
def test_cache_errors_do_not_end_the_search(data, stock, lenient, caplog, monkeypatch, name):
    """If an output cannot be cached, each candidate computes it; if it cannot be released, all
    candidates are done.
    """
    call = getattr(type(data), name)
    raised = []

    def full(self, *args, **kwargs):
        if "scaled" in self.columns:
            call(self) if name == "unpersist" else None
            raised.append(name)
            raise OSError("No space left on device")
        return call(self, *args, **kwargs)

    monkeypatch.setattr(type(data), name, full)
    trackmllib.autolog(record=False, **BOTH)
    assert scaled_search(parallelism=2).fit(data).avgMetrics == stock
    assert raised
    messages = {record.getMessage() for record in caplog.records if record.name == "trackmllib"}
    assert messages == (
        set()
        if name == "unpersist"
        else {
            "reuse_stages could not cache the output of StandardScaler (OSError), so each "
            "candidate computes it."
        }
    )


def test_earlier_stages_are_shared_if_later_ones_cannot_be_cached(
    data, stock, lenient, fits, caplog, monkeypatch
):
    """One warning, although Spark's message differs each time."""
    persist, times = type(data).persist, itertools.count()

    def full(self, *args, **kwargs):
        if "features" in self.columns:
            raise OSError(f"No space left on device, task {next(times)}")
        return persist(self, *args, **kwargs)

    monkeypatch.setattr(type(data), "persist", full)
    trackmllib.autolog(record=False, reuse_stages=True)
    assert scaled_search().fit(data).avgMetrics == stock
    assert next(times) == 2 * 2
    assert fits.count("StandardScaler") == 2 + 1
    messages = [record.getMessage() for record in caplog.records if record.name == "trackmllib"]
    assert messages == [
        "reuse_stages could not cache the output of IDF (OSError), so each candidate computes it."
    ]


def test_users_stages_are_not_modified(data):
    """A candidate without params is fitted on copies, as in Spark."""
    fitted = []

    class Writing(StubEstimator):
        def _fit(self, dataset):
            fitted.append(self)
            return super()._fit(dataset)

    search = scaled_search()
    scaler, weighed, _ = search.getEstimator().getStages()
    last = Writing()
    search.getEstimator().setStages([scaler, weighed, last])
    search.setEstimatorParamMaps([{}, {}, {weighed.minDocFreq: 3}])
    trackmllib.autolog(record=False, reuse_stages=True)
    search.fit(data)
    # Spark itself refits a winner without params on the original stages.
    assert last not in fitted[:-1]
    assert len(fitted) == 2 * 3 + 1


def test_sub_models_do_not_share_models(data):
    trackmllib.autolog(record=False, reuse_stages=True)
    model = scaled_search(counts=(0,), collectSubModels=True).fit(data)
    one, other = (fold_model.stages[0] for fold_model in model.subModels[0])
    assert one is not other
    one.setOutputCol("elsewhere")
    assert other.getOutputCol() == "scaled"
    assert model.subModels[0][1].transform(data).dataset.count() == 48
    assert all("transform" not in vars(one) for fold in model.subModels for one in fold)


def test_models_are_freed_with_the_model_of_the_search(data):
    """At once, without Python's garbage collector."""
    trackmllib.autolog(record=False, progress=False, **BOTH)
    gc.collect()
    gc.disable()
    try:
        model = scaled_search(counts=(0,), collectSubModels=True, parallelism=2).fit(data)
        shared, *_ = (weakref.ref(stage) for stage in model.subModels[0][0].stages)
        del model
        wait_until(lambda: shared() is None)
    finally:
        gc.enable()
