"""``nested_fits`` fits the largest candidate of a group once, with stock Spark's results."""

from __future__ import annotations

import threading
import time

import pytest
from pyspark.ml import Pipeline, classification, feature, recommendation
from pyspark.ml.evaluation import MulticlassClassificationEvaluator, RegressionEvaluator
from pyspark.ml.tuning import ParamGridBuilder, TrainValidationSplit

import trackmllib
from support.nested_searches import component_grid, each_kind, numbers, search, tree_grid
from support.waiting import wait_until
from trackmllib.spark.middleware.nested_fits import java, middleware
from trackmllib.spark.middleware.nested_fits.plan import NestedPlan
from trackmllib.spark.middleware.nested_fits.rules import RULES
from trackmllib.spark.middleware.stage_sharing.plan import plan_without_segments

pytestmark = [pytest.mark.usefixtures("nothing_stays_cached"), pytest.mark.versions]

KINDS = sorted(kind.__name__ for kind in RULES if kind is not recommendation.ALS)
FITTED = (
    classification.DecisionTreeClassifier,
    classification.LogisticRegression,
    feature.PCA,
    feature.StandardScaler,
)


@pytest.fixture
def fitted(monkeypatch):
    """Fitted estimators, as (class name, ``maxDepth`` or ``k``, thread)."""
    found = []
    for kind in FITTED:
        fit = kind._fit

        def counting(self, dataset, fit=fit):
            size = next((self.getOrDefault(p) for p in ("maxDepth", "k") if self.hasParam(p)), None)
            found.append((type(self).__name__, size, threading.get_ident()))
            return fit(self, dataset)

        monkeypatch.setattr(kind, "_fit", counting)
    return found


def stock(tuner, data):
    """The numbers of a search on stock Spark."""
    trackmllib.autolog(disable=True)
    return numbers(tuner.fit(data), data)


def nested(tuner, data, **options):
    trackmllib.autolog(record=False, **{"nested_fits": True, **options})
    return numbers(tuner.fit(data), data)


def sizes(fitted, kind="DecisionTreeClassifier"):
    return [size for name, size, _ in fitted if name == kind]


@pytest.mark.slow
@pytest.mark.parametrize("collects", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_results_equal_stock_spark(data, name, collects):
    tuner = each_kind()[name].setCollectSubModels(collects)
    assert nested(tuner, data) == stock(tuner, data)
    assert nested(tuner, data, reuse_stages=True) == stock(tuner, data)


@pytest.mark.slow
def test_cold_start_strategies_of_als_share_a_fit(spark):
    ratings = spark.createDataFrame(
        [(a, b, float(a * b % 5)) for a in range(6) for b in range(6) if (a + b) % 3],
        ["user", "item", "rating"],
    )
    als = recommendation.ALS(userCol="user", itemCol="item", rank=2, maxIter=2, seed=1)
    grid = ParamGridBuilder().addGrid(als.coldStartStrategy, ["drop", "nan"]).build()
    evaluator = RegressionEvaluator(labelCol="rating")
    tuner = search(als, grid, evaluator)
    assert nested(tuner, ratings)["averages"] == stock(tuner, ratings)["averages"]
    # Spark's ALS keeps the factors of its models cached until Java's garbage collector runs.
    for factors in spark.sparkContext._jsc.getPersistentRDDs().values():
        factors.unpersist()


def test_each_rule_has_a_search():
    assert {kind.__name__ for kind in RULES} == {*KINDS, "ALS"}


@pytest.mark.slow
@pytest.mark.parametrize("parallelism", [1, 3])
def test_largest_tree_is_fitted_once_per_fold(data, fitted, parallelism):
    tuner = tree_grid(parallelism=parallelism)
    expected = stock(tuner, data)
    fitted.clear()
    assert nested(tuner, data) == expected
    # For two numbers of bins in two folds; then the refit.
    assert sizes(fitted)[:-1] == [4] * 4
    assert len(fitted) == 5


@pytest.mark.slow
@pytest.mark.parametrize("parallelism", [1, 3])
@pytest.mark.parametrize("options", [{}, {"reuse_stages": True}, {"accelerate": True}])
def test_two_stages_of_a_pipeline_are_nested(data, fitted, options, parallelism):
    tuner = component_grid(parallelism=parallelism)
    expected = stock(tuner, data)
    fitted.clear()
    assert nested(tuner, data, **options) == expected
    assert sizes(fitted, "PCA")[:2] == [3, 3]
    assert len(sizes(fitted, "PCA")) == 3
    # A tree for each k in each fold, and the refit.
    assert len(sizes(fitted)) == 2 * 2 + 1


@pytest.mark.slow
def test_folds_in_one_pool(data, fitted):
    tuner = tree_grid(parallelism=3)
    expected = stock(tuner, data)
    fitted.clear()
    assert nested(tuner, data, parallel_folds=True) == expected
    assert sizes(fitted)[:-1] == [4] * 4


@pytest.mark.slow
def test_train_validation_split_fits_largest_once(data, fitted):
    tree = classification.DecisionTreeClassifier(featuresCol="raw")
    tuner = TrainValidationSplit(
        estimator=tree,
        estimatorParamMaps=ParamGridBuilder().addGrid(tree.maxDepth, [1, 3]).build(),
        evaluator=MulticlassClassificationEvaluator(metricName="f1"),
        seed=1,
    )
    trackmllib.autolog(disable=True)
    expected = tuner.fit(data).validationMetrics
    fitted.clear()
    trackmllib.autolog(record=False, nested_fits=True)
    assert tuner.fit(data).validationMetrics == expected
    assert len(fitted) == 2


@pytest.mark.slow
def test_derived_candidates_are_recorded(data, recorded, fitted):
    trackmllib.autolog(nested_fits=True)
    tree_grid().fit(data)
    parent = recorded.only_parent_run()
    record = recorded.json(parent, "trackmllib/search.json")
    assert record["nested_fits"] == [
        {"stage": "DecisionTreeClassifier", "candidates": [0, 2, 4]},
        {"stage": "DecisionTreeClassifier", "candidates": [1, 3, 5]},
    ]
    children = recorded.children(parent)
    tags = {
        run.data.tags["trackmllib.candidate"]: run.data.tags.get("trackmllib.derived_from")
        for run in children
    }
    assert tags == {"0": "4", "1": "5", "2": "4", "3": "5", "4": None, "5": None}
    outcome = recorded.json(parent, "trackmllib/outcome.json")
    assert [
        [fit.get("derived_from") for fit in candidate["fits"]]
        for candidate in outcome["candidates"]
    ] == [[4, 4], [5, 5], [4, 4], [5, 5], [None, None], [None, None]]
    # The seconds of four shared fits are part of no child run.
    history = recorded.history(parent, "shared_seconds")
    assert [step for step, _ in history] == [1, 2, 3, 4]
    longest = max(run.data.metrics["fit_seconds"] for run in children)
    assert longest < parent.data.metrics["shared_seconds"]


class CountingEvaluator(MulticlassClassificationEvaluator):
    """User code whose score depends on the number of its calls."""

    calls = 0

    def _evaluate(self, dataset):
        type(self).calls += 1
        return super()._evaluate(dataset) + type(self).calls / 1000


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"accelerate": True}])
def test_user_code_sees_candidates_in_grid_order(data, fitted, options):
    tuner = tree_grid().setEvaluator(CountingEvaluator(metricName="f1"))
    CountingEvaluator.calls = 0
    expected = stock(tuner, data)
    fitted.clear()
    CountingEvaluator.calls = 0
    assert nested(tuner, data, **options) == expected
    assert sizes(fitted)[:-1] == [4] * 4


class OwnTree(classification.DecisionTreeClassifier):
    """A subclass, which may fit anything."""


@pytest.mark.slow
def test_subclass_is_fitted_for_each_candidate(data, user_warnings, fitted):
    tree = OwnTree(featuresCol="raw")
    tuner = search(tree, ParamGridBuilder().addGrid(tree.maxDepth, [1, 3]).build())
    trackmllib.autolog(record=False, nested_fits=True)
    tuner.fit(data)
    assert len(sizes(fitted, "OwnTree")) == 2 * 2 + 1
    assert [line for line in user_warnings() if "nested_fits has no effect" in line] == [
        "nested_fits has no effect on a search of test_nested_fits.OwnTree: no candidate's model "
        "contains that of another. Each candidate is fitted separately."
    ]


@pytest.mark.slow
def test_sub_models_with_summary_are_fitted_separately(data, fitted):
    logistic = classification.LogisticRegression(featuresCol="raw", maxIter=2)
    grid = ParamGridBuilder().addGrid(logistic.threshold, [0.2, 0.8]).build()
    tuner = search(logistic, grid, collectSubModels=True)
    trackmllib.autolog(record=False, nested_fits=True)
    model = tuner.fit(data)
    assert all(each.hasSummary for fold in model.subModels for each in fold)
    assert "training summary" in str(trackmllib.explain(tuner))
    fitted.clear()
    tuner.setCollectSubModels(False).fit(data)
    assert len(fitted) == 2 + 1


@pytest.mark.slow
@pytest.mark.parametrize("depths", [(1, 40, 2), (40, 1)])
def test_errors_are_those_of_stock_spark(data, depths):
    tree = classification.DecisionTreeClassifier(featuresCol="raw")
    tuner = search(tree, [{tree.maxDepth: depth} for depth in depths])
    trackmllib.autolog(disable=True)
    with pytest.raises(Exception, match="40") as expected:
        tuner.fit(data)
    trackmllib.autolog(record=False, nested_fits=True)
    with pytest.raises(type(expected.value), match="40"):
        tuner.fit(data)


@pytest.mark.slow
def test_invalid_param_of_a_derived_candidate(data):
    scaler = feature.MinMaxScaler(inputCol="raw", outputCol="out")
    maps = [{scaler.max: 2.0}, {scaler.max: -1.0}, {scaler.max: 3.0}]
    last = classification.LogisticRegression(featuresCol="out", maxIter=2)
    tuner = search(Pipeline(stages=[scaler, last]), maps)
    for options in ({"disable": True}, {"record": False, "nested_fits": True}):
        trackmllib.autolog(**options)
        with pytest.raises(Exception, match="min"):
            tuner.fit(data)


@pytest.mark.slow
def test_candidates_are_fitted_separately_if_the_largest_fails(data, fitted):
    tree = classification.DecisionTreeClassifier(featuresCol="raw")
    tuner = search(tree, [{tree.maxDepth: depth} for depth in (1, 2, 40)])
    trackmllib.autolog(record=False, nested_fits=True, on_error="skip")
    model = tuner.fit(data)
    good = search(tree, [{tree.maxDepth: depth} for depth in (1, 2)])
    assert numbers(model, data)["averages"][:2] == stock(good, data)["averages"]
    # Each by itself in the first fold. In the second one, the larger of the other two.
    assert sizes(fitted)[:-1].count(1) + sizes(fitted)[:-1].count(2) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("order", [(3, 1, 2), (1, 2, 3)])
def test_timeout_of_largest_candidate_fails_no_other(data, monkeypatch, order):
    fit = classification.DecisionTreeClassifier._fit

    def slow(self, dataset):
        if self.getMaxDepth() == 3:
            time.sleep(3)
        return fit(self, dataset)

    tree = classification.DecisionTreeClassifier(featuresCol="raw")
    tuner = search(tree, [{tree.maxDepth: depth} for depth in order])
    expected = stock(tuner, data)
    monkeypatch.setattr(classification.DecisionTreeClassifier, "_fit", slow)
    trackmllib.autolog(record=False, nested_fits=True, on_error="skip", candidate_timeout=2.0)
    model = tuner.fit(data)
    late = order.index(3)
    averages = [float(value).hex() for value in model.avgMetrics]
    assert averages[late] == float("-inf").hex()
    others = [at for at in range(3) if at != late]
    assert [averages[at] for at in others] == [expected["averages"][at] for at in others]


@pytest.mark.slow
def test_failed_derivation_warns_once(data, user_warnings, monkeypatch, fitted):
    tuner = tree_grid()
    expected = stock(tuner, data)
    fitted.clear()

    def broken(self, *arguments):
        raise RuntimeError("no such constructor")

    monkeypatch.setattr(type(RULES[classification.DecisionTreeClassifier]), "derived_java", broken)
    assert nested(tuner, data) == expected
    assert [line for line in user_warnings() if "nested_fits" in line] == [
        "nested_fits cannot derive a model of DecisionTreeClassifier from that of a larger "
        "candidate (RuntimeError: no such constructor); each candidate is fitted separately."
    ]
    # Fits of the largest candidates without pruning cannot stand for their own candidates.
    unpruned = 4 if classification.DecisionTreeClassifier().hasParam("pruneTree") else 0
    assert len(fitted) == unpruned + 12 + 1


@pytest.mark.slow
def test_missing_java_class_means_separate_fits(data, user_warnings, monkeypatch, fitted):
    source = "package trackmllib; public class NestedModels { NoSuchClass tree; }"
    monkeypatch.setattr(java, "_compiled", None)
    monkeypatch.setattr(java, "source", lambda: source)
    tuner = tree_grid()
    expected = stock(tuner, data)
    fitted.clear()
    assert nested(tuner, data) == expected
    (line,) = [line for line in user_warnings() if "nested_fits" in line]
    assert line.startswith("nested_fits cannot derive models in the JVM, because its Java class ")
    assert "NoSuchClass" in line
    assert len(fitted) == 12 + 1
    java._compiled = None


@pytest.mark.slow
def test_resumed_search_fits_largest_missing_candidate(resuming, data, fitted):
    tree = classification.DecisionTreeClassifier(featuresCol="raw")

    def tuner(*depths):
        return search(tree, [{tree.maxDepth: depth} for depth in depths])

    tuner(4).fit(data)
    expected = stock(tuner(1, 4, 2), data)
    fitted.clear()
    trackmllib.autolog(resume=True, progress=False, nested_fits=True)
    model = tuner(1, 4, 2).fit(data)
    assert numbers(model, data) == expected
    assert sizes(fitted)[:-1] == [2, 2]


@pytest.mark.slow
def test_false_option_overrides_accelerate(data, fitted):
    trackmllib.autolog(record=False, accelerate=True, nested_fits=False)
    tree_grid().fit(data)
    assert len(fitted) == 12 + 1
    assert "Options on: reuse_stages, parallel_folds." in str(trackmllib.explain(tree_grid()))


@pytest.mark.slow
def test_accelerate_does_not_warn_about_options_without_effect(data, user_warnings, fitted):
    logistic = classification.LogisticRegression(featuresCol="raw", maxIter=2)
    grid = ParamGridBuilder().addGrid(logistic.regParam, [0.1, 0.2]).build()
    before = user_warnings()
    trackmllib.autolog(record=False, accelerate=True)
    search(logistic, grid, CountingEvaluator(metricName="f1"), parallelism=2).fit(data)
    assert user_warnings() == before


@pytest.mark.slow
def test_error_ends_waiting_fits(data, monkeypatch):
    """Threads that wait for the largest fit end when the search does."""
    tree = classification.DecisionTreeClassifier(featuresCol="raw")
    tuner = search(tree, [{tree.maxDepth: depth} for depth in (1, 2, 3)], parallelism=3)

    def failing(self, dataset):
        time.sleep(0.5)
        raise ValueError("no disk")

    monkeypatch.setattr(classification.DecisionTreeClassifier, "_fit", failing)
    trackmllib.autolog(record=False, nested_fits=True)
    with pytest.raises(ValueError, match="no disk"):
        tuner.fit(data)
    wait_until(
        lambda: not [each for each in threading.enumerate() if "ThreadPool" in each.name], 30
    )


def test_explain_names_the_groups():
    text = str(trackmllib.explain(tree_grid()))
    assert "\n".join(
        [
            "nested_fits",
            "",
            "   stage                            candidates  fitted per fold  why separately",
            "0  DecisionTreeClassifier maxDepth  0, 2, 4     candidate 4",
            "0  DecisionTreeClassifier maxDepth  1, 3, 5     candidate 5",
            "",
            "Each fold fits 2 of these 6 models.",
        ]
    ) in "\n".join(line.rstrip() for line in text.splitlines())
    logistic = classification.LogisticRegression()
    grid = ParamGridBuilder().addGrid(logistic.regParam, [0.1, 0.2]).build()
    assert (
        "nested_fits on a LogisticRegression: no candidate's model contains that of another."
        in str(trackmllib.explain(search(logistic, grid)))
    )


def test_explain_says_why_fits_are_separate():
    boosted = classification.GBTClassifier(validationIndicatorCol="held")
    grid = ParamGridBuilder().addGrid(boosted.maxIter, [2, 4]).build()
    (found,) = trackmllib.explain(search(boosted, grid)).nested_fits
    assert (found.largest, found.candidates) == (None, (0, 1))
    assert found.reason == (
        "with a validation column, later iterations may decide which trees Spark keeps"
    )


def test_explain_reads_the_conf(spark):
    trackmllib.autolog(record=False, accelerate=True)
    spark.conf.set("spark.trackmllib.nestedFits", "false")
    try:
        found = trackmllib.explain(tree_grid())
    finally:
        spark.conf.unset("spark.trackmllib.nestedFits")
    assert found.enabled == ("reuse_stages", "parallel_folds")


class FailingOnce(MulticlassClassificationEvaluator):
    """Its second call fails."""

    calls = 0

    def _evaluate(self, dataset):
        type(self).calls += 1
        if type(self).calls == 2:
            raise ValueError("transient")
        return super()._evaluate(dataset)


@pytest.mark.slow
def test_retried_fit_is_separate_and_recorded_so(data, recorded, fitted):
    tree = classification.DecisionTreeClassifier(featuresCol="raw")
    FailingOnce.calls = 0
    tuner = search(tree, [{tree.maxDepth: depth} for depth in (4, 2)], FailingOnce(metricName="f1"))
    trackmllib.autolog(nested_fits=True, on_error="retry:1")
    tuner.fit(data)
    outcome = recorded.json(recorded.only_parent_run(), "trackmllib/outcome.json")
    derived = [
        [fit.get("derived_from") for fit in candidate["fits"]]
        for candidate in outcome["candidates"]
    ]
    assert derived == [[None, None], [None, 0]]
    assert sizes(fitted)[:-1] == [4, 2, 4]


@pytest.mark.slow
def test_failed_fit_of_largest_candidate_counts_for_no_other(data, recorded, monkeypatch):
    fit = classification.DecisionTreeClassifier._fit

    def failing(self, dataset):
        if self.getMaxDepth() == 4:
            time.sleep(5)
            raise RuntimeError("boom")
        return fit(self, dataset)

    monkeypatch.setattr(classification.DecisionTreeClassifier, "_fit", failing)
    tree = classification.DecisionTreeClassifier(featuresCol="raw")
    tuner = search(
        tree,
        [{tree.maxDepth: depth} for depth in (1, 4)],
        # User code, so that candidates come in the order of the grid.
        CountingEvaluator(metricName="f1"),
    )
    trackmllib.autolog(nested_fits=True, on_error="skip")
    tuner.fit(data)
    outcome = recorded.json(recorded.only_parent_run(), "trackmllib/outcome.json")
    assert all(fit["fit_seconds"] < 5 for fit in outcome["candidates"][0]["fits"])


@pytest.mark.parametrize(
    ("order", "threads", "expected"),
    [
        ([0, 1, 2, 3, 4, 5], 1, [4, 0, 2, 5, 1, 3]),
        ([0, 1, 2, 3, 4, 5], 2, [4, 5, 0, 1, 2, 3]),
        ([5, 4, 3, 2, 1, 0], 1, [5, 3, 1, 4, 2, 0]),
    ],
)
def test_largest_candidates_come_first(order, threads, expected):
    tuner = tree_grid()
    plan = NestedPlan(
        plan_without_segments(tuner.getEstimator(), tuner.getEstimatorParamMaps()),
        lambda rule: None,
    )
    assert middleware.largest_first(order, plan.groups, threads) == expected
