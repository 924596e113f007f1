"""Random data and grids of nested candidates, by seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyspark.ml import classification, feature, recommendation, regression
from pyspark.ml.linalg import Vectors

CLASSIFIERS = ("DecisionTreeClassifier", "RandomForestClassifier", "GBTClassifier")
REGRESSORS = ("DecisionTreeRegressor", "RandomForestRegressor", "GBTRegressor")
TREES = CLASSIFIERS + REGRESSORS
NAMES = (
    *TREES,
    *("PCA", "IDF", "LogisticRegression", "LinearSVC", "StandardScaler", "MinMaxScaler"),
    *("StringIndexer", "OneHotEncoder", "ALS"),
)
MERGE_MEANS = ("PCA", "LogisticRegression", "LinearSVC", "StandardScaler")
_MODULES = (classification, regression, feature, recommendation)


@dataclass(frozen=True)
class NestedGrid:
    """An estimator, a grid of nested candidates, and data."""

    estimator: Any
    maps: list[dict[Any, Any]]
    data: Any


def nested_grid(spark: Any, name: str, seed: int) -> NestedGrid:
    draw = random.Random(f"{name} {seed}")
    numbers = np.random.default_rng(seed)
    kind = next(getattr(module, name) for module in _MODULES if hasattr(module, name))
    if name in TREES:
        return _tree_grid(spark, kind, name, draw, numbers)
    return _other_grid(spark, kind, name, draw, numbers)


def _tree_grid(spark: Any, kind: Any, name: str, draw: Any, numbers: Any) -> NestedGrid:
    rows = draw.choice([1, 2, 7, draw.randrange(3, 30), 40, 120, 200])
    matrix = _features(draw, numbers, rows)
    classes = 2 if name == "GBTClassifier" else draw.choice([1, 2, 3, 5])
    if name in CLASSIFIERS:
        noise = numbers.integers(0, classes, rows)
        label = np.where(numbers.random(rows) < 0.6, matrix[:, 0].astype(int) % classes, noise)
    else:
        label = draw.choice(
            [
                numbers.integers(0, 3, rows) / 10,
                matrix @ numbers.random(matrix.shape[1]) + numbers.random(rows),
                numbers.random(rows),
                np.full(rows, draw.choice([0.1, 123.4])),
            ]
        )
    weight = draw.choice([numbers.integers(1, 10, rows) / 10, numbers.random(rows) + 0.01])
    data = spark.createDataFrame(
        [
            (Vectors.dense(values), float(target), float(heavy))
            for values, target, heavy in zip(matrix, label, weight, strict=True)
        ],
        ["features", "label", "weight"],
    ).repartition(draw.choice([1, 1, 2]))
    if draw.random() < 0.4 and rows > 1:
        indexer = feature.VectorIndexer(
            inputCol="features", outputCol="indexed", maxCategories=draw.choice([3, 6])
        )
        data = indexer.fit(data).transform(data).drop("features")
        data = data.withColumnRenamed("indexed", "features")
    params: dict[str, Any] = {
        "maxBins": draw.choice([8, 16, 32]),
        "minInstancesPerNode": draw.choice([1, 1, 3]),
        "minInfoGain": draw.choice([0.0, 0.0, 0.01]),
        "seed": draw.randrange(1000),
    }
    if draw.random() < 0.3:
        params["weightCol"] = "weight"
    if draw.random() < 0.2:
        params["minWeightFractionPerNode"] = 0.05
    params["maxMemoryInMB"] = draw.choice([0, 1, 256, 256])
    if params["maxMemoryInMB"] and draw.random() < 0.3:
        # With 0 MB, Spark's node id cache ends the JVM.
        params |= {"cacheNodeIds": True, "checkpointInterval": 2}
    if name in ("DecisionTreeClassifier", "RandomForestClassifier"):
        params["impurity"] = draw.choice(["gini", "entropy"])
    if name.startswith("RandomForest"):
        params["numTrees"] = draw.choice([1, 3, 5])
        params["featureSubsetStrategy"] = draw.choice(["auto", "all", "sqrt", "onethird", "2"])
        params["subsamplingRate"] = draw.choice([1.0, 0.7])
        params["bootstrap"] = draw.choice([True, False])
    if name.startswith("GBT"):
        params |= {
            "maxDepth": draw.choice([1, 2, 3]),
            "stepSize": draw.choice([0.1, 0.5]),
            "subsamplingRate": draw.choice([1.0, 0.7]),
            "featureSubsetStrategy": draw.choice(["all", "sqrt"]),
        }
        values = {"maxIter": draw.sample([1, 2, 3, 5, 8], 3)}
    else:
        values = {"maxDepth": draw.sample([0, 1, 2, 3, 4, 6], 4)}
    if hasattr(kind(), "pruneTree") and draw.random() < 0.3:
        params["pruneTree"] = False
    estimator = kind(**params)
    return NestedGrid(estimator, _maps(estimator, values), data.cache())


def _features(draw: Any, numbers: Any, rows: int) -> Any:
    """Random numbers, with ties, a constant, and a column of few values."""
    columns = [
        numbers.integers(0, 3, rows),
        numbers.integers(0, 6, rows),
        numbers.random(rows),
        np.full(rows, 1.0),
        numbers.integers(0, 2, rows) / 10,
    ]
    return np.column_stack(columns[: draw.choice([1, 3, 5])]).astype(float)


def _other_grid(spark: Any, kind: Any, name: str, draw: Any, numbers: Any) -> NestedGrid:
    rows = draw.choice([3, 30, 100])
    values: dict[str, list[Any]]
    params: dict[str, Any] = {}
    if name in ("StringIndexer", "OneHotEncoder"):
        labels = numbers.integers(0, draw.choice([1, 3, 8]), rows)
        frame = [(chr(97 + label), float(label)) for label in labels]
        data = spark.createDataFrame(frame, ["word", "number"])
        column = "word" if name == "StringIndexer" else "number"
        params = {"inputCol": column, "outputCol": "out"}
        values = {"dropLast": [True, False]}
        if name == "StringIndexer":
            orders = ["frequencyDesc", "frequencyAsc", "alphabetDesc", "alphabetAsc"]
            params["stringOrderType"] = draw.choice(orders)
            values = {"handleInvalid": ["error", "skip", "keep"]}
    elif name == "ALS":
        pairs = {(int(a), int(b)) for a, b in numbers.integers(0, 8, (rows, 2))}
        data = spark.createDataFrame(
            [(a, b, float((a * b) % 5)) for a, b in sorted(pairs)], ["user", "item", "rating"]
        )
        params = {"userCol": "user", "itemCol": "item", "rank": draw.choice([1, 3]), "maxIter": 2}
        params["seed"] = draw.randrange(100)
        values = {"coldStartStrategy": ["nan", "drop"]}
    else:
        matrix = _features(draw, numbers, rows)
        if name == "IDF":
            matrix = numbers.integers(0, 3, (rows, draw.choice([1, 5, 12]))).astype(float)
        label = (matrix[:, 0] + numbers.random(rows) > 1.2).astype(float)
        weight = numbers.integers(1, 10, rows) / 10
        data = spark.createDataFrame(
            [
                (Vectors.dense(one), float(two), float(three))
                for one, two, three in zip(matrix, label, weight, strict=True)
            ],
            ["features", "label", "weight"],
        )
        width = matrix.shape[1]
        if name == "PCA":
            params = {"inputCol": "features", "outputCol": "out"}
            values = {"k": draw.sample(range(1, width + 1), min(width, 3))}
        elif name == "IDF":
            params = {"inputCol": "features", "outputCol": "out"}
            values = {"minDocFreq": draw.sample([0, 1, rows // 2, rows * 2 // 3, rows + 1], 3)}
        elif name in ("LogisticRegression", "LinearSVC"):
            params = {"maxIter": draw.choice([1, 5]), "regParam": draw.choice([0.0, 0.1])}
            if draw.random() < 0.3:
                params["weightCol"] = "weight"
            values = {"threshold": draw.sample([0.0, 0.2, 0.5, 0.9], 3)}
        elif name == "StandardScaler":
            params = {"inputCol": "features", "outputCol": "out"}
            values = {"withMean": [True, False], "withStd": [True, False]}
        else:
            params = {"inputCol": "features", "outputCol": "out"}
            values = {"min": [0.0, -1.0, 3.0], "max": [1.0, 2.0]}
    estimator = kind(**params)
    maps = _maps(estimator, values)
    if draw.random() < 0.5:
        # A candidate that keeps Spark's own value.
        maps.append({})
    # Where Spark merges means of partitions, its own results depend on which task ends first.
    partitions = 1 if name in MERGE_MEANS else draw.choice([1, 1, 2])
    return NestedGrid(estimator, maps, data.repartition(partitions).cache())


def _maps(estimator: Any, values: dict[str, list[Any]]) -> list[dict[Any, Any]]:
    maps: list[dict[Any, Any]] = [{}]
    for name, each in values.items():
        param = estimator.getParam(name)
        maps = [{**one, param: value} for one in maps for value in each]
    return maps
