"""``reuse_stages``: what candidates have in common is computed once, and nothing else changes."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import threading
import time
import weakref

import numpy as np
import pyspark
import pytest
from pyspark.ml import Estimator, Pipeline, feature
from pyspark.ml.classification import DecisionTreeClassifier, LogisticRegression
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder, TrainValidationSplit
from pyspark.sql.utils import IllegalArgumentException

import random_searches
import trackmllib
from searches import fit_within, regression_search, tree_search
from stubs import ScriptedEstimator, StubEstimator, StubEvaluator
from trackmllib.spark import on_error

LEAVES_A_FOLD = tuple(map(int, pyspark.__version__.split(".")[:2])) < (4, 1)
BOTH = {"reuse_stages": True, "parallel_folds": True}


@pytest.fixture(scope="module")
def data(spark):
    return random_searches.rows(spark)


@pytest.fixture(scope="module")
def stock(data):
    """The averages of ``scaled_search()`` without any of it."""
    return scaled_search().fit(data).avgMetrics


@pytest.fixture(autouse=True)
def nothing_is_kept(spark):
    """Spark's storage holds nothing of ours after any of these tests, be it computed or not.

    Before 4.1 Spark's own loop leaves the two parts of a fold there when it ends with an error.
    """
    cached = spark._jsparkSession.sharedState().cacheManager()
    cached.clearCache()
    yield
    if LEAVES_A_FOLD:
        until(lambda: spark.sparkContext._jsc.getPersistentRDDs().size() <= 2)
        cached.clearCache()
    until(cached.isEmpty)
    until(lambda: spark.sparkContext._jsc.getPersistentRDDs().size() == 0)


def until(holds, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def scaled_search(kind: type = CrossValidator, counts=(0, 3), depths=(1, 2), **params):
    """A pipeline of three stages: a scaler, an IDF in the grid, and a tree in the grid."""
    scaler = feature.StandardScaler(inputCol="raw", outputCol="scaled", withMean=True)
    weighed = feature.IDF(inputCol="scaled", outputCol="features")
    tree = DecisionTreeClassifier()
    grid = (
        ParamGridBuilder()
        .addGrid(weighed.minDocFreq, list(counts))
        .addGrid(tree.maxDepth, list(depths))
        .build()
    )
    if kind is CrossValidator:
        params = {"numFolds": 2, **params}
    return kind(
        estimator=Pipeline(stages=[scaler, weighed, tree]),
        estimatorParamMaps=grid,
        evaluator=MulticlassClassificationEvaluator(),
        seed=3,
        **params,
    )


@pytest.fixture
def fits(monkeypatch):
    """The classes that are fitted, one entry for each fit."""
    fitted: list[str] = []
    for kind in (feature.StandardScaler, feature.IDF):
        fit = kind._fit

        def counting(self, dataset, fit=fit):
            fitted.append(type(self).__name__)
            return fit(self, dataset)

        monkeypatch.setattr(kind, "_fit", counting)
    return fitted


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(40))
def test_results_are_the_same_to_the_last_bit(data, seed):
    tuner = random_searches.random_search(seed)
    trackmllib.autolog(disable=True)
    expected = random_searches.outcome(tuner.fit(data))
    trackmllib.autolog(record=False, progress=False, **BOTH)
    assert random_searches.outcome(tuner.fit(data)) == expected


def test_many_of_the_random_searches_share_something():
    """Else the test above would say nothing."""
    tuners = [random_searches.random_search(seed) for seed in range(40)]
    shared = [any(one.shared_by for one in trackmllib.explain(tuner).stages) for tuner in tuners]
    assert 20 <= sum(shared) < 40
    folds = [isinstance(one, CrossValidator) and one.getParallelism() > 1 for one in tuners]
    assert sum(folds) >= 8
    assert sum(both == (True, True) for both in zip(shared, folds, strict=True)) >= 5


@pytest.mark.parametrize("parallelism", [1, 3])
def test_each_prefix_is_computed_once_a_fold(data, fits, parallelism):
    tuner = scaled_search(parallelism=parallelism)
    trackmllib.autolog(record=False, reuse_stages=True)
    tuner.fit(data)
    # In each of two folds, and then in the refit.
    assert fits.count("StandardScaler") == 2 + 1
    assert fits.count("IDF") == 2 * 2 + 1
    fits.clear()
    trackmllib.autolog(record=False)
    tuner.fit(data)
    assert (fits.count("StandardScaler"), fits.count("IDF")) == (2 * 4 + 1, 2 * 4 + 1)


def test_what_is_shared_is_on_the_record(data, recorded, session):
    heard = []
    session._listeners = (heard.append,)
    trackmllib.autolog(reuse_stages=True)
    scaled_search().fit(data)
    main = recorded.only_main_run()
    search = recorded.json(main, "trackmllib/search.json")
    assert search["shared_stages"] == [
        {"stages": ["StandardScaler"], "candidates": [0, 1, 2, 3]},
        {"stages": ["IDF"], "candidates": [0, 1]},
        {"stages": ["IDF"], "candidates": [2, 3]},
    ]
    computed = [event for event in heard if type(event).__name__ == "StagesComputed"]
    assert [(event.fold, event.shared.stages) for event in computed] == [
        (fold, stages) for fold in (0, 1) for stages in (("StandardScaler",), ("IDF",), ("IDF",))
    ]
    seconds = [event.seconds for event in computed]
    assert all(second > 0.0 for second in seconds)
    assert main.data.metrics["shared_seconds"] == pytest.approx(sum(seconds))
    # In one thread no two of these are at the same time: together they are no more than the clock.
    cells = [event for event in heard if type(event).__name__ == "CellScored"]
    spent = sum(cell.fit_seconds + cell.evaluate_seconds for cell in cells)
    whole = (heard[-1].time_ms - heard[0].time_ms) / 1000
    assert sum(seconds) + spent + main.data.metrics["refit_seconds"] <= whole + 0.1


def test_seconds_of_a_prefix_are_in_no_cell(data, session, monkeypatch):
    """The first cell begins when what it shares is there."""
    heard = []
    session._listeners = (heard.append,)
    trackmllib.autolog(reuse_stages=True)
    scaled_search(counts=(0,)).fit(data)
    order = [
        (type(event).__name__, event.fold)
        for event in heard
        if type(event).__name__ in ("StagesComputed", "CellStarted", "CellScored")
    ]
    fold = ["StagesComputed", "CellStarted", "CellScored", "CellStarted", "CellScored"]
    assert order == [(name, number) for number in (0, 1) for name in fold]
    computed = [event for event in heard if type(event).__name__ == "StagesComputed"]
    started = [event for event in heard if type(event).__name__ == "CellStarted"]
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
@pytest.mark.parametrize("kind", [feature.StandardScaler, DecisionTreeClassifier])
def test_errors_are_the_users_own_and_all_is_let_go(data, recorded, monkeypatch, options, kind):
    failing(monkeypatch, kind)
    trackmllib.autolog(**options)
    with pytest.raises(ZeroDivisionError, match="of the user"):
        scaled_search(parallelism=2).fit(data)
    main = recorded.only_main_run()
    assert main.info.status == "FAILED"
    assert "RUNNING" not in {child.info.status for child in recorded.children(main)}
    assert "FAILED" in {child.info.status for child in recorded.children(main)}


def test_a_prefix_that_cannot_be_computed_leaves_the_others_alone(
    data, stock, recorded, monkeypatch
):
    """Its candidates go Spark's way, each by itself."""
    failures = iter([True])
    failing(monkeypatch, feature.IDF, lambda stage: next(failures, False))
    trackmllib.autolog(reuse_stages=True)
    assert scaled_search().fit(data).avgMetrics == stock
    assert recorded.only_main_run().info.status == "FINISHED"


@pytest.mark.parametrize("options", [{"reuse_stages": True}, BOTH])
def test_ctrl_c_ends_threads_and_lets_all_go(data, recorded, monkeypatch, options):
    began = threading.Event()

    def slow(stage):
        began.set()
        time.sleep(1.0)
        return False

    failing(monkeypatch, DecisionTreeClassifier, slow)
    trackmllib.autolog(**options)

    def press():
        began.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        scaled_search(parallelism=2).fit(data)
    assert trackmllib.flush(60)
    assert recorded.only_main_run().info.status == "KILLED"
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("trackmllib-folds")])


def test_a_search_without_a_pipeline_goes_sparks_way_and_is_told_so_once(points, lenient, caplog):
    trackmllib.autolog(record=False, reuse_stages=True)
    regression_search().fit(points)
    regression_search().fit(points)
    (said,) = [r.getMessage() for r in caplog.records if r.name == "trackmllib"]
    assert said.startswith("reuse_stages has no effect on a search of pyspark.ml.classification.")


class Repeated(CrossValidator):
    """Runs Spark's loop twice, the second time on another grid."""

    def _fit(self, dataset):
        first = super()._fit(dataset)
        grid = self.getEstimatorParamMaps()
        second = self.copy().setEstimatorParamMaps(grid[::-1]).setNumFolds(3)
        self.seen = (first.avgMetrics, CrossValidator._fit(second, dataset).avgMetrics)
        return first


def test_a_loop_that_runs_twice_has_the_scores_of_each(data, lenient):
    search = scaled_search(kind=Repeated, counts=(0,), parallelism=3)
    trackmllib.autolog(disable=True)
    search._set(numFolds=2).fit(data)
    expected = search.seen
    trackmllib.autolog(record=False, **BOTH)
    search.fit(data)
    assert search.seen == expected
    assert expected[0] != expected[1]


def rows_kept(grid, kind=CrossValidator, **params):
    """A search that scores how many rows a stage marks, with ``grid(stage)`` for each of two
    candidates.
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
    """How many rows the first stage has marked."""

    def _evaluate(self, prediction):
        super()._evaluate(prediction)
        return float(prediction.dataset.filter("kept > 0").count())


class Between(CrossValidator):
    """Runs Spark's loop twice, and ``between(pipeline)`` in between."""

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
def test_each_loop_has_a_plan_of_its_own(data, lenient, options, between):
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


def test_a_stage_that_changes_in_a_fold_counts_from_the_next_fold_on(data, lenient):
    """As in Spark, which copies the pipeline at the beginning of each fold."""

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
    """Draws from numpy's global generator in each fit, and scores what it has drawn."""

    def _fit(self, dataset):
        return super()._fit(dataset)._set(y=float(np.random.random()))


class Drawn(StubEvaluator):
    def _evaluate(self, prediction):
        super()._evaluate(prediction)
        return prediction.y


class DrawingEvaluator(MulticlassClassificationEvaluator):
    def _evaluate(self, dataset):
        return super()._evaluate(dataset) + float(np.random.random())


def parted_grid(stages, last, evaluator):
    """A grid whose candidates share a stage with the one after the next."""
    first = feature.VectorSlicer(inputCol="raw", outputCol="features")
    return CrossValidator(
        estimator=Pipeline(stages=[first, *stages]),
        estimatorParamMaps=[
            {first.indices: [column], last: value} for value in (1, 2) for column in (0, 1)
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
    last = DecisionTreeClassifier()
    return parted_grid([last], last.maxDepth, DrawingEvaluator(metricName="accuracy"))


@pytest.mark.parametrize(
    "search", [drawing_stage, drawing_stage_inside_of_one_of_sparks, drawing_evaluator]
)
def test_code_of_the_users_sees_candidates_in_the_order_of_the_grid(data, lenient, search):
    def averages(**options):
        trackmllib.autolog(record=False, progress=False, **options)
        np.random.seed(1)
        return search().fit(data).avgMetrics

    stock = averages()
    assert len(set(stock)) == 4
    assert any(stage.shared_by for stage in trackmllib.explain(search()).stages)
    assert averages(reuse_stages=True) == stock


@pytest.mark.parametrize("options", [{}, {"on_error": "retry:1"}])
def test_the_first_error_of_the_grid_is_raised(data, lenient, monkeypatch, options):
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
def test_results_come_back_to_the_candidates_they_are_of(data, lenient, parallelism):
    """Also where another candidate of the same thread is computed before."""
    last = DecisionTreeClassifier()
    search = parted_grid([last], last.maxDepth, MulticlassClassificationEvaluator())
    search.setParallelism(parallelism).setCollectSubModels(True)

    def outcome(**options):
        trackmllib.autolog(record=False, progress=False, **options)
        return random_searches.outcome(fit_within(120, search, data))

    assert outcome(reuse_stages=True) == outcome()


@pytest.mark.parametrize("step", ["fit", "transform"])
def test_stop_iteration_behind_a_shared_stage_is_as_in_stock_spark(data, lenient, step):
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
def test_a_second_loop_on_another_grid_has_its_own_scores(data, lenient, parallelism):
    def seen(**options):
        trackmllib.autolog(record=False, progress=False, **options)
        search = scaled_search(kind=Repeated, parallelism=parallelism, numFolds=2)
        grid = search.getEstimatorParamMaps()
        search.setEstimatorParamMaps([grid[at] for at in (0, 2, 1, 3)])
        fit_within(120, search, data)
        return search.seen

    assert seen(reuse_stages=True) == seen()


class NoLoop(CrossValidator):
    def _fit(self, dataset):
        return self.getEstimator().fit(dataset)


def test_a_subclass_with_its_own_loop_is_told_so_once(points, lenient, caplog):
    trackmllib.autolog(record=False, **BOTH)
    search = tree_search(kind=NoLoop)
    search.fit(points)
    (said,) = [r.getMessage() for r in caplog.records if r.name == "trackmllib"]
    assert said.startswith("parallel_folds and reuse_stages have no effect on a NoLoop")
    found = trackmllib.explain(search)
    assert found.stages[0].computed == 1
    assert (
        "NoLoop fits in a way of its own: stages are shared only where it goes over its folds by "
        "Spark's own loop."
    ) in str(found)


@pytest.mark.parametrize(
    ("kind", "acts"), [(CrossValidator, True), (Repeated, True), (NoLoop, False)]
)
def test_only_what_a_switch_does_is_on_the_record(
    data, lenient, session, recorded, monkeypatch, kind, acts
):
    heard = []
    session._listeners = (heard.append,)
    trackmllib.autolog(**BOTH)
    scaled_search(kind=kind, counts=(0,), parallelism=2).fit(data)
    main = recorded.main_runs()[-1]
    assert bool(recorded.json(main, "trackmllib/search.json")["shared_stages"]) is acts
    started = [event for event in heard if type(event).__name__ == "SearchStarted"]
    assert [event.description.parallel_folds for event in started] == [acts] * len(started)


def test_params_given_to_fit_and_data_that_the_user_keeps(data):
    """Both switches leave the user's own cache alone."""
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


def test_what_is_kept_in_a_grid_of_any_order_is_little(data, spark, monkeypatch):
    """Candidates that share something come one after the other: an output at a time is kept, beside
    that of the stage before it and the fold itself.
    """
    most = []
    fit = DecisionTreeClassifier._fit

    def counting(self, dataset):
        most.append(spark.sparkContext._jsc.getPersistentRDDs().size())
        return fit(self, dataset)

    monkeypatch.setattr(DecisionTreeClassifier, "_fit", counting)
    search = scaled_search(counts=(0, 2, 3), depths=(1, 2))
    grid = search.getEstimatorParamMaps()
    search.setEstimatorParamMaps([*grid[::2], *grid[1::2]])
    trackmllib.autolog(record=False, reuse_stages=True)
    search.fit(data)
    assert max(most) == 2 + 2 + 2


def test_a_tuner_inside_of_a_pipeline_and_of_a_tuner(data, recorded):
    """The inner one shares its stages in each cell of the outer one."""
    inner = scaled_search(counts=(0,), numFolds=2, collectSubModels=True)
    indexer = feature.StringIndexer(inputCol="colour", outputCol="index")
    grid = ParamGridBuilder().addGrid(inner.numFolds, [2, 3]).build()
    outer = TrainValidationSplit(
        estimator=Pipeline(stages=[indexer, inner]),
        estimatorParamMaps=grid,
        evaluator=MulticlassClassificationEvaluator(),
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
    assert len(shared) == 1 + 2 + 1  # the outer one, two inside of its cells, and one in the refit


@pytest.mark.parametrize("name", ["persist", "unpersist", "count"])
def test_what_spark_raises_over_data_that_is_kept_is_no_end_of_the_search(
    data, stock, lenient, caplog, monkeypatch, name
):
    """Where data cannot be kept, candidates go Spark's way; where it cannot be let go, they are
    done.
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
    said = {record.getMessage() for record in caplog.records if record.name == "trackmllib"}
    assert said == (
        set()
        if name == "unpersist"
        else {
            "reuse_stages could not keep what comes of StandardScaler (OSError), so each candidate "
            "computes it for itself."
        }
    )


def test_where_later_stages_cannot_be_kept_the_earlier_ones_are_shared(
    data, stock, lenient, fits, caplog, monkeypatch
):
    """And what is said of it is said once, whatever Spark's words are each time."""
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
    said = [record.getMessage() for record in caplog.records if record.name == "trackmllib"]
    assert said == [
        "reuse_stages could not keep what comes of IDF (OSError), so each candidate computes it "
        "for itself."
    ]


def test_spark_says_itself_what_is_wrong_with_a_grid(data, lenient, caplog):
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


def test_no_stages_are_stages_too(data):
    search = scaled_search(counts=(0,))
    pipeline = search.getEstimator()
    scaled = feature.StandardScaler(inputCol="raw", outputCol="features")
    stages = [scaled, DecisionTreeClassifier(maxDepth=1)]
    search.setEstimatorParamMaps([{pipeline.stages: stages}] * 2 + [{}, {}])
    trackmllib.autolog(disable=True)
    expected = search.fit(data).avgMetrics
    trackmllib.autolog(record=False, **BOTH)
    assert search.fit(data).avgMetrics == expected
    found = trackmllib.explain(search.setEstimatorParamMaps([{pipeline.stages: []}] * 2))
    assert found.stages == ()


def test_the_users_own_stages_are_not_written_on(data):
    """A candidate without params of its own is fitted on copies, as Spark fits it."""
    fitted = []

    class Writing(DecisionTreeClassifier):
        def _fit(self, dataset):
            fitted.append(self)
            return super()._fit(dataset)

    search = scaled_search()
    scaler, weighed, _ = search.getEstimator().getStages()
    tree = Writing(maxDepth=1)
    search.getEstimator().setStages([scaler, weighed, tree])
    search.setEstimatorParamMaps([{}, {}, {weighed.minDocFreq: 3}])
    trackmllib.autolog(record=False, reuse_stages=True)
    search.fit(data)
    # The refit of a winner without params is Spark's own, on the stages themselves.
    assert tree not in fitted[:-1]
    assert len(fitted) == 2 * 3 + 1


def test_sub_models_do_not_share_models(data):
    trackmllib.autolog(record=False, reuse_stages=True)
    model = scaled_search(counts=(0,), collectSubModels=True).fit(data)
    one, other = (fold_model.stages[0] for fold_model in model.subModels[0])
    assert one is not other
    one.setOutputCol("elsewhere")
    assert other.getOutputCol() == "scaled"
    assert model.subModels[0][1].transform(data).count() == 48
    assert all("transform" not in vars(one) for fold in model.subModels for one in fold)


def test_models_are_gone_with_the_model_of_the_search(data):
    """And not when Python's collector comes by."""
    trackmllib.autolog(record=False, progress=False, **BOTH)
    gc.collect()
    gc.disable()
    try:
        model = scaled_search(counts=(0,), collectSubModels=True, parallelism=2).fit(data)
        shared, *_ = (weakref.ref(stage) for stage in model.subModels[0][0].stages)
        del model
        until(lambda: shared() is None)
    finally:
        gc.enable()


def test_explain_runs_nothing_and_says_why(data, jobs_run):
    words = feature.Tokenizer(inputCol="text", outputCol="words")
    counts = feature.CountVectorizer(inputCol="words", outputCol="counts")
    idf = feature.IDF(inputCol="counts", outputCol="features")
    last = LogisticRegression()
    grid = ParamGridBuilder().addGrid(last.regParam, [0.0, 0.1, 1.0]).build()
    tuner = CrossValidator(
        estimator=Pipeline(stages=[words, counts, idf, last]),
        estimatorParamMaps=grid,
        evaluator=StubEvaluator(),
    )
    found = trackmllib.explain(tuner)
    assert [(s.stage, s.computed, s.instead_of) for s in found.stages] == [
        ("Tokenizer", 1, 3),
        ("CountVectorizer", 3, 3),
        ("IDF", 3, 3),
        ("LogisticRegression", 3, 3),
    ]
    assert found.stages[0].shared_by == ((0, 1, 2),)
    assert str(found).splitlines() == [
        "reuse_stages on a CrossValidator of 3 candidates and 3 folds",
        "",
        "   stage               computed in each fold    why not less",
        "0  Tokenizer           once instead of 3 times",
        "1  CountVectorizer     3 times                  which of two equally frequent words comes "
        "first depends on which of Spark's tasks ends first",
        "2  IDF                 3 times                  its input is not shared: CountVectorizer, "
        "before it",
        "3  LogisticRegression  3 times                  the last stage that is fitted is each "
        "candidate's own",
        "",
        "Each fold computes 10 stages instead of 12.",
        "",
        "resume: no score can be reused, because of the class StubEvaluator: trackmllib cannot "
        "tell whether your own code has changed since an earlier search; set "
        'autolog(code_version="1"), and change the version whenever you change the code.',
    ]
    parted = trackmllib.explain(scaled_search())
    assert [(s.stage, s.computed, s.reason) for s in parted.stages] == [
        ("StandardScaler", 1, ""),
        ("IDF", 2, "it differs between candidates"),
        (
            "DecisionTreeClassifier",
            4,
            "the last stage that is fitted is each candidate's own",
        ),
    ]
    search = scaled_search(depths=(1,))
    _, idf, _ = search.getEstimator().getStages()
    found = trackmllib.explain(search.setEstimatorParamMaps([{}, {idf.minDocFreq: 0}]))
    assert found.stages[1].reason == (
        "it has a param that only some candidates set, if to the same value"
    )
    assert "no Pipeline" in str(trackmllib.explain(regression_search()))
    with pytest.raises(ValueError, match="no estimator or no estimatorParamMaps"):
        trackmllib.explain(CrossValidator())
    with pytest.raises(TypeError, match="explain\\(\\) takes a CrossValidator"):
        trackmllib.explain(Estimator)
    assert jobs_run() == 0


@pytest.fixture
def jobs_run(spark):
    scheduler = spark.sparkContext._jsc.sc().dagScheduler()
    first = scheduler.numTotalJobs()
    return lambda: scheduler.numTotalJobs() - first


class OwnScaler(feature.StandardScaler):
    """Known to nobody but its author."""


@pytest.mark.parametrize(
    ("kind", "params", "reason"),
    [
        (OwnScaler, {"inputCol": "raw"}, "it is not known to give the same each time"),
        (feature.SQLTransformer, {"statement": "SELECT * FROM __THIS__"}, "its statement may be"),
        (feature.Imputer, {"strategy": "median", "inputCol": "a"}, "approximate quantiles"),
        (feature.RobustScaler, {"inputCol": "raw"}, "approximate quantiles"),
        (feature.Word2Vec, {"inputCol": "text"}, "equally frequent words"),
        (feature.Imputer, {"inputCol": "a"}, None),
        (feature.MinHashLSH, {"inputCol": "raw"}, None),
    ],
)
def test_what_is_not_known_to_be_safe_is_not_shared(spark, kind, params, reason):
    search = scaled_search()
    stage = kind(**params)
    search.getEstimator().setStages([stage, *search.getEstimator().getStages()])
    found = trackmllib.explain(search).stages
    if reason is None:
        assert (found[0].computed, found[0].reason) == (1, "")
    else:
        assert (found[0].computed, found[1].computed) == (4, 4)
        assert reason in found[0].reason
        assert found[1].reason == f"its input is not shared: {kind.__name__}, before it"
