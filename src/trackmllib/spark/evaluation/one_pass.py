"""All metrics of an evaluator in one pass, by Spark's ``getMetrics``.

Each entry repeats how the ``evaluate`` of that evaluator reads its metric from ``getMetrics``
(``org.apache.spark.ml.evaluation``), so the values are equal to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from trackmllib.spark.evaluation.plan import is_from_spark, with_metric

# Arguments: the JVM's metrics and evaluator.
Read = Callable[[Any, Any], Any]

LOG_LOSS = "logLoss"
BINARY = "BinaryClassificationEvaluator"

_READERS: Mapping[str, Mapping[str, Read]] = {
    BINARY: {
        "areaUnderROC": lambda metrics, _: metrics.areaUnderROC(),
        "areaUnderPR": lambda metrics, _: metrics.areaUnderPR(),
    },
    "RegressionEvaluator": {
        "rmse": lambda metrics, _: metrics.rootMeanSquaredError(),
        "mse": lambda metrics, _: metrics.meanSquaredError(),
        "r2": lambda metrics, _: metrics.r2(),
        "mae": lambda metrics, _: metrics.meanAbsoluteError(),
        "var": lambda metrics, _: metrics.explainedVariance(),
    },
    "MulticlassClassificationEvaluator": {
        "f1": lambda metrics, _: metrics.weightedFMeasure(),
        "accuracy": lambda metrics, _: metrics.accuracy(),
        "weightedPrecision": lambda metrics, _: metrics.weightedPrecision(),
        "weightedRecall": lambda metrics, _: metrics.weightedRecall(),
        "weightedTruePositiveRate": lambda metrics, _: metrics.weightedTruePositiveRate(),
        "weightedFalsePositiveRate": lambda metrics, _: metrics.weightedFalsePositiveRate(),
        "weightedFMeasure": lambda metrics, java: metrics.weightedFMeasure(java.getBeta()),
        "truePositiveRateByLabel": lambda metrics, java: metrics.truePositiveRate(
            java.getMetricLabel()
        ),
        "falsePositiveRateByLabel": lambda metrics, java: metrics.falsePositiveRate(
            java.getMetricLabel()
        ),
        "precisionByLabel": lambda metrics, java: metrics.precision(java.getMetricLabel()),
        "recallByLabel": lambda metrics, java: metrics.recall(java.getMetricLabel()),
        "fMeasureByLabel": lambda metrics, java: metrics.fMeasure(
            java.getMetricLabel(), java.getBeta()
        ),
        "hammingLoss": lambda metrics, _: metrics.hammingLoss(),
        LOG_LOSS: lambda metrics, java: metrics.logLoss(java.getEps()),
    },
}


def can_compute(evaluator: Any, names: Sequence[str], data: Any) -> bool:
    """Whether one pass computes them: classic Spark, Spark's own evaluator."""
    readers = _READERS.get(type(evaluator).__name__, {})
    return (
        len(names) > 1
        and is_from_spark(evaluator)
        and hasattr(evaluator, "_transfer_params_to_java")
        and hasattr(data, "_jdf")
        and all(name in readers for name in names)
    )


@contextmanager
def metric_readers(
    evaluator: Any, names: Sequence[str], data: Any
) -> Iterator[Mapping[str, Callable[[], float]]]:
    """Context with a function per metric, which reads its value.

    The first call starts the pass.
    """
    # A copy, because Spark's other threads evaluate with the same object. getMetrics reads the
    # probabilities only for the log loss.
    copied = with_metric(evaluator, LOG_LOSS) if LOG_LOSS in names else evaluator
    copied = evaluator.copy() if copied is evaluator else copied
    copied._transfer_params_to_java()
    java = copied._java_obj
    metrics = java.getMetrics(data._jdf)
    readers = _READERS[type(evaluator).__name__]
    try:
        yield {name: partial(readers[name], metrics, java) for name in names}
    finally:
        if type(evaluator).__name__ == BINARY:
            # Its curves are cached.
            metrics.unpersist()
