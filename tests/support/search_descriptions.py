"""Descriptions of searches that never ran, and their parts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from trackmllib.domain.descriptions import (
    Candidate,
    Component,
    GridParam,
    ParamValue,
    SearchDescription,
    Value,
)

FOLDS = 3


def value(data: Any) -> Value:
    if isinstance(data, Value):
        return data
    return Value(text=str(data), data=data)


def component(name: str, *params: ParamValue) -> Component:
    return Component(class_name=name, module="pyspark.ml", uid=f"{name}_1", params=params)


def stage(name: str, uid: str = "1") -> Value:
    """A stage as the value of a param."""
    made = Component(class_name=name, module="m", uid=f"{name}_{uid}")
    return Value(text=made.text, data=made.to_json())


def grid_param(
    name: str, data: Any, *, owner: str = "DecisionTreeClassifier", position: str | None = "1"
) -> GridParam:
    """A param in the grid, of a stage at this position of the pipeline."""
    uid = "stage_1" if owner == "Stage" else f"{owner}_1"
    return GridParam(
        name=name,
        owner=uid,
        owner_class=owner,
        owner_position=position,
        value=value(data),
    )


def grid(**values: Sequence[Any]) -> list[dict[str, Any]]:
    """The param maps of a full grid, in the order of Spark's ParamGridBuilder."""
    return [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]


def one_param(*values: Any, name: str = "maxDepth", **owner: Any) -> tuple[Candidate, ...]:
    """A candidate for each value of one param."""
    return tuple(
        Candidate(index=index, params=(grid_param(name, data, **owner),))
        for index, data in enumerate(values)
    )


def describe(
    candidates: int | Sequence[Candidate] = 3,
    folds: int = FOLDS,
    values: Sequence[str] = (),
    **changes: Any,
) -> SearchDescription:
    """A description of a search by a ``CrossValidator`` of a ``Pipeline``.

    :param candidates: The candidates, or how many there are.
    :param values: Texts of the one param of the grid, instead of ``candidates``.
    :param changes: Other fields; ``parallelism`` and ``trainRatio`` are params of the tuner.
    """
    given = {name: changes.pop(name, None) for name in ("parallelism", "trainRatio")}
    params = tuple(
        ParamValue(name=name, value=value(data), is_default=False)
        for name, data in given.items()
        if data is not None
    )
    if values:
        candidates = one_param(*values, name="value", owner="Stage", position=None)
    elif isinstance(candidates, int):
        candidates = tuple(
            Candidate(index=i, params=(grid_param("maxDepth", i), grid_param("maxBins", i % 32)))
            for i in range(candidates)
        )
    described: dict[str, Any] = {
        "tuner": component("CrossValidator", *params),
        "estimator": component("Pipeline"),
        "evaluator": component("MulticlassClassificationEvaluator"),
        "metric": "weightedPrecision",
        "larger_is_better": True,
        "averaged": True,
        "folds": folds,
        "candidates": tuple(candidates),
        "schema": (("features", "vector"), ("label", "double")),
        "versions": (("version", "0"),),
        "application_id": None,
    }
    return SearchDescription(**{**described, **changes})
