"""The tuner of ``pyspark.ml.connect`` runs on a classic session too: its hard cases, in short."""

from __future__ import annotations

import pytest

import trackmllib
from trackmllib.patching import is_patched

# Not for its length: the oldest versions are tested without what pyspark.ml.connect needs.
pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def data(spark):
    return spark.createDataFrame([(float(i % 5), i) for i in range(40)], ["label", "i"])


def search(**params):
    from places.mean_search import mean_search

    return mean_search(**params)


def test_disable_puts_back_exactly_what_was_there(data, store):
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


def test_every_cell_is_recorded_to_the_last_bit(data, recorded):
    model = search(parallelism=2, numFolds=4).fit(data)
    main = recorded.only_main_run()
    children = recorded.children(main)
    averages = [child.data.metrics["avg_mse"].hex() for child in children]
    deviations = [child.data.metrics["std_mse"].hex() for child in children]
    assert averages == [float(average).hex() for average in model.avgMetrics]
    assert deviations == [float(deviation).hex() for deviation in model.stdMetrics]
    assert [child.data.params["shrink"] for child in children] == ["0.3", "0.7", "0.9"]
    assert all([s for s, _ in recorded.history(c, "mse")] == [0, 1, 2, 3] for c in children)
    assert all(child.data.metrics["fit_seconds"] > 0 for child in children)
    best = min(range(3), key=model.avgMetrics.__getitem__)
    assert [child.data.tags.get("trackmllib.best") for child in children].index("true") == best
    assert main.data.metrics["best_avg_mse"] == model.avgMetrics[best]
    assert main.data.params["metric"] == "mse"
    assert main.data.params["estimator"] == "MeanEstimator"
    assert main.data.metrics["refit_seconds"] > 0


def test_equal_candidates_are_told_apart(data, recorded):
    """The position of a task is its candidate, not the value of its params."""
    tuner = search()
    first, *_ = tuner.getEstimatorParamMaps()
    tuner.setEstimatorParamMaps([first, first]).fit(data)
    children = recorded.children(recorded.only_main_run())
    assert [len(recorded.history(child, "mse")) for child in children] == [3, 3]


def test_a_cell_that_fails_is_the_users_own_error(data, recorded):
    from places.mean_search import MeanEstimator

    error = ValueError("no mean")
    with pytest.raises(ValueError, match="no mean") as caught:
        search(est=MeanEstimator(fail={0.7: error})).fit(data)
    assert caught.value is error
    main = recorded.only_main_run()
    status = [child.info.status for child in recorded.children(main)]
    assert (main.info.status, status[1]) == ("FAILED", "FAILED")
    assert "RUNNING" not in status


def test_a_subclass_with_a_fit_of_its_own_is_recorded_once(data, recorded):
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
    main = recorded.only_main_run()
    assert main.info.status == "FINISHED"
    assert len(recorded.children(main)) == 3


def test_params_given_to_fit_count(data, recorded):
    tuner = search()
    tuner.fit(data, {tuner.numFolds: 2})
    main = recorded.only_main_run()
    assert main.data.params["numFolds"] == "2"
    assert [len(recorded.history(c, "mse")) for c in recorded.children(main)] == [2, 2, 2]
