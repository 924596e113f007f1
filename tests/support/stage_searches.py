"""Searches whose candidates share stages."""

from __future__ import annotations

from typing import Any

from pyspark.ml import Pipeline, feature
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.functions import vector_to_array
from pyspark.ml.regression import LinearRegression
from pyspark.ml.tuning import CrossValidator
from pyspark.sql import functions

from support.stubs import StubEstimator, StubEvaluator

BOTH = {"reuse_stages": True, "parallel_folds": True}


class FeaturesEvaluator(StubEvaluator):
    """Scores a prediction of a stub by its ``x`` and the features of earlier stages."""

    def _evaluate(self, prediction: Any) -> float:
        super()._evaluate(prediction)
        features = vector_to_array("features")
        (total,) = prediction.dataset.agg(functions.sum(features[0] + features[1])).first()
        return float(prediction.x * total)


def scaled_search(
    kind: type = CrossValidator,
    counts: Any = (0, 3),
    values: Any = (0.1, 1.0),
    stub: bool = True,
    **params: Any,
) -> Any:
    """A tuner of a scaler, an IDF, and a last stage; the last two have params in the grid.

    The last stage is a stub, which costs one Spark job per fit, or a regression, which costs four.
    With the regression, all stages are Spark's own.
    """
    scaler = feature.StandardScaler(inputCol="raw", outputCol="scaled", withMean=True)
    weighed = feature.IDF(inputCol="scaled", outputCol="features")
    last = StubEstimator() if stub else LinearRegression(solver="normal")
    param = last.x if stub else last.regParam
    if kind is CrossValidator:
        params = {"numFolds": 2, **params}
    return kind(
        estimator=Pipeline(stages=[scaler, weighed, last]),
        estimatorParamMaps=[
            {weighed.minDocFreq: count, param: value} for count in counts for value in values
        ],
        evaluator=FeaturesEvaluator() if stub else RegressionEvaluator(),
        seed=3,
        **params,
    )
