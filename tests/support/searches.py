"""The searches of most tests: three candidates of a stub, and two real models."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

from pyspark.ml import Pipeline
from pyspark.ml.classification import DecisionTreeClassifier, LogisticRegression
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import StringIndexer
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder, TrainValidationSplit

from support.stubs import StubEstimator, StubEvaluator


def stub_search(
    kind: type = CrossValidator,
    xs: Any = (1.0, 2.0, 3.0),
    est: StubEstimator | None = None,
    eva: StubEvaluator | None = None,
    **params: Any,
) -> Any:
    est = est or StubEstimator()
    grid = ParamGridBuilder().addGrid(est.x, list(xs)).build()
    return kind(estimator=est, estimatorParamMaps=grid, evaluator=eva or StubEvaluator(), **params)


def stub_split(**params: Any) -> Any:
    return stub_search(kind=TrainValidationSplit, **params)


def tree_search(kind: type = CrossValidator, **params: Any) -> Any:
    tree = DecisionTreeClassifier(labelCol="index")
    pipeline = Pipeline(stages=[StringIndexer(inputCol="label", outputCol="index"), tree])
    grid = ParamGridBuilder().addGrid(tree.maxDepth, [1, 3]).addGrid(tree.maxBins, [4, 8]).build()
    evaluator = MulticlassClassificationEvaluator(labelCol="index", metricName="weightedPrecision")
    if kind is CrossValidator:
        params = {"numFolds": 2, **params}
    return kind(estimator=pipeline, estimatorParamMaps=grid, evaluator=evaluator, seed=1, **params)


def regression_search(kind: type = CrossValidator, **params: Any) -> Any:
    est = LogisticRegression(maxIter=3)
    grid = ParamGridBuilder().addGrid(est.regParam, [0.0, 0.1, 1.0]).build()
    evaluator = MulticlassClassificationEvaluator(metricName="logLoss")
    if kind is CrossValidator:
        params = {"numFolds": 2, **params}
    return kind(estimator=est, estimatorParamMaps=grid, evaluator=evaluator, seed=1, **params)


def fit_within(seconds: float, search: Any, data: Any) -> Any:
    """Return ``search.fit(data)``; raise TimeoutError after so many seconds."""
    fitted: Future[Any] = Future()

    def fit() -> None:
        try:
            fitted.set_result(search.fit(data))
        except BaseException as error:  # noqa: BLE001 - raised again in the waiting thread
            fitted.set_exception(error)

    threading.Thread(target=fit, name="fit-within", daemon=True).start()
    return fitted.result(seconds)
