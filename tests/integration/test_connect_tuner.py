"""The tuner of ``pyspark.ml.connect``, on a classic session."""

from __future__ import annotations

import pytest

import trackmllib
from trackmllib.support.patching import is_patched


# In this folder because the oldest versions lack the packages of pyspark.ml.connect.
@pytest.fixture(scope="module")
def data(spark):
    return spark.createDataFrame([(float(i % 5), i) for i in range(40)], ["label", "i"])


def search(**params):
    from integration.mean_search import mean_search

    return mean_search(**params)


def test_disable_restores_the_original_functions(data, store):
    import pyspark.ml.connect.tuning as tuning

    before = dict(vars(tuning)), dict(vars(tuning.CrossValidator))
    for _ in range(2):
        trackmllib.autolog()
        assert is_patched(tuning.CrossValidator.fit)
        assert is_patched(tuning._parallelFitTasks)
        trackmllib.autolog(disable=True)
        assert (dict(vars(tuning)), dict(vars(tuning.CrossValidator))) == before
    search().fit(data)
    assert store.runs() == []


def test_every_fit_is_recorded_exactly(data, recorded):
    model = search(parallelism=2, numFolds=4).fit(data)
    parent = recorded.only_parent_run()
    children = recorded.children(parent)
    averages = [child.data.metrics["avg_mse"].hex() for child in children]
    deviations = [child.data.metrics["std_mse"].hex() for child in children]
    assert averages == [float(average).hex() for average in model.avgMetrics]
    assert deviations == [float(deviation).hex() for deviation in model.stdMetrics]
    assert [child.data.params["shrink"] for child in children] == ["0.3", "0.7", "0.9"]
    assert all([s for s, _ in recorded.history(c, "mse")] == [0, 1, 2, 3] for c in children)
    assert all(child.data.metrics["fit_seconds"] > 0 for child in children)
    best = min(range(3), key=model.avgMetrics.__getitem__)
    assert [child.data.tags.get("trackmllib.best") for child in children].index("true") == best
    assert parent.data.metrics["best_avg_mse"] == model.avgMetrics[best]
    assert parent.data.params["metric"] == "mse"
    assert parent.data.params["estimator"] == "MeanEstimator"
    assert parent.data.metrics["refit_seconds"] > 0


def test_equal_candidates_are_distinguished(data, recorded):
    """The position of a task is its candidate, not the value of its params."""
    tuner = search()
    first, *_ = tuner.getEstimatorParamMaps()
    tuner.setEstimatorParamMaps([first, first]).fit(data)
    children = recorded.children(recorded.only_parent_run())
    assert [len(recorded.history(child, "mse")) for child in children] == [3, 3]


def test_failed_fit_raises_the_users_own_error(data, recorded):
    from integration.mean_search import MeanEstimator

    error = ValueError("no mean")
    with pytest.raises(ValueError, match="no mean") as caught:
        search(est=MeanEstimator(fail={0.7: error})).fit(data)
    assert caught.value is error
    parent = recorded.only_parent_run()
    status = [child.info.status for child in recorded.children(parent)]
    assert (parent.info.status, status[1]) == ("FAILED", "FAILED")
    assert "RUNNING" not in status


def test_subclass_with_its_own_fit_is_recorded_once(data, recorded):
    from pyspark.ml.connect.tuning import CrossValidator

    class Own(CrossValidator):
        def fit(self, dataset, params=None):
            return super().fit(dataset, params)

    tuner = search()
    Own(
        estimator=tuner.getEstimator(),
        estimatorParamMaps=tuner.getEstimatorParamMaps(),
        evaluator=tuner.getEvaluator(),
        numFolds=2,
    ).fit(data)
    parent = recorded.only_parent_run()
    assert parent.info.status == "FINISHED"
    assert len(recorded.children(parent)) == 3


def test_params_of_fit_are_recorded(data, recorded):
    tuner = search()
    tuner.fit(data, {tuner.numFolds: 2})
    parent = recorded.only_parent_run()
    assert parent.data.params["numFolds"] == "2"
    assert [len(recorded.history(c, "mse")) for c in recorded.children(parent)] == [2, 2, 2]
