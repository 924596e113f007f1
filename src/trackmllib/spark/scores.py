"""What Spark makes of the scores: averages, deviations, the winner, by Spark's own code.

Known before the model exists, and equal to what the model will hold to the last bit. Of a subclass
that chooses by a rule of its own, the model shows afterwards which candidate it is of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pyspark.ml.param import Params
from pyspark.ml.tuning import CrossValidator

from trackmllib.guard import attempt
from trackmllib.spark.choice import choose_without
from trackmllib.spark.components import set_values, uid_of, values


def average_and_deviation(scores: Sequence[Any], candidates: int) -> tuple[Any, Any]:
    """Average and standard deviation over the folds of one of ``candidates`` candidates.

    Spark averages a table of folds x candidates along its first axis. How numpy adds up a column
    depends on whether the table has one column or several, never on how many.
    """
    columns = 1 if candidates == 1 else 2
    # What numpy has to say of scores that are not finite, it says in Spark's own call.
    with np.errstate(invalid="ignore"):
        averages, deviations = CrossValidator._gen_avg_and_std_metrics(
            [[score] * columns for score in scores]
        )
    return averages[0], deviations[0]


def winner(scores: Sequence[Any], larger_is_better: bool, cannot_win: Collection[int] = ()) -> int:
    """Index of the best score as ``_fit`` chooses it; of equal ones the first, and NaN wins. But
    for those that cannot win.
    """
    return int(choose_without(np.argmax if larger_is_better else np.argmin, scores, cannot_win))


def winner_of_model(
    model: Any, estimator: Any, maps: Sequence[Mapping[Any, Any]], expected: int
) -> int | None:
    """Which candidate a model is of: the expected one, unless the model's own params deny it.

    Then the only one that they do not deny; None if that is not one.
    """
    params = dict(_fitted_params(estimator, getattr(model, "bestModel", None)))

    def denied(index: int) -> bool:
        for param, value in maps[index].items():
            found = params.get(param.parent, {})
            if param.name in found and not _equal(found[param.name], value):
                return True
        return False

    if not denied(expected):
        return expected
    left = [index for index in range(len(maps)) if not denied(index)]
    return left[0] if len(left) == 1 else None


def _fitted_params(estimator: Any, model: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The params of a model by name, under the uid of the estimator that it comes from."""
    if not isinstance(estimator, Params) or not isinstance(model, Params):
        return
    uid = uid_of(estimator)
    if uid is not None:
        yield uid, {param.name: value for param, value in values(model).items()}
    stages = next((v for p, v in set_values(estimator).items() if p.name == "stages"), ())
    for stage, fitted in zip(stages, getattr(model, "stages", ()), strict=False):
        yield from _fitted_params(stage, fitted)


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are equal; what cannot be compared is taken for equal."""
    return attempt(lambda: bool(one == other), True)


def results_of(
    model: Any, averaged: bool
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Averages and deviations as they stand on the model; None for what it does not have."""

    def read(name: str) -> tuple[float, ...] | None:
        return tuple(float(score) for score in getattr(model, name)) or None

    def doubles(name: str) -> tuple[float, ...] | None:
        return attempt(lambda: read(name), None)

    if averaged:
        return doubles("avgMetrics"), doubles("stdMetrics")
    return doubles("validationMetrics"), None
