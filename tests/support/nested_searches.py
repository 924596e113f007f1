"""Searches whose candidates are nested, and all numbers of their models."""

from __future__ import annotations

from typing import Any

from pyspark.ml import Pipeline, feature
from pyspark.ml.classification import (
    DecisionTreeClassifier,
    GBTClassifier,
    LinearSVC,
    LogisticRegression,
    RandomForestClassifier,
)
from pyspark.ml.evaluation import MulticlassClassificationEvaluator, RegressionEvaluator
from pyspark.ml.regression import DecisionTreeRegressor, GBTRegressor, RandomForestRegressor
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder

from support.model_state import state


def tree_grid(**params: Any) -> Any:
    """Trees of three depths, times two numbers of bins."""
    tree = DecisionTreeClassifier(featuresCol="raw")
    grid = ParamGridBuilder().addGrid(tree.maxDepth, [1, 2, 4]).addGrid(tree.maxBins, [4, 8])
    return search(tree, grid.build(), **params)


def component_grid(**params: Any) -> Any:
    """A scaler, then PCA of two sizes, then trees of two depths."""
    scaler = feature.StandardScaler(inputCol="raw", outputCol="scaled")
    components = feature.PCA(inputCol="scaled", outputCol="components")
    tree = DecisionTreeClassifier(featuresCol="components")
    grid = ParamGridBuilder().addGrid(components.k, [1, 3]).addGrid(tree.maxDepth, [1, 3])
    return search(Pipeline(stages=[scaler, components, tree]), grid.build(), **params)


def search(estimator: Any, maps: Any, evaluator: Any = None, **params: Any) -> Any:
    params = {"numFolds": 2, "seed": 5, **params}
    if evaluator is None:
        # Unlike BinaryClassificationEvaluator, its score is the same at each call.
        evaluator = MulticlassClassificationEvaluator(metricName="f1")
    return CrossValidator(
        estimator=estimator, estimatorParamMaps=maps, evaluator=evaluator, **params
    )


def _grid(estimator: Any, **values: Any) -> Any:
    grid = ParamGridBuilder()
    for name, each in values.items():
        grid.addGrid(estimator.getParam(name), each)
    return grid.build()


def _alone(estimator: Any, evaluator: Any = None, **values: Any) -> Any:
    return search(estimator, _grid(estimator, **values), evaluator)


def _before_regression(stage: Any, **values: Any) -> Any:
    last = LogisticRegression(featuresCol="out", maxIter=3)
    return search(Pipeline(stages=[stage, last]), _grid(stage, **values))


def each_kind() -> dict[str, Any]:
    """A search for each rule that needs no data of its own, by estimator."""
    of_raw = {"featuresCol": "raw"}
    to_out = {"inputCol": "raw", "outputCol": "out"}
    squares = RegressionEvaluator()
    words = feature.HashingTF(inputCol="words", outputCol="counts", numFeatures=16)
    split = feature.Tokenizer(inputCol="text", outputCol="words")
    weighed = feature.IDF(inputCol="counts", outputCol="out")
    last = LogisticRegression(featuresCol="out", maxIter=3)
    indexed = feature.StringIndexer(inputCol="colour", outputCol="index")
    hot = feature.OneHotEncoder(inputCol="index", outputCol="out")
    return {
        "DecisionTreeClassifier": tree_grid(),
        "DecisionTreeRegressor": _alone(
            DecisionTreeRegressor(**of_raw), squares, maxDepth=[0, 2, 3]
        ),
        "RandomForestClassifier": _alone(
            RandomForestClassifier(numTrees=3, seed=1, **of_raw), maxDepth=[1, 3]
        ),
        "RandomForestRegressor": _alone(
            RandomForestRegressor(numTrees=3, seed=1, **of_raw), squares, maxDepth=[1, 3]
        ),
        "GBTClassifier": _alone(GBTClassifier(maxDepth=2, **of_raw), maxIter=[1, 3]),
        "GBTRegressor": _alone(GBTRegressor(maxDepth=2, **of_raw), squares, maxIter=[3, 1]),
        "PCA": _before_regression(feature.PCA(**to_out), k=[1, 3, 2]),
        "IDF": search(
            Pipeline(stages=[split, words, weighed, last]), _grid(weighed, minDocFreq=[20, 0])
        ),
        "LogisticRegression": _alone(LogisticRegression(maxIter=3, **of_raw), threshold=[0.3, 0.7]),
        "LinearSVC": _alone(LinearSVC(maxIter=2, **of_raw), threshold=[0.0, 0.5]),
        "StandardScaler": _before_regression(
            feature.StandardScaler(**to_out), withMean=[True, False]
        ),
        "MinMaxScaler": _before_regression(feature.MinMaxScaler(**to_out), max=[1.0, 2.0]),
        "StringIndexer": search(
            Pipeline(stages=[indexed, hot, last]), _grid(indexed, handleInvalid=["skip", "keep"])
        ),
        "OneHotEncoder": search(
            Pipeline(stages=[indexed, hot, last]), _grid(hot, dropLast=[True, False])
        ),
    }


def numbers(model: Any, data: Any) -> dict[str, Any]:
    """Averages, deviations and the best model of a tuner's model, and its sub-models."""
    models = {"best": model.bestModel}
    for fold, of_fold in enumerate(model.subModels or []):
        models |= {(fold, at): each for at, each in enumerate(of_fold)}
    return {
        "averages": [value.hex() for value in map(float, model.avgMetrics)],
        "deviations": [value.hex() for value in map(float, model.stdMetrics)],
        "models": {name: _stages(each, data) for name, each in models.items()},
    }


def _stages(model: Any, data: Any) -> list[Any]:
    if not hasattr(model, "stages"):
        return [state(model, data)]
    found = []
    for stage in model.stages:
        if hasattr(stage, "_java_obj") and hasattr(stage, "parent"):
            found.append(state(stage, data))
        data = stage.transform(data)
    return found
