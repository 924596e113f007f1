"""Searches of the tests of ``resume``, whose parts are equal in every process."""

from __future__ import annotations

import math
from typing import Any
from weakref import WeakKeyDictionary

from pyspark.ml import Pipeline
from pyspark.ml.evaluation import Evaluator, RegressionEvaluator
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.regression import LinearRegression
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import functions

import trackmllib
from support.stubs import StubEstimator

# Sum of labels and number of rows by validation set: one Spark job for all candidates.
_totals: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


class RowsEvaluator(Evaluator):
    """Scores a prediction of a stub by its ``x`` and its rows."""

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
        row = _totals.get(prediction.dataset)
        if row is None:
            totals = prediction.dataset.select(functions.sum("label"), functions.count("*"))
            row = _totals[prediction.dataset] = totals.first()
        return self.getOrDefault(self.factor) * math.sin(prediction.x * 10) + row[0] / row[1] / 7


class WarmStart(StubEstimator):
    """Fits the grid as a whole: each model starts from the previous one."""

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


def pipeline_search(penalties: Any = (0.1, 0.2), **params: Any) -> Any:
    """A tuner of three stages, with columns named by uids, which differ in each process."""
    assembled = VectorAssembler(inputCols=["a", "b"])
    scaled = StandardScaler(inputCol=assembled.getOutputCol())
    last = LinearRegression(featuresCol=scaled.getOutputCol(), solver="normal")
    return CrossValidator(
        estimator=Pipeline(stages=[assembled, scaled, last]),
        estimatorParamMaps=ParamGridBuilder().addGrid(last.regParam, list(penalties)).build(),
        evaluator=RegressionEvaluator(),
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


def fit(tuner: Any, data: Any) -> tuple[list[str], list[int]]:
    """The averages, and the number of reused scores of each candidate."""
    model = tuner.fit(data)
    found = trackmllib.results(model).search.candidates
    averages = getattr(model, "avgMetrics", None) or model.validationMetrics
    return [float(each).hex() for each in averages], [
        found[index].reused for index in sorted(found)
    ]


def untracked(tuner: Any, data: Any) -> list[str]:
    """The averages of stock Spark."""
    trackmllib.autolog(disable=True)
    model = tuner.fit(data)
    trackmllib.autolog(resume=True, code_version="1", progress=False)
    return [each.hex() for each in (getattr(model, "avgMetrics", None) or model.validationMetrics)]
