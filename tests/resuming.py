"""What tests of ``resume`` search: parts that are equal in every process, and say what they do."""

from __future__ import annotations

import math
from typing import Any

from pyspark.ml import Pipeline
from pyspark.ml.classification import DecisionTreeClassifier
from pyspark.ml.evaluation import Evaluator, MulticlassClassificationEvaluator
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import functions

from stubs import StubEstimator


class RowsEvaluator(Evaluator):
    """Scores a prediction of a stub by its ``x`` and the rows that it is of."""

    metricName = Param(Params._dummy(), "metricName", "", TypeConverters.toString)
    factor = Param(Params._dummy(), "factor", "", TypeConverters.toFloat)

    def __init__(self, factor: float = 1.0, metricName: str = "rows") -> None:
        super().__init__()
        self._setDefault(metricName="rows", factor=1.0)
        self._set(factor=factor, metricName=metricName)

    def getMetricName(self) -> str:
        return self.getOrDefault(self.metricName)

    def isLargerBetter(self) -> bool:
        return True

    def _evaluate(self, prediction: Any) -> float:
        (row,) = prediction.dataset.select(functions.sum("label"), functions.count("*")).collect()
        return self.getOrDefault(self.factor) * math.sin(prediction.x * 10) + row[0] / row[1] / 7


class WarmStart(StubEstimator):
    """Fits the grid as a whole: each model goes on from the one before."""

    def fitMultiple(self, dataset: Any, paramMaps: Any) -> Any:
        x, models = 0.0, []
        for params in paramMaps:
            x = x / 2 + params[self.x]
            models.append(self.copy({self.x: x}).fit(dataset))
        # Not a generator, which two threads cannot share.
        return iter(list(enumerate(models)))


def rows_search(xs: Any = (1.0, 2.0, 3.0), kind: Any = CrossValidator, **params: Any) -> Any:
    est = params.pop("est", None) or StubEstimator()
    grid = ParamGridBuilder().addGrid(est.x, list(xs)).build()
    return kind(
        estimator=est,
        estimatorParamMaps=grid,
        evaluator=params.pop("eva", None) or RowsEvaluator(),
        **{"seed": 5, **params},
    )


def tree_pipeline(depths: Any = (1, 2, 3), **params: Any) -> Any:
    """A tuner with columns that are named by uids, which are others each time."""
    assembled = VectorAssembler(inputCols=["a", "b"])
    scaled = StandardScaler(inputCol=assembled.getOutputCol())
    tree = DecisionTreeClassifier(featuresCol=scaled.getOutputCol(), seed=3)
    return CrossValidator(
        estimator=Pipeline(stages=[assembled, scaled, tree]),
        estimatorParamMaps=ParamGridBuilder().addGrid(tree.maxDepth, list(depths)).build(),
        evaluator=MulticlassClassificationEvaluator(),
        **{"seed": 5, "numFolds": 2, **params},
    )


def table(
    spark: Any, changed: int | None = None, more: int = 0, order: int = 1, partitions: int = 2
) -> Any:
    """90 rows and some more in three folds, in this order; one of them may be changed."""
    count = 90 + more
    i = functions.col("id") if order > 0 else functions.lit(count - 1) - functions.col("id")
    b = i * 13 % 50 / 50
    if changed is not None:
        b = functions.when(i == changed, b + 1e-9).otherwise(b)
    return spark.range(0, count, 1, partitions).select(
        (i * 7 % 100 / 100).alias("a"),
        b.alias("b"),
        functions.when(i * 7 % 100 > 55, 1.0).otherwise(0.0).alias("label"),
        (i % 3).cast("int").alias("fold"),
    )
