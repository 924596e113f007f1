"""Further metrics and training scores of each fit, besides the tuner's own score."""

from __future__ import annotations

import gc
import math
import time
import weakref

import numpy as np
import pytest
from pyspark.ml import evaluation, tuning
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import (
    BinaryClassificationEvaluator,
    Evaluator,
    MulticlassClassificationEvaluator,
    RegressionEvaluator,
)
from pyspark.ml.linalg import Vectors
from pyspark.ml.regression import LinearRegression
from pyspark.ml.tuning import (
    CrossValidator,
    CrossValidatorModel,
    ParamGridBuilder,
    TrainValidationSplit,
)

import trackmllib
from support.searches import stub_search, tree_search
from support.stubs import SearchingEstimator, StubEstimator, StubEvaluator
from support.waiting import wait_until
from trackmllib.config.metrics import EVALUATOR_METRICS

MULTICLASS = EVALUATOR_METRICS["MulticlassClassificationEvaluator"]


@pytest.fixture(scope="module")
def noisy(spark):
    """Rows of three classes that no model separates, with a fold and a weight."""
    rows = [
        (
            Vectors.dense([(i * 7 % 100) / 100, (i * 13 % 50) / 50]),
            float((i * 7 % 100 > 55) + (i * 31 % 11 == 0)),
            float(i * 7 % 100 > 55) if i % 5 else 1.0,
            1.0 + i % 3,
            i % 2,
        )
        for i in range(200)
    ]
    names = ["features", "label", "binary", "weight", "fold"]
    frame = spark.createDataFrame(rows, names).coalesce(2).cache()
    yield frame
    frame.unpersist(blocking=True)


def search(evaluator, est=None, kind=CrossValidator, **params):
    est = est or LogisticRegression(maxIter=4, labelCol=evaluator.getLabelCol())
    grid = ParamGridBuilder().addGrid(est.regParam, [0.0, 0.3]).build()
    if kind is CrossValidator:
        params = {"numFolds": 2, "foldCol": "fold", **params}
    return kind(estimator=est, estimatorParamMaps=grid, evaluator=evaluator, **params)


def values(evaluator, name, model, noisy, *, train):
    """A table of folds x candidates of what the evaluator itself computes from the models."""
    configured = evaluator.copy({evaluator.metricName: name})
    return [
        [
            configured.evaluate(
                fitted.transform(noisy.filter(f"fold {'!=' if train else '='} {fold}"))
            )
            for fitted in of_fold
        ]
        for fold, of_fold in enumerate(model.subModels)
    ]


@pytest.mark.versions
@pytest.mark.matrix
@pytest.mark.slow
@pytest.mark.parametrize(
    ("evaluator", "params", "est"),
    [
        (
            MulticlassClassificationEvaluator,
            {"weightCol": "weight", "beta": 2.0, "metricLabel": 1.0},
            LogisticRegression,
        ),
        (
            BinaryClassificationEvaluator,
            {"labelCol": "binary", "weightCol": "weight"},
            LogisticRegression,
        ),
        (RegressionEvaluator, {"throughOrigin": True}, LinearRegression),
    ],
)
def test_all_metrics_of_an_evaluator_equal_its_own_to_the_last_bit(
    noisy, recorded, evaluator, params, est
):
    evaluator = evaluator(**params)
    est = est(maxIter=4, labelCol=evaluator.getLabelCol())
    names = EVALUATOR_METRICS[type(evaluator).__name__]
    own = evaluator.getMetricName()
    trackmllib.autolog(metrics=names, train_scores=True)
    model = search(evaluator, est, collectSubModels=True).fit(noisy)
    children = recorded.children(recorded.only_parent_run())
    for name in names:
        for key, train in ((name, False), (f"train_{name}", True)):
            truth = values(evaluator, name, model, noisy, train=train)
            for child, column in zip(children, zip(*truth, strict=True), strict=True):
                assert recorded.history(child, key) == list(enumerate(column))
            averages = np.mean(truth, axis=0), np.std(truth, axis=0)
            found = [
                (child.data.metrics[f"avg_{key}"], child.data.metrics[f"std_{key}"])
                for child in children
            ]
            assert found == list(zip(*averages, strict=True))
    assert [child.data.metrics[f"avg_{own}"] for child in children] == model.avgMetrics
    assert evaluator.getMetricName() == own


@pytest.mark.slow
def test_further_metrics_leave_the_decision_to_the_tuner(noisy, recorded):
    evaluator = MulticlassClassificationEvaluator(metricName="hammingLoss")
    trackmllib.autolog(disable=True)
    stock = search(evaluator).fit(noisy)
    trackmllib.autolog(metrics=["accuracy", "logLoss"], train_scores=True)
    tracked = search(evaluator).fit(noisy)
    assert tracked.avgMetrics == stock.avgMetrics
    assert tracked.stdMetrics == stock.stdMetrics
    assert tracked.bestModel.coefficientMatrix == stock.bestModel.coefficientMatrix


@pytest.mark.versions
@pytest.mark.slow
def test_one_pass_computes_all_metrics_of_an_evaluator(spark, noisy, recorded):
    def jobs_of(group, metrics):
        trackmllib.autolog(metrics=metrics)
        spark.sparkContext.setJobGroup(group, group)
        search(MulticlassClassificationEvaluator()).fit(noisy)
        return len(spark.sparkContext.statusTracker().getJobIdsForGroup(group))

    none = jobs_of("none", ())
    two = jobs_of("two", ["accuracy", "hammingLoss"])
    all_but_log_loss = jobs_of("all", [name for name in MULTICLASS if name != "logLoss"])
    # Two folds and two candidates.
    assert two > none
    assert all_but_log_loss == two
    assert jobs_of("again", ()) == none


@pytest.mark.slow
def test_evaluator_of_another_class_is_computed(noisy, recorded):
    area = BinaryClassificationEvaluator(labelCol="binary", metricName="areaUnderPR")
    own = MulticlassClassificationEvaluator(labelCol="binary")
    trackmllib.autolog(metrics=["accuracy", area], train_scores=True)
    model = search(own, collectSubModels=True).fit(noisy)
    child, _ = recorded.children(recorded.only_parent_run())
    for key, train in (("areaUnderPR", False), ("train_areaUnderPR", True)):
        truth = values(area, "areaUnderPR", model, noisy, train=train)
        assert recorded.history(child, key) == [(0, truth[0][0]), (1, truth[1][0])]
    assert {"accuracy", "train_accuracy", "train_f1"} < set(child.data.metrics)


@pytest.mark.versions
@pytest.mark.slow
def test_nothing_stays_cached(spark, noisy, recorded):
    before = spark.sparkContext._jsc.getPersistentRDDs().size()
    trackmllib.autolog(metrics=["areaUnderROC", "areaUnderPR"], train_scores=True)
    search(BinaryClassificationEvaluator(labelCol="binary")).fit(noisy)
    wait_until(lambda: spark.sparkContext._jsc.getPersistentRDDs().size() <= before)


@pytest.mark.slow
def test_split_logs_one_value_of_each_metric(noisy, recorded):
    trackmllib.autolog(metrics=["accuracy"], train_scores=True)
    model = search(MulticlassClassificationEvaluator(), kind=TrainValidationSplit).fit(noisy)
    child, _ = recorded.children(recorded.only_parent_run())
    for key in ("f1", "accuracy", "train_f1", "train_accuracy"):
        assert len(recorded.history(child, key)) == 1
        assert f"avg_{key}" not in child.data.metrics
    table = trackmllib.results(model).to_pandas()
    assert list(table["avg_accuracy"]) == list(table["fold_0.accuracy"])


def test_tables_have_the_metrics_and_the_rank(points, recorded):
    trackmllib.autolog(metrics=[Half()])
    model = stub_search(eva=StubEvaluator({1.0: 0.5, 2.0: 0.9, 3.0: 0.5}), numFolds=2).fit(points)
    columns = ["fold_0.half", "fold_1.half", "avg_half", "std_half"]
    rows = recorded.results(recorded.only_parent_run())
    assert [[float(row[name]) for name in columns] for row in rows] == [
        [x / 2, x / 2, x / 2, 0.0] for x in (1.0, 2.0, 3.0)
    ]
    assert [row["rank"] for row in rows] == ["2", "1", "2"]
    table = trackmllib.results(model).to_pandas()
    assert table[columns].to_numpy().tolist() == [[x / 2, x / 2, x / 2, 0] for x in (1, 2, 3)]
    assert list(table["rank"]) == [2, 1, 2]


class Half(StubEvaluator):
    """Computes ``x / 2`` as the metric ``half``; ``call`` runs before."""

    def getMetricName(self):
        return "half"

    def _evaluate(self, prediction):
        if self.call is not None:
            self.call(prediction)
        return prediction.x / 2


def test_seconds_of_further_metrics_are_their_own(points, recorded):
    trackmllib.autolog(metrics=[Half(call=lambda _: time.sleep(0.4))], candidate_timeout=0.3)
    stub_search(numFolds=2).fit(points)
    for child in recorded.children(recorded.only_parent_run()):
        assert child.info.status == "FINISHED"
        for (_, of_score), (_, of_metrics) in zip(
            recorded.history(child, "evaluate_seconds"),
            recorded.history(child, "metrics_seconds"),
            strict=True,
        ):
            assert of_score < 0.3
            assert 0.4 <= of_metrics < 5


class Named(StubEvaluator):
    """Computes ``value`` as a metric of this name."""

    def __init__(self, name, value):
        super().__init__()
        self._set(metricName=name)
        self.value = value

    def _evaluate(self, prediction):
        return self.value


class LoopOfItsOwn(CrossValidator):
    """Averages by the median, in its own loop over Spark's tasks."""

    def _fit(self, dataset):
        maps, folds = self.getEstimatorParamMaps(), self._kFold(dataset)
        est, eva = self.getEstimator(), self.getEvaluator()
        scores = np.zeros((len(folds), len(maps)))
        for fold, (train, validation) in enumerate(folds):
            tasks = tuning._parallelFitTasks(est, train, eva, validation, maps, False)
            for task in tasks:
                index, score, _ = task()
                scores[fold, index] = score
        averages = [float(each) for each in np.median(scores, axis=0)]
        best = est.fit(dataset, maps[int(np.argmax(averages))])
        return CrossValidatorModel(best, averages, [], [0.0] * len(maps))


class Raises:
    """Raises in the fits of one candidate."""

    def __init__(self, x, error):
        self.x, self.error = x, error

    def __call__(self, prediction):
        if prediction.x == self.x:
            raise self.error


@pytest.mark.parametrize("options", [{}, {"on_error": "retry:2,skip"}, {"parallel_folds": True}])
def test_failing_metric_is_the_only_one_missing(points, recorded, user_warnings, options):
    metric = Half(call=Raises(2.0, ValueError("no such column")))
    trackmllib.autolog(metrics=[metric], **options)
    model = stub_search(numFolds=2, parallelism=2).fit(points)
    children = recorded.children(recorded.only_parent_run())
    assert [child.info.status for child in children] == ["FINISHED"] * 3
    assert ["avg_half" in child.data.metrics for child in children] == [True, False, True]
    assert [len(recorded.history(child, "half")) for child in children] == [2, 0, 2]
    assert len(model.avgMetrics) == 3
    (warning,) = user_warnings()
    assert "the metric 'half' is missing for some fits (ValueError: no such column)" in warning


def test_failing_training_scores_are_the_only_ones_missing(points, recorded, user_warnings):
    class FailsOnTraining(StubEvaluator):
        def _evaluate(self, prediction):
            if prediction.dataset.count() > 100:
                raise RuntimeError("too many rows")
            return super()._evaluate(prediction)

    few = points.limit(250).filter("fold = 0 OR features IS NOT NULL")
    trackmllib.autolog(train_scores=True)
    stub_search(eva=FailsOnTraining(), numFolds=4, seed=1).fit(few)
    for child in recorded.children(recorded.only_parent_run()):
        assert len(recorded.history(child, "stub")) == 4
        assert "train_stub" not in child.data.metrics
    (warning,) = user_warnings()
    assert "RuntimeError: too many rows" in warning


@pytest.mark.slow
def test_nan_is_logged(points, recorded, user_warnings):
    class Sometimes(Half):
        def _evaluate(self, prediction):
            return math.nan if prediction.x == 1.0 else 0.5

    trackmllib.autolog(metrics=[Sometimes()])
    stub_search(numFolds=2).fit(points)
    first, second, _ = recorded.children(recorded.only_parent_run())
    assert [math.isnan(value) for _, value in recorded.history(first, "half")] == [True, True]
    assert math.isnan(first.data.metrics["avg_half"])
    assert second.data.metrics["avg_half"] == 0.5
    assert not user_warnings()


@pytest.mark.slow
def test_name_that_the_evaluator_lacks_causes_one_warning(noisy, recorded, user_warnings):
    trackmllib.autolog(metrics=["rmse", "accuracy", "silhouette"])
    search(MulticlassClassificationEvaluator()).fit(noisy)
    (warning,) = user_warnings()
    assert "the metrics 'rmse', 'silhouette' are not computed" in warning
    assert "MulticlassClassificationEvaluator has only f1, accuracy" in warning
    assert "weightedRecall" in warning
    child, _ = recorded.children(recorded.only_parent_run())
    assert "avg_accuracy" in child.data.metrics
    assert "rmse" not in child.data.metrics


def test_name_for_an_evaluator_without_metric_names_warns(points, recorded, user_warnings):
    class Plain(Evaluator):
        def _evaluate(self, prediction):
            return prediction.x

    trackmllib.autolog(metrics=["f1"])
    stub_search(eva=Plain(), numFolds=2).fit(points)
    (warning,) = user_warnings()
    assert "Plain has no param metricName. Fix: pass an evaluator instead of a name" in warning


def test_evaluator_of_the_tuner_is_no_further_metric(points, recorded, user_warnings):
    evaluator = StubEvaluator()
    trackmllib.autolog(metrics=[evaluator, evaluator.copy()])
    stub_search(eva=evaluator, numFolds=2).fit(points)
    assert not user_warnings()
    (child, *_) = recorded.children(recorded.only_parent_run())
    assert "metrics_seconds" not in child.data.metrics


@pytest.mark.parametrize(
    "name", ["stub@1", "avg_stub_1", "train_stub@1", "std_train_stub_1", "fit_seconds", "spark.x"]
)
def test_metric_with_the_key_of_another_is_left_out(points, recorded, user_warnings, name):
    trackmllib.autolog(metrics=[Named(name, 7.0)], train_scores=True)
    model = stub_search(eva=Named("stub@1", 0.5), numFolds=2).fit(points)
    (warning,) = user_warnings()
    assert f"the metric {name!r} is not computed: another metric has its keys" in warning
    for child, average in zip(
        recorded.children(recorded.only_parent_run()), model.avgMetrics, strict=True
    ):
        assert child.data.metrics["avg_stub_1"] == average == 0.5
        assert 7.0 not in child.data.metrics.values()


def test_evaluator_that_cannot_be_copied_costs_only_its_names(points, recorded, user_warnings):
    class Fixed(StubEvaluator):
        def copy(self, extra=None):
            raise RuntimeError("no copies")

    trackmllib.autolog(metrics=["accuracy", Half()])
    stub_search(eva=Fixed(), numFolds=2).fit(points)
    (warning,) = user_warnings()
    assert "the metric 'accuracy' is missing for some fits (RuntimeError: no copies)" in warning
    children = recorded.children(recorded.only_parent_run())
    assert [child.data.metrics["avg_half"] for child in children] == [0.5, 1.0, 1.5]


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["f11"], r"no evaluator of Spark has the metric 'f11' \(did you mean 'f1'\?\); valid are"),
        (["f1", "f1"], "'f1' is given twice"),
        ([RegressionEvaluator], r"RegressionEvaluator is a class; pass an evaluator"),
        ([3], "3 is neither a name nor an evaluator"),
    ],
)
def test_invalid_metrics_raise_at_the_call(metrics, message):
    with pytest.raises(ValueError, match=message):
        trackmllib.autolog(metrics=metrics)


@pytest.mark.versions
def test_names_are_those_of_spark():
    for name, metrics in EVALUATOR_METRICS.items():
        documented = getattr(evaluation, name).metricName.doc
        assert [metric for metric in metrics if metric not in documented] == []
        if "(" in documented and "|" in documented:
            listed = documented.partition("(")[2].rstrip(")").split("|")
            assert sorted(each.strip() for each in listed) == sorted(metrics)


@pytest.mark.slow
def test_reused_score_brings_its_metrics(noisy, resuming):
    options = {"resume": True, "progress": False}
    trackmllib.autolog(**options, metrics=["accuracy", "logLoss"], train_scores=True)
    first = trackmllib.results(search(MulticlassClassificationEvaluator()).fit(noisy)).to_pandas()
    trackmllib.autolog(**options, metrics=["accuracy"], train_scores=True)
    second = trackmllib.results(search(MulticlassClassificationEvaluator()).fit(noisy)).to_pandas()
    assert list(second["resumed"]) == [2, 2]
    columns = [name for name in second if "accuracy" in name or "f1" in name]
    assert len(columns) == 12
    assert second[columns].equals(first[columns])
    assert not [name for name in second if "logLoss" in name]


@pytest.mark.slow
def test_score_without_a_requested_metric_is_not_reused(noisy, resuming, user_warnings):
    options = {"resume": True, "progress": False}
    weighted = BinaryClassificationEvaluator(labelCol="binary", weightCol="weight")
    plain = BinaryClassificationEvaluator(labelCol="binary")
    own = MulticlassClassificationEvaluator(labelCol="binary")
    trackmllib.autolog(**options, metrics=[plain])
    search(own).fit(noisy)
    trackmllib.autolog(**options, metrics=[weighted])
    table = trackmllib.results(search(own).fit(noisy)).to_pandas()
    assert "resumed" not in table
    (warning,) = user_warnings()
    assert "the most similar recorded search differs in the further metrics" in warning


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"reuse_stages": True},
        {"parallel_folds": True},
        {"reuse_stages": True, "parallel_folds": True},
    ],
)
def test_faster_searches_have_the_same_metrics(points, recorded, options):
    def table(**options):
        trackmllib.autolog(metrics=["accuracy", "logLoss"], train_scores=True, **options)
        model = tree_search(parallelism=2, foldCol="fold").fit(points)
        found = trackmllib.results(model).to_pandas()
        return found[[name for name in found if name.startswith(("fold_", "avg_", "std_"))]]

    stock = table()
    assert len(stock.columns) == 2 + 5 * 4
    assert table(**options).equals(stock)


@pytest.mark.slow
def test_nested_search_has_the_metrics(points, recorded):
    trackmllib.autolog(metrics=[Half()])
    inner = stub_search(xs=(5.0, 6.0), numFolds=2)
    outer = stub_search(est=SearchingEstimator(inner), xs=(1.0,), numFolds=2)
    outer.fit(points)
    child_runs = [run for run in recorded.runs() if "trackmllib.candidate" in run.data.tags]
    assert len(child_runs) > 2
    assert all("avg_half" in run.data.metrics for run in child_runs)


def test_late_child_runs_have_the_metrics(points, recorded):
    trackmllib.autolog(metrics=[Half()], children="best:1", train_scores=True)
    stub_search(numFolds=2).fit(points)
    (child,) = recorded.children(recorded.only_parent_run())
    assert [value for _, value in recorded.history(child, "half")] == [1.5, 1.5]
    assert child.data.metrics["avg_train_half"] == 1.5


@pytest.mark.versions
def test_loop_of_a_subclass_has_averages(points, recorded):
    trackmllib.autolog(metrics=[Half()])
    stub_search(kind=LoopOfItsOwn, numFolds=2).fit(points)
    children = recorded.children(recorded.only_parent_run())
    assert [child.data.metrics["avg_half"] for child in children] == [0.5, 1.0, 1.5]
    assert [child.data.metrics["std_half"] for child in children] == [0.0] * 3


def test_models_and_data_are_not_kept(points, recorded):
    models = []

    class Keeps(StubEstimator):
        def _fit(self, dataset):
            model = super()._fit(dataset)
            models.append(weakref.ref(model))
            return model

    trackmllib.autolog(metrics=[Half()], train_scores=True)
    stub_search(est=Keeps(), numFolds=2).fit(points)
    gc.collect()
    # The refit's model belongs to the caller, who has dropped it.
    assert [model for model in models if model() is not None] == []
