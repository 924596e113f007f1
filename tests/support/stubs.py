"""Estimators and evaluators of the tests: real Spark components that need no Spark job."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyspark.ml import Estimator, Model
from pyspark.ml.evaluation import Evaluator
from pyspark.ml.param import Param, Params, TypeConverters


class _StubParams(Params):
    x = Param(Params._dummy(), "x", "any value")
    y = Param(Params._dummy(), "y", "any value")
    fitSeconds = Param(Params._dummy(), "fitSeconds", "how long a fit takes")

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(x=0.0, y=0.0, fitSeconds=0.0)


@dataclass
class Prediction:
    """The output of a stub model: its own params."""

    x: Any
    y: Any
    dataset: Any


class StubModel(Model, _StubParams):
    def _transform(self, dataset: Any) -> Any:
        return Prediction(self.getOrDefault(self.x), self.getOrDefault(self.y), dataset)


class StubEstimator(Estimator, _StubParams):
    """Fits in ``fitSeconds``; ``fail`` maps values of ``x`` to the errors to raise."""

    def __init__(self, fitSeconds: float = 0.0, fail: dict[Any, BaseException] | None = None):
        super().__init__()
        self._set(fitSeconds=fitSeconds)
        self.fail = fail or {}

    def _fit(self, dataset: Any) -> StubModel:
        time.sleep(self.getOrDefault(self.fitSeconds))
        if self.fail and self.getOrDefault(self.x) in self.fail:
            raise self.fail[self.getOrDefault(self.x)]
        return self._copyValues(StubModel())


class WithSecrets(StubEstimator):
    """An estimator with passwords and keys in its params."""

    apiKey = Param(Params._dummy(), "apiKey", "a secret by its name")
    keyCol = Param(Params._dummy(), "keyCol", "none, although there is a key in it")
    internalUrl = Param(Params._dummy(), "internalUrl", "a secret by the user's word")
    jdbc = Param(Params._dummy(), "jdbc", "a URI with a password in it")

    def __init__(self) -> None:
        super().__init__()
        self._set(
            apiKey="s3cr3t-1",
            keyCol="id",
            internalUrl="s3cr3t-2",
            jdbc="jdbc:postgresql://me:s3cr3t-3@db/shop?password=s3cr3t-4&ssl=true",
        )

    def _fit(self, dataset: Any) -> StubModel:
        if self.getOrDefault(self.x) == 3.0:
            raise ValueError("no access to https://me:s3cr3t-5@files/data")
        return super()._fit(dataset)


class ScriptedModel(StubModel):
    def __init__(self, call: Callable[[str, Any], None]):
        super().__init__()
        self.call = call

    def _transform(self, dataset: Any) -> Any:
        self.call("transform", self.getOrDefault(self.x))
        return super()._transform(dataset)


class ScriptedEstimator(StubEstimator):
    """Runs ``call(step, x)`` in each ``"fit"`` and each ``"transform"`` of a candidate."""

    def __init__(self, call: Callable[[str, Any], None]):
        super().__init__()
        self.call = call

    def _fit(self, dataset: Any) -> StubModel:
        self.call("fit", self.getOrDefault(self.x))
        return self._copyValues(ScriptedModel(self.call))


class SearchingEstimator(StubEstimator):
    """An estimator whose fit runs a search."""

    def __init__(self, tuner: Any):
        super().__init__()
        self.tuner = tuner

    def _fit(self, dataset: Any) -> StubModel:
        self.tuner.fit(dataset)
        return super()._fit(dataset)


class StubEvaluator(Evaluator):
    """Scores a prediction by its ``x`` and noise; remembers the scores in ``returned``.

    ``scores`` maps ``x`` to the score to return instead; ``call`` runs before each score.
    """

    metricName = Param(Params._dummy(), "metricName", "", TypeConverters.toString)

    def __init__(self, scores=None, larger=True, call=None, seed=7) -> None:
        super().__init__()
        self._setDefault(metricName="stub")
        self._set(metricName="stub")
        self.scores = scores or {}
        self.larger = larger
        self.call = call
        self.returned: list[tuple[Any, float]] = []
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def getMetricName(self) -> str:
        return self.getOrDefault(self.metricName)

    def isLargerBetter(self) -> bool:
        return self.larger

    def _evaluate(self, prediction: Prediction) -> float:
        if self.call is not None:
            self.call(prediction)
        with self._lock:
            if prediction.x in self.scores:
                score = self.scores[prediction.x]
            else:
                score = float(prediction.x) + self._random.uniform(-0.1, 0.1)
            self.returned.append((prediction.x, score))
        return score


class NamelessEvaluator(StubEvaluator):
    """An evaluator whose metric has no name."""

    def getMetricName(self) -> str:
        raise RuntimeError("no name")


class FitMultipleEstimator(StubEstimator):
    """A third-party estimator that fits all candidates itself, the last one first."""

    def fitMultiple(self, dataset, paramMaps):
        lock = threading.Lock()
        left = list(range(len(paramMaps)))

        class Models:
            def __iter__(self):
                return self

            def __next__(inner):
                with lock:
                    if not left:
                        raise StopIteration
                    index = left.pop()
                return index, self.fit(dataset, paramMaps[index])

        return Models()


__all__ = [
    "FitMultipleEstimator",
    "NamelessEvaluator",
    "Prediction",
    "ScriptedEstimator",
    "SearchingEstimator",
    "StubEstimator",
    "StubEvaluator",
    "StubModel",
    "WithSecrets",
]
