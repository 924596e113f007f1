"""A search of ``pyspark.ml.connect.tuning``, whose own estimators and evaluators need torch.

The model predicts the mean of the labels, shrunk; the score is the mean squared error. Both come
from Spark.
"""

from __future__ import annotations

import weakref
from typing import Any, ClassVar

from pyspark.ml.connect.base import Estimator, Evaluator, Model
from pyspark.ml.connect.tuning import CrossValidator
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.tuning import ParamGridBuilder
from pyspark.sql import functions as sql


class MeanModel(Model):
    """Predicts one value for all rows; ``alive`` has the models not collected yet."""

    alive: ClassVar[weakref.WeakSet[MeanModel]] = weakref.WeakSet()

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value
        MeanModel.alive.add(self)

    def transform(self, dataset: Any, params: Any = None) -> Any:
        return dataset.withColumn("prediction", sql.lit(self.value))


class MeanEstimator(Estimator):
    """Fits a mean; raises for the value of ``shrink`` in ``fail``."""

    shrink = Param(Params._dummy(), "shrink", "a factor", TypeConverters.toFloat)

    def __init__(self, fail: dict[float, Exception] | None = None) -> None:
        super().__init__()
        self._setDefault(shrink=1.0)
        self.fail = fail or {}

    def _fit(self, dataset: Any) -> MeanModel:
        shrink = self.getOrDefault(self.shrink)
        if shrink in self.fail:
            raise self.fail[shrink]
        return MeanModel(shrink * dataset.agg(sql.avg("label")).head()[0])


class SquaredError(Evaluator):
    """The mean squared error; smaller is better."""

    def getMetricName(self) -> str:
        return "mse"

    def isLargerBetter(self) -> bool:
        return False

    def _evaluate(self, dataset: Any) -> float:
        error = dataset["label"] - dataset["prediction"]
        return dataset.agg(sql.avg(error * error)).head()[0]


def mean_search(
    shrinks: Any = (0.3, 0.7, 0.9), est: MeanEstimator | None = None, **params: Any
) -> CrossValidator:
    est = est or MeanEstimator()
    grid = ParamGridBuilder().addGrid(est.shrink, list(shrinks)).build()
    params = {"numFolds": 3, "seed": 5, **params}
    return CrossValidator(
        estimator=est, estimatorParamMaps=grid, evaluator=SquaredError(), **params
    )
