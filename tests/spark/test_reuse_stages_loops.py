"""``reuse_stages``: subclasses with several loops, and user code in the fits."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.ml import Pipeline, feature
from pyspark.ml.classification import DecisionTreeClassifier
from pyspark.ml.evaluation import MulticlassClassificationEvaluator, RegressionEvaluator
from pyspark.ml.regression import LinearRegression
from pyspark.ml.tuning import CrossValidator
from pyspark.sql.utils import IllegalArgumentException

import trackmllib
from support import random_searches
from support.searches import fit_within, tree_search
from support.stage_searches import BOTH, scaled_search
from support.stubs import ScriptedEstimator, StubEstimator, StubEvaluator
from trackmllib.spark.middleware import on_error

pytestmark = [
    pytest.mark.usefixtures("nothing_stays_cached"),
    pytest.mark.versions,
    pytest.mark.slow,
]


class Repeated(CrossValidator):
    """Runs Spark's loop twice, the second time on another grid."""

    def _fit(self, dataset):
        first = super()._fit(dataset)
        grid = self.getEstimatorParamMaps()
        second = self.copy().setEstimatorParamMaps(grid[::-1]).setNumFolds(3)
        self.seen = (first.avgMetrics, CrossValidator._fit(second, dataset).avgMetrics)
        return first


def test_repeated_loop_has_the_scores_of_each_run(data, lenient):
    search = scaled_search(kind=Repeated, counts=(0,), parallelism=3)
    trackmllib.autolog(disable=True)
    search._set(numFolds=2).fit(data)
    expected = search.seen
    trackmllib.autolog(record=False, **BOTH)
    search.fit(data)
    assert search.seen == expected
    assert expected[0] != expected[1]


def rows_kept(grid, kind=CrossValidator, **params):
    """A search that scores the number of rows that a stage marks.

    The grid is ``grid(stage)``, with two candidates for each entry.
    """
    marks, last = feature.Binarizer(inputCol="a", outputCol="kept", threshold=0.5), StubEstimator()
    return kind(
        estimator=Pipeline(stages=[marks, last]),
        estimatorParamMaps=[{**one, last.x: x} for one in grid(marks) for x in (1.0, 2.0)],
        evaluator=RowsKept(),
        numFolds=2,
        seed=3,
        **params,
    )


class RowsKept(StubEvaluator):
    """Counts the rows that the first stage has marked."""

    def _evaluate(self, prediction):
        super()._evaluate(prediction)
        return float(prediction.dataset.filter("kept > 0").count())


class Between(CrossValidator):
    """Runs Spark's loop twice, and ``between(pipeline)`` between the two."""

    between = None

    def _fit(self, dataset):
        first = super()._fit(dataset)
        self.between(self.getEstimator())
        second = super()._fit(dataset)
        self.seen = first.avgMetrics, second.avgMetrics
        return second


def another_param(pipeline):
    pipeline.getStages()[0].setThreshold(-1.0)


def other_stages(pipeline):
    marks, last = pipeline.getStages()
    pipeline.setStages([marks.copy({marks.threshold: -1.0}), last])


@pytest.mark.parametrize("options", [{"reuse_stages": True}, BOTH])
@pytest.mark.parametrize("between", [another_param, other_stages])
def test_each_loop_is_planned_anew(data, lenient, options, between):
    def averages(**options):
        trackmllib.autolog(record=False, progress=False, **options)
        # Before the change, all candidates have the same threshold.
        search = rows_kept(lambda marks: [{marks.threshold: 0.5}, {}], Between, parallelism=2)
        search.between = between
        search.fit(data)
        return search.seen

    stock = averages()
    assert stock[0] != stock[1]
    assert averages(**options) == stock


def test_stage_changed_during_a_fold_counts_from_the_next_fold(data, lenient):
    """As in Spark, which copies the pipeline at the start of each fold."""

    def averages(**options):
        trackmllib.autolog(record=False, progress=False, **options)
        search = rows_kept(lambda marks: [{marks.inputCol: "a"}, {marks.inputCol: "label"}])
        shared = search.getEstimator().getStages()[0]
        scores = []

        def change(prediction):
            scores.append(prediction.dataset.filter("kept > 0").count())
            shared.setThreshold(float(len(scores)))

        search.getEvaluator().call = change
        search.fit(data)
        return scores

    stock = averages()
    assert len(set(stock)) > 1
    assert averages(reuse_stages=True) == stock


class Drawing(StubEstimator):
    """Draws a number from numpy's global generator in each fit; the number is the score."""

    def _fit(self, dataset):
        return super()._fit(dataset)._set(y=float(np.random.random()))


class Drawn(StubEvaluator):
    def _evaluate(self, prediction):
        super()._evaluate(prediction)
        return prediction.y


class DrawingEvaluator(RegressionEvaluator):
    def _evaluate(self, dataset):
        return super()._evaluate(dataset) + float(np.random.random())


def parted_grid(stages, last, evaluator):
    """A grid in which each candidate shares a stage with the next but one."""
    first = feature.VectorSlicer(inputCol="raw", outputCol="features")
    return CrossValidator(
        estimator=Pipeline(stages=[first, *stages]),
        estimatorParamMaps=[
            {first.indices: [column], last: value} for value in (1.0, 2.0) for column in (0, 1)
        ],
        evaluator=evaluator,
        numFolds=2,
        seed=3,
    )


def drawing_stage():
    last = Drawing()
    return parted_grid([last], last.x, Drawn())


def drawing_stage_inside_of_one_of_sparks():
    last = Drawing()
    return parted_grid([Pipeline(stages=[last])], last.x, Drawn())


def drawing_evaluator():
    last = LinearRegression(solver="normal")
    return parted_grid([last], last.regParam, DrawingEvaluator())


@pytest.mark.parametrize(
    "search", [drawing_stage, drawing_stage_inside_of_one_of_sparks, drawing_evaluator]
)
def test_user_code_sees_candidates_in_grid_order(data, lenient, search):
    def averages(**options):
        trackmllib.autolog(record=False, progress=False, **options)
        np.random.seed(1)
        return search().fit(data).avgMetrics

    stock = averages()
    assert len(set(stock)) == 4
    assert any(stage.shared_by for stage in trackmllib.explain(search()).stages)
    assert averages(reuse_stages=True) == stock


@pytest.mark.parametrize("options", [{}, {"on_error": "retry:1"}])
def test_first_error_of_the_grid_is_raised(data, lenient, monkeypatch, options):
    """Whichever candidate is computed first."""
    monkeypatch.setattr(on_error, "FIRST_WAIT_SECONDS", 0.01)
    last = DecisionTreeClassifier()
    search = parted_grid([last], last.maxDepth, MulticlassClassificationEvaluator())
    for at, depth in enumerate((1, 31, 32, 1)):
        search.getEstimatorParamMaps()[at][last.maxDepth] = depth

    def error(**options):
        trackmllib.autolog(record=False, progress=False, **options)
        with pytest.raises(IllegalArgumentException) as raised:
            fit_within(60, search, data)
        return str(raised.value).partition("\n")[0]

    stock = error()
    assert "31" in stock
    assert error(reuse_stages=True, **options) == stock


@pytest.mark.parametrize("parallelism", [1, 2])
def test_results_belong_to_their_candidates(data, lenient, parallelism):
    """Also where another candidate of the same thread is computed before."""
    last = LinearRegression(solver="normal")
    search = parted_grid([last], last.regParam, RegressionEvaluator())
    search.setParallelism(parallelism).setCollectSubModels(True)

    def outcome(**options):
        trackmllib.autolog(record=False, progress=False, **options)
        return random_searches.outcome(fit_within(120, search, data))

    assert outcome(reuse_stages=True) == outcome()


@pytest.mark.parametrize("step", ["fit", "transform"])
def test_stop_iteration_after_a_shared_stage_is_as_in_stock_spark(data, lenient, step):
    def call(at, x):
        if at == step and x == 2.0:
            next(iter(()))

    marks = feature.Binarizer(inputCol="a", outputCol="kept")
    last = ScriptedEstimator(call)
    search = CrossValidator(
        estimator=Pipeline(stages=[marks, last]),
        estimatorParamMaps=[{last.x: x} for x in (1.0, 2.0, 3.0)],
        evaluator=StubEvaluator(scores={x: x for x in (1.0, 2.0, 3.0)}),
        numFolds=2,
    )
    trackmllib.autolog(record=False, progress=False)
    stock = fit_within(60, search, data).avgMetrics
    trackmllib.autolog(record=False, progress=False, reuse_stages=True)
    assert fit_within(60, search, data).avgMetrics == stock == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_second_loop_on_another_grid_has_its_own_scores(data, lenient, parallelism):
    def seen(**options):
        trackmllib.autolog(record=False, progress=False, **options)
        search = scaled_search(kind=Repeated, parallelism=parallelism, stub=False)
        grid = search.getEstimatorParamMaps()
        search.setEstimatorParamMaps([grid[at] for at in (0, 2, 1, 3)])
        fit_within(120, search, data)
        return search.seen

    assert seen(reuse_stages=True) == seen()


class NoLoop(CrossValidator):
    def _fit(self, dataset):
        return self.getEstimator().fit(dataset)


def test_subclass_with_its_own_loop_warns_once(points, lenient, caplog):
    trackmllib.autolog(record=False, **BOTH)
    search = tree_search(kind=NoLoop)
    search.fit(points)
    (message,) = [r.getMessage() for r in caplog.records if r.name == "trackmllib"]
    assert message == (
        "parallel_folds and reuse_stages have no effect on a NoLoop: it has its own loop over the "
        "folds, or trackmllib does not support this version of pyspark."
    )
    found = trackmllib.explain(search)
    assert found.stages[0].computed == 1
    assert (
        "NoLoop overrides fit() or _fit(): stages are shared only in folds that Spark's own loop "
        "computes."
    ) in str(found)


@pytest.mark.parametrize(
    ("kind", "acts"), [(CrossValidator, True), (Repeated, True), (NoLoop, False)]
)
def test_options_without_effect_are_not_recorded(
    data, lenient, session, recorded, monkeypatch, kind, acts
):
    events = []
    session.listeners[:] = [events.append]
    trackmllib.autolog(**BOTH)
    scaled_search(kind=kind, counts=(0,), parallelism=2).fit(data)
    parent = recorded.parent_runs()[-1]
    assert bool(recorded.json(parent, "trackmllib/search.json")["shared_stages"]) is acts
    started = [event for event in events if type(event).__name__ == "SearchStarted"]
    assert [event.description.parallel_folds for event in started] == [acts] * len(started)
