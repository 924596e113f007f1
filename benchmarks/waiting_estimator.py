"""Estimator whose fit waits in a Spark task, like a long remote fit."""

from __future__ import annotations

import time
from typing import Any

from pyspark.ml import Estimator, Model
from pyspark.ml.evaluation import Evaluator
from pyspark.ml.param import Param, Params, TypeConverters


class WaitingEstimator(Estimator):
    """Fits in one task, which waits ``seconds``."""

    size = Param(Params._dummy(), "size", "size of the model", TypeConverters.toInt)

    def __init__(self, *, seconds: float = 1.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._set(size=1)

    def _fit(self, dataset: Any) -> WaitingModel:
        # In Java: twenty Python workers at a time would make this process the bottleneck.
        sleep = f"reflect('java.lang.Thread', 'sleep', {round(self.seconds * 1000)}L)"
        dataset.coalesce(1).limit(1).selectExpr(sleep).collect()
        return WaitingModel(self.getOrDefault(self.size))


class WaitingModel(Model):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def _transform(self, dataset: Any) -> Any:
        dataset.size_of_model = self.size
        return dataset


class WaitingEvaluator(Evaluator):
    """Scores a model by its size; ``times`` are those of all scores, by ``time.perf_counter()``."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def _evaluate(self, dataset: Any) -> float:
        self.times.append(time.perf_counter())
        return float(dataset.size_of_model)

    def getMetricName(self) -> str:
        return "size"

    def isLargerBetter(self) -> bool:
        return True
