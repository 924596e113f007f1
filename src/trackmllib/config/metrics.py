"""Values of the option ``metrics``: names of metrics, and evaluators."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trackmllib.config.suggestions import nearest, question

# Values of ``metricName``, by evaluator (the params' documentation in ``pyspark.ml.evaluation``).
EVALUATOR_METRICS = {
    "BinaryClassificationEvaluator": ("areaUnderROC", "areaUnderPR"),
    "RegressionEvaluator": ("rmse", "mse", "r2", "mae", "var"),
    "MulticlassClassificationEvaluator": (
        "f1",
        "accuracy",
        "weightedPrecision",
        "weightedRecall",
        "weightedTruePositiveRate",
        "weightedFalsePositiveRate",
        "weightedFMeasure",
        "truePositiveRateByLabel",
        "falsePositiveRateByLabel",
        "precisionByLabel",
        "recallByLabel",
        "fMeasureByLabel",
        "logLoss",
        "hammingLoss",
    ),
    "MultilabelClassificationEvaluator": (
        "subsetAccuracy",
        "accuracy",
        "hammingLoss",
        "precision",
        "recall",
        "f1Measure",
        "precisionByLabel",
        "recallByLabel",
        "f1MeasureByLabel",
        "microPrecision",
        "microRecall",
        "microF1Measure",
    ),
    "ClusteringEvaluator": ("silhouette",),
    "RankingEvaluator": (
        "meanAveragePrecision",
        "meanAveragePrecisionAtK",
        "precisionAtK",
        "ndcgAtK",
        "recallAtK",
    ),
}
_NAMES = dict.fromkeys(name for names in EVALUATOR_METRICS.values() for name in names)


def parse_metrics(value: Any) -> Any:
    """Metrics as a tuple; pydantic rejects values of other types.

    :raises ValueError: A name is unknown, or is given twice, or an item is neither a name nor an
        evaluator.
    """
    if isinstance(value, str) or _is_evaluator(value):
        value = (value,)
    if not isinstance(value, Iterable) or isinstance(value, (bytes, dict)):
        return value
    metrics = tuple(value)
    errors = [error for each in metrics if (error := _error(each))]
    names = [each for each in metrics if isinstance(each, str)]
    errors += [f"{name!r} is given twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    if errors:
        raise ValueError("; ".join(errors))
    return metrics


def _error(metric: Any) -> str:
    if isinstance(metric, str):
        if metric in _NAMES:
            return ""
        meant = nearest(metric, {name: name for name in _NAMES})
        valid = ", ".join(_NAMES)
        suggestion = question(None if meant is None else repr(meant))
        return f"no evaluator of Spark has the metric {metric!r}{suggestion}; valid are {valid}"
    if isinstance(metric, type) and hasattr(metric, "evaluate"):
        return f"{metric.__name__} is a class; pass an evaluator, such as {metric.__name__}()"
    return "" if _is_evaluator(metric) else f"{metric!r} is neither a name nor an evaluator"


def _is_evaluator(value: Any) -> bool:
    return not isinstance(value, type) and callable(getattr(value, "evaluate", None))
