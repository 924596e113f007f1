"""Averages of scores by Spark's own code, and results on a model.

The averages equal those on the model to the last bit, but are known before the model exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pyspark.ml.param import Params
from pyspark.ml.tuning import CrossValidator

from trackmllib.domain.search_state import FoldFit
from trackmllib.spark.introspection.components import set_values, uid_of, values
from trackmllib.support.guard import attempt


def average_and_deviation(
    scores: Sequence[Any], candidates: int, *, averaged: bool
) -> tuple[float, float | None]:
    """Average and deviation of a candidate's scores, by Spark's own code.

    :param candidates: The number of candidates, which affects numpy's rounding.
    :param averaged: False for a search with one fold, whose score is returned unchanged.
    """
    if not averaged:
        return float(scores[0]), None
    # Spark averages a table of folds x candidates along its first axis. How numpy adds up a column
    # depends on whether the table has one column or several, never on how many.
    columns = 1 if candidates == 1 else 2
    # Spark's own call warns about infinite scores; do not warn twice.
    with np.errstate(invalid="ignore"):
        averages, deviations = CrossValidator._gen_avg_and_std_metrics(
            [[score] * columns for score in scores]
        )
    return float(averages[0]), float(deviations[0])


def score_for_average(fit: FoldFit) -> Any:
    """The score in the type that Spark averages."""
    if fit.counts_as is not None:
        return fit.counts_as
    return fit.score if fit.dtype is None else np.dtype(fit.dtype).type(fit.score)


def numpy_type(score: Any) -> str | None:
    """Numpy type of a score; None for a Python number."""
    return None if isinstance(score, (float, int)) else np.asarray(score).dtype.name


def winner_of_model(
    model: Any, estimator: Any, maps: Sequence[Mapping[Any, Any]], expected: int
) -> int | None:
    """Find the candidate that a model was fitted with, by its params.

    Returns ``expected`` unless its params differ from the model's. Otherwise returns the only
    candidate whose params do not differ, or None.
    """
    params = dict(_fitted_params(estimator, getattr(model, "bestModel", None)))

    def differs(index: int) -> bool:
        for param, value in maps[index].items():
            found = params.get(param.parent, {})
            if param.name in found and not _equal(found[param.name], value):
                return True
        return False

    if not differs(expected):
        return expected
    left = [index for index in range(len(maps)) if not differs(index)]
    return left[0] if len(left) == 1 else None


def _fitted_params(estimator: Any, model: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the uids of estimators, each with the params of its model by name."""
    if not isinstance(estimator, Params) or not isinstance(model, Params):
        return
    uid = uid_of(estimator)
    if uid is not None:
        yield uid, {param.name: value for param, value in values(model).items()}
    stages = next((v for p, v in set_values(estimator).items() if p.name == "stages"), ())
    for stage, fitted in zip(stages, getattr(model, "stages", ()), strict=False):
        yield from _fitted_params(stage, fitted)


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are equal, or cannot be compared."""
    return attempt(lambda: bool(one == other), True)


def results_of(
    model: Any, averaged: bool
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Averages and deviations on a model; None for each that it lacks."""

    def read(name: str) -> tuple[float, ...] | None:
        return tuple(float(score) for score in getattr(model, name)) or None

    def doubles(name: str) -> tuple[float, ...] | None:
        return attempt(lambda: read(name), None)

    if averaged:
        return doubles("avgMetrics"), doubles("stdMetrics")
    return doubles("validationMetrics"), None
