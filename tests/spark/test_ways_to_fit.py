"""Every way to fit a tuner is recorded correctly."""

from __future__ import annotations

import threading

import mlflow
import numpy as np
import pytest
from pyspark.ml import Pipeline
from pyspark.ml.tuning import (
    CrossValidator,
    CrossValidatorModel,
    ParamGridBuilder,
    TrainValidationSplit,
    TrainValidationSplitModel,
)

from support.own_loop import OwnLoop
from support.searches import regression_search, stub_search, stub_split
from support.stubs import FitMultipleEstimator, StubEstimator, StubEvaluator


def averages(children, metric="stub"):
    return [c.data.metrics[f"avg_{metric}"] for c in children]


def test_fit_with_dataset_as_keyword(points, recorded):
    model = stub_search(numFolds=2).fit(dataset=points)
    assert averages(recorded.children(recorded.only_parent_run())) == list(model.avgMetrics)


def test_fit_with_a_param_map_records_its_changes(points, recorded):
    search = stub_search(numFolds=2)
    model = search.fit(points, {search.numFolds: 3})
    parent = recorded.only_parent_run()
    assert parent.data.params["numFolds"] == "3"
    children = recorded.children(parent)
    assert averages(children) == list(model.avgMetrics)
    assert len(recorded.history(children[0], "stub")) == 3
    assert search.getNumFolds() == 2


def test_fit_with_an_empty_param_map(points, recorded):
    model = stub_search(numFolds=2).fit(points, params={})
    assert averages(recorded.children(recorded.only_parent_run())) == list(model.avgMetrics)


@pytest.mark.parametrize("container", [list, tuple])
def test_fit_with_several_param_maps_is_a_search_each(points, recorded, container):
    search = stub_search(numFolds=2)
    maps = container([{search.numFolds: 2}, {search.numFolds: 3}])
    models = search.fit(points, maps)
    assert len(models) == 2
    parents = {run.data.params["numFolds"]: run for run in recorded.parent_runs()}
    assert set(parents) == {"2", "3"}
    for model, folds in zip(models, "23", strict=True):
        assert averages(recorded.children(parents[folds])) == list(model.avgMetrics)


def test_collect_sub_models(points, recorded):
    model = stub_search(numFolds=2, collectSubModels=True).fit(points)
    assert len(model.subModels[0]) == 3
    assert averages(recorded.children(recorded.only_parent_run())) == list(model.avgMetrics)
    assert recorded.only_parent_run().data.params["collectSubModels"] == "True"


@pytest.mark.slow
def test_folds_by_a_column(points, recorded):
    model = stub_search(numFolds=2, foldCol="fold").fit(points)
    parent = recorded.only_parent_run()
    assert parent.data.params["foldCol"] == "fold"
    assert averages(recorded.children(parent)) == list(model.avgMetrics)


def test_more_threads_than_fits(points, recorded):
    search = stub_search(xs=range(20), numFolds=3, parallelism=30)
    model = search.fit(points)
    children = recorded.children(recorded.only_parent_run())
    assert averages(children) == list(model.avgMetrics)
    returned = search.getEvaluator().returned
    for child, x in zip(children, range(20), strict=True):
        assert [s for _, s in recorded.history(child, "stub")] == [s for v, s in returned if v == x]


def test_copied_tuner(points, recorded):
    model = stub_search(numFolds=2).copy().fit(points)
    assert averages(recorded.children(recorded.only_parent_run())) == list(model.avgMetrics)


@pytest.mark.slow
def test_saved_and_loaded_tuner(points, recorded, tmp_path):
    search = regression_search(TrainValidationSplit)
    search.write().overwrite().save(str(tmp_path / "tuner"))
    model = TrainValidationSplit.load(str(tmp_path / "tuner")).fit(points)
    children = recorded.children(recorded.only_parent_run())
    assert [c.data.metrics["logLoss"] for c in children] == list(model.validationMetrics)
    assert [c.data.params["regParam"] for c in children] == ["0.0", "0.1", "1.0"]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_estimator_with_its_own_fit_multiple(points, recorded, parallelism):
    search = stub_search(est=FitMultipleEstimator(), numFolds=2, parallelism=parallelism)
    model = search.fit(points)
    children = recorded.children(recorded.only_parent_run())
    assert averages(children) == list(model.avgMetrics)
    assert {c.info.status for c in children} == {"FINISHED"}
    for child, x in zip(children, [1.0, 2.0, 3.0], strict=True):
        returned = [s for v, s in search.getEvaluator().returned if v == x]
        assert [s for _, s in recorded.history(child, "stub")] == returned


class LoggingFit(CrossValidator):
    """Overrides ``_fit`` and calls Spark's."""

    def _fit(self, dataset):
        model = super()._fit(dataset)
        self.was_here = True
        return model


class OwnFolds(CrossValidator):
    """Overrides ``_fit`` with its own loop over Spark's fits and its own average."""

    def _fit(self, dataset):
        from pyspark.ml import tuning

        est, eva = self.getEstimator(), self.getEvaluator()
        maps = self.getEstimatorParamMaps()
        table = []
        for _ in range(4):
            row = [0.0] * len(maps)
            for task in tuning._parallelFitTasks(est, dataset, eva, dataset, maps, False):
                index, metric, _model = task()
                row[index] = metric
            table.append(row)
        scores = list(np.median(table, axis=0))
        best = int(np.argmax(scores))
        return CrossValidatorModel(est.fit(dataset, maps[best]), scores, [], [0.0] * len(maps))


class LoggingPublicFit(CrossValidator):
    """Overrides ``fit`` and calls Spark's."""

    def fit(self, dataset, params=None):
        return super().fit(dataset, params)


class OwnPublicFit(CrossValidator):
    """Overrides ``fit`` and calls ``_fit`` directly."""

    def fit(self, dataset, params=None):
        return self._fit(dataset)


class OwnEverything(OwnLoop):
    """Overrides ``fit`` and ``_fit``, without calling Spark's."""

    def fit(self, dataset, params=None):
        return self._fit(dataset)


class TwicePublicFit(CrossValidator):
    """Overrides ``fit`` and calls Spark's twice: two searches."""

    def fit(self, dataset, params=None):
        super().fit(dataset, params)
        return super().fit(dataset, params)


class OwnSplit(TrainValidationSplit):
    """A split with its own loop."""

    def _fit(self, dataset):
        est, eva = self.getEstimator(), self.getEvaluator()
        maps = self.getEstimatorParamMaps()
        scores = [eva.evaluate(est.fit(dataset, m).transform(dataset, m)) for m in maps]
        best = int(np.argmax(scores))
        return TrainValidationSplitModel(est.fit(dataset, maps[best]), scores, [])


@pytest.mark.parametrize("kind", [LoggingFit, LoggingPublicFit, OwnPublicFit])
def test_subclass_that_calls_sparks_loop(points, recorded, kind):
    model = stub_search(kind=kind, numFolds=2).fit(points)
    parent = recorded.only_parent_run()
    assert parent.info.run_name == f"{kind.__name__}: StubEstimator"
    children = recorded.children(parent)
    assert averages(children) == list(model.avgMetrics)
    assert all(len(recorded.history(c, "stub")) == 2 for c in children)
    assert children[2].data.tags["trackmllib.best"] == "true"


@pytest.mark.parametrize("kind", [OwnLoop, OwnEverything])
def test_subclass_with_its_own_loop_is_recorded_from_its_model(points, recorded, kind):
    model = stub_search(kind=kind, numFolds=2).fit(points)
    parent = recorded.only_parent_run()
    children = recorded.children(parent)
    assert averages(children) == list(model.avgMetrics)
    assert {c.info.status for c in children} == {"FINISHED"}
    # No fit was observed, so the record has no times of candidates.
    assert {c.data.tags["trackmllib.times"] for c in children} == {"search"}
    assert all(c.info.start_time == parent.info.start_time for c in children)
    assert children[2].data.tags["trackmllib.best"] == "true"
    assert parent.data.params["best_x"] == "3.0"


def test_split_with_its_own_loop_is_recorded_from_its_model(points, recorded):
    model = stub_search(kind=OwnSplit).fit(points)
    children = recorded.children(recorded.only_parent_run())
    assert [c.data.metrics["stub"] for c in children] == list(model.validationMetrics)


def test_average_of_a_subclass_is_recorded(points, recorded):
    model = stub_search(kind=OwnFolds, numFolds=2).fit(points)
    children = recorded.children(recorded.only_parent_run())
    assert averages(children) == list(model.avgMetrics)
    assert all(len(recorded.history(c, "stub")) == 4 for c in children)
    assert all(len(recorded.history(c, "avg_stub")) == 1 for c in children)
    assert {c.info.status for c in children} == {"FINISHED"}


def test_subclass_that_fits_twice_is_two_searches(points, recorded):
    stub_search(kind=TwicePublicFit, numFolds=2).fit(points)
    assert [len(recorded.children(m)) for m in recorded.parent_runs()] == [3, 3]


def test_subclass_defined_after_autolog_is_recorded(points, recorded):
    class Later(CrossValidator):
        def fit(self, dataset, params=None):
            return self._fit(dataset)

    model = stub_search(kind=Later, numFolds=2).fit(points)
    assert averages(recorded.children(recorded.only_parent_run())) == list(model.avgMetrics)


@pytest.mark.slow
def test_tuner_in_a_pipeline_is_a_search(points, recorded):
    pipeline = Pipeline(stages=[regression_search(TrainValidationSplit)])
    model = pipeline.fit(points)
    parent = recorded.only_parent_run()
    children = recorded.children(parent)
    assert [c.data.metrics["logLoss"] for c in children] == list(model.stages[0].validationMetrics)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_inner_search_does_not_disturb_the_outer_one(points, recorded, parallelism):
    inner = stub_search(numFolds=2, collectSubModels=True, eva=StubEvaluator(seed=1), parallelism=2)
    est = InnerTuner(inner)
    grid = ParamGridBuilder().addGrid(est.x, [1.0, 2.0]).build()
    outer = CrossValidator(
        estimator=est,
        estimatorParamMaps=grid,
        evaluator=StubEvaluator(),
        numFolds=2,
        parallelism=parallelism,
    )
    model = outer.fit(points)
    parent = recorded.only_parent_run()
    children = recorded.children(parent)
    assert averages(children) == list(model.avgMetrics)
    assert [len(recorded.history(c, "stub")) for c in children] == [2, 2]
    assert parent.data.metrics["fits_finished"] == 4
    # Two folds of two candidates, and the refit: each an inner search of three candidates.
    assert len(recorded.runs()) == 3 + 5 * (1 + 3)


class InnerTuner(StubEstimator):
    """An estimator whose fit runs a search."""

    def __init__(self, tuner):
        super().__init__()
        self.tuner = tuner

    def _fit(self, dataset):
        self.tuner.copy().fit(dataset)
        return super()._fit(dataset)


def test_same_tuner_in_two_threads(points, recorded):
    search = stub_search(numFolds=2, parallelism=2)
    models = []

    def fit():
        with mlflow.start_run():
            models.append(search.fit(points))

    threads = [threading.Thread(target=fit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = sorted(averages(recorded.children(m)) for m in recorded.parent_runs())
    assert found == sorted(list(m.avgMetrics) for m in models)


def test_split_with_many_threads(points, recorded):
    model = stub_split(xs=range(12), parallelism=4).fit(points)
    children = recorded.children(recorded.only_parent_run())
    assert [c.data.metrics["stub"] for c in children] == list(model.validationMetrics)
