"""Values of every kind in grids and scores are recorded as Spark got them."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
from pyspark.ml import Pipeline
from pyspark.ml.classification import (
    DecisionTreeClassifier,
    LogisticRegression,
    OneVsRest,
)
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import StandardScaler
from pyspark.ml.linalg import DenseMatrix, SparseVector, Vectors
from pyspark.ml.param import Param, Params
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder, TrainValidationSplit

import trackmllib
from support.searches import stub_search, stub_split
from support.stubs import StubEstimator, StubEvaluator

pytestmark = [pytest.mark.postgres, pytest.mark.file_store]


def recorded_values(store, points, values, score=1.0):
    """Return the param x and the name of each child run, and the grid in search.json."""
    est = StubEstimator()
    maps = [{est.x: value} for value in values]
    evaluator = StubEvaluator()
    evaluator._evaluate = lambda prediction: score
    TrainValidationSplit(estimator=est, estimatorParamMaps=maps, evaluator=evaluator).fit(points)
    parent = store.only_parent_run()
    children = store.children(parent)
    candidates = store.json(parent, "trackmllib/search.json")["grid"]["candidates"]
    return (
        [c.data.params["x"] for c in children],
        [c.info.run_name for c in children],
        [c["params"]["x"] for c in candidates],
    )


PLAIN = [
    (0.1, "0.1", 0.1),
    (1e-12, "1e-12", 1e-12),
    (7, "7", 7),
    (True, "True", True),
    ("text", "text", "text"),
    (None, "None", None),
    ([1, 2.5], "[1, 2.5]", [1, 2.5]),
    (np.float32(0.5), "0.5", 0.5),
    (np.int64(3), "3", 3),
    (float("nan"), "nan", "nan"),
    (float("inf"), "inf", "inf"),
    ({"a": 1}, "{'a': 1}", {"a": 1}),
    (Vectors.dense([1.0, 2.0]), "[1.0,2.0]", {"type": "DenseVector", "values": [1.0, 2.0]}),
    (
        SparseVector(9, [2], [4.0]),
        "(9,[2],[4.0])",
        {"type": "SparseVector", "size": 9, "indices": [2], "values": [4.0]},
    ),
    (
        DenseMatrix(2, 2, [1.0, 2.0, 3.0, 4.0]),
        str(DenseMatrix(2, 2, [1.0, 2.0, 3.0, 4.0])),
        {"type": "DenseMatrix", "values": [[1.0, 3.0], [2.0, 4.0]]},
    ),
]


def test_plain_values_vectors_and_matrices(points, any_store):
    trackmllib.autolog()
    params, names, data = recorded_values(any_store, points, [value for value, _, _ in PLAIN])
    assert params == [text for _, text, _ in PLAIN]
    assert data == [plain for _, _, plain in PLAIN]
    assert names[0] == "x=0.1"


class Unprintable:
    """A value whose ``repr()`` fails."""

    def __repr__(self):
        raise RuntimeError("no")


def test_odd_values(points, recorded):
    long_text = "word " * 3000
    params, names, data = recorded_values(
        recorded, points, [long_text, Unprintable(), "", "ümlaut ✓", "two\nlines"]
    )
    assert len(params[0]) == 6000
    assert params[0].endswith("…")
    assert data[0] == long_text
    assert len(names[0]) < 60
    assert params[1] == "<Unprintable>"
    assert params[2:] == ["", "ümlaut ✓", "two\nlines"]


class Callback:
    """A value whose text is its class and address."""


def test_record_has_no_addresses_of_objects(points, recorded):
    name = f"<{__name__}.Callback object>"
    params, names, data = recorded_values(
        recorded, points, [Callback(), [Callback()], {"f": Callback()}, len, "<a at 0xfe>"]
    )
    assert params == [
        name,
        f"[{name}]",
        f"{{'f': {name}}}",
        "<built-in function len>",
        "<a at 0xfe>",
    ]
    assert data == [name, [name], {"f": name}, "<built-in function len>", "<a at 0xfe>"]
    assert names[0] == f"x={name}"


class OddlyNamed(StubEstimator):
    """A component with a param name that MLflow rejects."""

    odd = Param(Params._dummy(), "weird:na(me)%", "")


def test_rejected_names_are_sanitized_alike_everywhere(points, recorded):
    est = OddlyNamed()
    TrainValidationSplit(
        estimator=est, estimatorParamMaps=[{est.odd: 1}], evaluator=StubEvaluator()
    ).fit(points)
    parent = recorded.only_parent_run()
    (child,) = recorded.children(parent)
    assert child.data.params == {"weird_na_me__": "1"}
    assert child.info.run_name == "weird:na(me)%=1"
    assert parent.data.params["best_weird_na_me__"] == "1"
    assert recorded.json(parent, "trackmllib/best_params.json") == {"weird_na_me__": 1}
    assert "params.weird_na_me__" in recorded.results(parent)[0]


def test_rejected_metric_name_is_sanitized(points, recorded):
    evaluator = StubEvaluator()
    evaluator._set(metricName="f1@10%")
    stub_search(eva=evaluator, numFolds=2).fit(points)
    parent = recorded.only_parent_run()
    assert parent.data.params["metric"] == "f1@10%"
    assert "avg_f1_10_" in recorded.children(parent)[0].data.metrics
    assert "best_avg_f1_10_" in parent.data.metrics


@pytest.mark.slow
def test_stages_as_values_are_shown_by_class(points, recorded):
    pipeline = Pipeline(stages=[])
    scaler = StandardScaler(inputCol="features", outputCol="scaled")
    tree = DecisionTreeClassifier(maxDepth=2, featuresCol="scaled")
    grid = (
        ParamGridBuilder()
        .addGrid(pipeline.stages, [[LogisticRegression()], [scaler, tree]])
        .build()
    )
    TrainValidationSplit(
        estimator=pipeline,
        estimatorParamMaps=grid,
        evaluator=MulticlassClassificationEvaluator(),
    ).fit(points)
    parent = recorded.only_parent_run()
    children = recorded.children(parent)
    assert children[0].data.params == {"stages": "LogisticRegression"}
    assert children[0].info.run_name == "stages=LogisticRegression"
    stages = children[1].data.params["stages"]
    assert stages.startswith("StandardScaler(inputCol=features, outputCol=scaled), ")
    assert "DecisionTreeClassifier(" in stages
    assert "maxDepth=2" in stages
    assert len(children[1].info.run_name) < 60
    data = recorded.json(parent, "trackmllib/search.json")["grid"]["candidates"][1]["params"]
    assert data["stages"][1]["params"]["maxDepth"] == 2


@pytest.mark.slow
def test_params_of_nested_stages_have_their_owner(points, recorded):
    pipeline = Pipeline(stages=[])
    regression = LogisticRegression(maxIter=1)
    maps = [
        {pipeline.stages: [regression], regression.regParam: 0.5},
        {pipeline.stages: [DecisionTreeClassifier(maxDepth=1)]},
    ]
    TrainValidationSplit(
        estimator=pipeline,
        estimatorParamMaps=maps,
        evaluator=MulticlassClassificationEvaluator(),
    ).fit(points)
    parent = recorded.only_parent_run()
    children = recorded.children(parent)
    assert children[0].data.params["regParam"] == "0.5"
    assert "regParam" not in children[1].data.params
    owners = recorded.json(parent, "trackmllib/search.json")["grid"]["params"]
    assert owners[1]["stage"] == regression.uid
    assert owners[1]["stage_class"] == "LogisticRegression"


def test_estimators_and_evaluators_as_values(points, recorded):
    params, _, data = recorded_values(
        recorded,
        points,
        [
            LogisticRegression(regParam=0.25),
            OneVsRest(classifier=LogisticRegression()),
            MulticlassClassificationEvaluator(metricName="accuracy"),
            Pipeline(stages=[StandardScaler(), DecisionTreeClassifier()]),
        ],
    )
    assert params == [
        "LogisticRegression(regParam=0.25)",
        "OneVsRest(classifier=LogisticRegression)",
        "MulticlassClassificationEvaluator(metricName=accuracy)",
        "Pipeline(StandardScaler, DecisionTreeClassifier)",
    ]
    assert data[0]["params"]["regParam"] == 0.25


def test_param_maps_with_different_keys(points, recorded):
    est = StubEstimator()
    maps = [{est.x: 1.0}, {est.y: 2.0}, {}]
    CrossValidator(
        estimator=est, estimatorParamMaps=maps, evaluator=StubEvaluator(), numFolds=2
    ).fit(points)
    parent = recorded.only_parent_run()
    children = recorded.children(parent)
    assert [c.data.params for c in children] == [{"x": "1.0"}, {"y": "2.0"}, {}]
    assert [c.info.run_name for c in children] == ["x=1.0", "y=2.0", "default params"]
    rows = recorded.results(parent)
    assert [(r["params.x"], r["params.y"]) for r in rows] == [("1.0", ""), ("", "2.0"), ("", "")]


def test_single_empty_param_map(points, recorded):
    est = StubEstimator()
    model = CrossValidator(
        estimator=est, estimatorParamMaps=[{}], evaluator=StubEvaluator(), numFolds=3
    ).fit(points)
    parent = recorded.only_parent_run()
    (child,) = recorded.children(parent)
    assert child.data.metrics["avg_stub"] == model.avgMetrics[0]
    assert recorded.json(parent, "trackmllib/best_params.json") == {}
    assert child.data.tags["trackmllib.best"] == "true"


@pytest.mark.parametrize(
    "score", [3, np.float64(0.1), np.float32(0.1), np.int32(4), -0.0, 1e-320, 1e300]
)
def test_scores_of_every_number_type(points, any_store, score):
    trackmllib.autolog()
    evaluator = StubEvaluator(scores={1.0: score, 2.0: score})
    model = stub_search(xs=[1.0, 2.0], eva=evaluator, numFolds=3).fit(points)
    children = any_store.children(any_store.only_parent_run())
    assert [c.data.metrics["stub"] for c in children] == [float(score)] * 2
    assert [c.data.metrics["avg_stub"] for c in children] == [float(a) for a in model.avgMetrics]
    assert [c.data.metrics["std_stub"] for c in children] == [float(s) for s in model.stdMetrics]


def test_nan_winner_causes_one_warning(points, any_store, caplog):
    trackmllib.autolog()
    evaluator = StubEvaluator(scores={2.0: math.nan})
    with caplog.at_level(logging.WARNING, logger="trackmllib"):
        model = stub_search(eva=evaluator, numFolds=2).fit(points)
    assert math.isnan(model.avgMetrics[1])
    children = any_store.children(any_store.only_parent_run())
    assert children[1].data.tags["trackmllib.best"] == "true"
    assert math.isnan(children[1].data.metrics["avg_stub"])
    assert math.isnan(children[1].data.metrics["stub"])
    (warning,) = [r for r in caplog.records if r.name == "trackmllib"]
    assert "won with a score of NaN" in warning.getMessage()
    assert any_store.results(any_store.only_parent_run())[1]["average"] == "nan"


@pytest.mark.parametrize("score", [math.inf, -math.inf])
def test_infinite_scores(points, any_store, score, request):
    """MLflow's SQL stores replace infinity by the largest double; file stores and results.csv
    keep it.
    """
    trackmllib.autolog()
    split = stub_split(eva=StubEvaluator(scores={2.0: score}))
    split.fit(points)
    parent = any_store.only_parent_run()
    in_files = request.config.getoption("--store").startswith("file")
    kept = score if in_files else math.copysign(1.7976931348623157e308, score)
    assert any_store.children(parent)[1].data.metrics["stub"] == kept
    assert any_store.results(parent)[1]["average"] == repr(score)


def test_score_that_is_no_number_raises_sparks_own_error(points, recorded, lenient):
    class Wrong(StubEvaluator):
        def _evaluate(self, prediction):
            return "high"

    trackmllib.autolog()
    search = stub_search(eva=Wrong(), numFolds=2)
    with pytest.raises(Exception) as tracked:  # noqa: PT011 - compared with Spark's own below
        search.fit(points)
    trackmllib.autolog(disable=True)
    with pytest.raises(type(tracked.value)):
        search.fit(points)


@pytest.mark.slow
def test_large_search_prints_no_more_than_a_small_one(points, any_store, capfd):
    # The output of progress depends on time, and is tested elsewhere.
    trackmllib.autolog(progress=False, flush_timeout=300)
    printed = []
    for xs in (range(4), range(200)):
        capfd.readouterr()
        stub_search(xs=xs, numFolds=10, parallelism=4).fit(points)
        out, err = capfd.readouterr()
        printed.append((out, len(err.splitlines())))
    assert printed[0] == printed[1]
    assert printed[1][0] == ""
