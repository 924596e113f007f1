"""Rule for gradient-boosted trees (``maxIter``).

Each iteration adds a tree and never changes an earlier one, so a model of fewer iterations has the
first trees of the larger one. With a validation column, Spark keeps the trees up to the best
iteration. Later iterations may decide which one that is: with ``validationTol=0``, or if the error
of an iteration is not a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trackmllib.spark.middleware.nested_fits.base import Rule
from trackmllib.spark.middleware.nested_fits.java import nested_models


class BoostingIterations(Rule):
    """The trees of ``GBTClassifier`` or ``GBTRegressor``."""

    params = ("maxIter",)

    def __init__(self, method: str) -> None:
        self._method = method

    def why_not(self, values: Mapping[str, Any]) -> str | None:
        if "validationIndicatorCol" in values:
            return "with a validation column, later iterations may decide which trees Spark keeps"
        return None

    def size(self, values: Mapping[str, Any]) -> Any:
        return values["maxIter"]

    def derived_java(self, large: Any, estimator: Any, session: Any) -> Any:
        derive = getattr(nested_models(session), self._method)
        return derive(large, estimator.uid, estimator.getMaxIter())
