"""Inherited methods of estimators and tuners; models as pipelines."""

from __future__ import annotations

from typing import Any

from pyspark.ml import Estimator, PipelineModel, Transformer
from pyspark.ml.param import Params


def fits_in_any_order(estimator: Any) -> bool:
    """Whether an estimator fits candidates one by one, in any order.

    An estimator with its own ``fitMultiple`` does not.
    """
    method = getattr(type(estimator), "fitMultiple", None)
    return method is Estimator.fitMultiple or getattr(type(estimator), "fits_in_any_order", False)


def has_spark_method(owner: Any, name: str) -> bool:
    """Whether an object has Spark's own method of this name, or none."""
    definer = next((each for each in type(owner).__mro__ if name in vars(each)), Params)
    return definer.__module__.startswith("pyspark.ml.")


def as_pipeline(model: Any) -> Any:
    """A model as the pipeline that MLflow's Spark flavor loads.

    Models of ``pyspark.ml.connect`` are other classes, which MLflow loads as they are.
    """
    if isinstance(model, Transformer) and not isinstance(model, PipelineModel):
        return PipelineModel([model])
    return model
