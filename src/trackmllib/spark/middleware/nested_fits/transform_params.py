"""Rule for params that only ``transform`` reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.ml.param import Params

from trackmllib.spark.middleware.nested_fits.base import Rule


class TransformParams(Rule):
    """Derives models that differ only in their params from one fit."""

    needs_jvm = False

    def __init__(self, *params: str, unless_set: str = "", has_summary: bool = False) -> None:
        self.params = params
        self.has_summary = has_summary
        self._unless_set = unless_set

    def why_not(self, values: Mapping[str, Any]) -> str | None:
        if self._unless_set in values:
            return f"{self._unless_set} is set, and fit() checks {self.params[0]} against it"
        if "min" in self.params and not values["min"] < values["max"]:
            return "min is not less than max"
        return None

    def size(self, values: Mapping[str, Any]) -> Any:
        return 0

    def estimator_to_fit(self, estimator: Any) -> Any:
        estimator = estimator.copy()
        # Otherwise, a candidate without the param would inherit the value of the largest one.
        for name in self.params:
            param = estimator.getParam(name)
            estimator.clear(param)
            # On Spark Connect, clear() of Spark's estimators does nothing.
            Params.clear(estimator, param)
        return estimator

    def derive(self, large: Any, estimator: Any, data: Any) -> Any:
        if hasattr(data, "_jdf"):
            return super().derive(large, estimator, data)
        # On Spark Connect, as Spark's own copy() of a model.
        large._java_obj.add_ref()
        model = estimator._create_model(large._java_obj)
        model._resetUid(estimator.uid)
        return estimator._copyValues(model)

    def derived_java(self, large: Any, estimator: Any, session: Any) -> Any:
        return large.copy(session._jvm.org.apache.spark.ml.param.ParamMap())
