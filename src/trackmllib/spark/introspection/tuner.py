"""Description of a tuner's search as plain data.

Reads only Python attributes, and starts no Spark job. A tuner without an estimator, an evaluator or
a grid can be described too, so that Spark's error about it is recorded.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from functools import partial
from typing import Any

import pyspark
from pyspark.ml.param import Param, Params
from pyspark.ml.tuning import TrainValidationSplit

from trackmllib.domain.descriptions import (
    Candidate,
    Component,
    GridParam,
    ParamValue,
    SearchDescription,
    Value,
)
from trackmllib.spark.introspection.components import defaults, set_values, uid_of, values
from trackmllib.spark.introspection.dataset import describe_columns, describe_dataset
from trackmllib.spark.introspection.values import describe_value
from trackmllib.spark.job_metrics.ui_links import ui_links
from trackmllib.support.guard import attempt
from trackmllib.support.redaction import HIDDEN, Hides, looks_secret
from trackmllib.version import __version__


def describe_search(
    tuner: Params,
    dataset: Any,
    maps: Any = None,
    hides: Hides = looks_secret,
    *,
    with_dataset: bool = False,
    history_server: str | None = None,
) -> SearchDescription:
    """Describe the search of ``tuner.fit(dataset)``.

    :param maps: The grid, if it is not the tuner's own.
    :param hides: Whether the param of this name is secret. Secret values are redacted here, the
        only place that reads them.
    :param with_dataset: Whether to describe the data.
    :param history_server: Address of the history server, if it is not in YARN's conf.
    """
    describe = partial(describe_component, hides=hides)
    if maps is None:
        maps = _value(tuner, "estimatorParamMaps")
    estimator = _value(tuner, "estimator")
    evaluator = _value(tuner, "evaluator")
    is_split = isinstance(tuner, TrainValidationSplit)
    ui_url, history_url = ui_links(dataset, history_server)
    return SearchDescription(
        tuner=describe(tuner),
        estimator=describe(estimator) if isinstance(estimator, Params) else None,
        evaluator=describe(evaluator) if isinstance(evaluator, Params) else None,
        metric=metric_name(evaluator),
        larger_is_better=attempt(lambda: bool(evaluator.isLargerBetter()), None),
        averaged=not is_split,
        folds=1 if is_split else int(_value(tuner, "numFolds") or 0),
        candidates=_candidates(estimator, maps, hides),
        schema=describe_columns(dataset),
        versions=(
            ("version", __version__),
            ("spark_version", pyspark.__version__),
            ("python_version", platform.python_version()),
        ),
        application_id=attempt(lambda: str(dataset.sparkSession.sparkContext.applicationId), None),
        dataset=describe_dataset(dataset) if with_dataset else None,
        spark_ui_url=ui_url,
        spark_history_url=history_url,
    )


def describe_component(component: Params, hides: Hides = looks_secret) -> Component:
    """Describe a component with its params and stages, without its grid."""
    cls = type(component)
    return Component(
        class_name=cls.__name__,
        module=cls.__module__,
        uid=uid_of(component) or "",
        params=tuple(
            _param(component, param, value, hides)
            for param, value in sorted(values(component).items(), key=lambda item: item[0].name)
            if param.name not in ("stages", "estimatorParamMaps")
        ),
        stages=tuple(describe_component(stage, hides) for stage in _stages(component)),
    )


def _param(component: Params, param: Param[Any], value: Any, hides: Hides) -> ParamValue:
    shown = _describe_value(param.name, value, hides)
    is_default = param not in set_values(component)
    if not is_default and param in defaults(component):
        is_default = _describe_value(param.name, defaults(component)[param], lambda _: False) == (
            _describe_value(param.name, value, lambda _: False)
        )
    return ParamValue(name=param.name, value=shown, is_default=is_default)


def _describe_value(name: str, value: Any, hides: Hides) -> Value:
    if value is not None and hides(name):
        return Value(text=HIDDEN, data=HIDDEN)
    return describe_value(value, partial(describe_component, hides=hides), hides)


def _value(component: Any, name: str) -> Any:
    """Value of a param; None if it has none."""
    if not isinstance(component, Params):
        return None
    return next((v for param, v in values(component).items() if param.name == name), None)


def _stages(component: Params) -> list[Params]:
    stages = _value(component, "stages")
    if not isinstance(stages, (list, tuple)):
        return []
    return [stage for stage in stages if isinstance(stage, Params)]


def _candidates(estimator: Any, maps: Any, hides: Hides) -> tuple[Candidate, ...]:
    if not isinstance(maps, (list, tuple)):
        return ()
    maps = [entry if isinstance(entry, dict) else {} for entry in maps]
    owners = dict(_owners(estimator))
    for entry in maps:
        for value in entry.values():
            for uid, owner in _owners(value):
                owners.setdefault(uid, owner)
    seen: dict[tuple[int, bool], Value] = {}

    def grid_param(param: Any, value: Any) -> GridParam:
        # Thousands of candidates may share a few values, such as whole pipelines.
        name = str(getattr(param, "name", param))
        key = (id(value), hides(name))
        if key not in seen:
            seen[key] = _describe_value(name, value, hides)
        uid = str(getattr(param, "parent", ""))
        owner_class, position = owners.get(uid, (uid.rpartition("_")[0] or uid, None))
        return GridParam(
            name=name,
            owner=uid,
            owner_class=owner_class,
            owner_position=position,
            value=seen[key],
        )

    return tuple(
        Candidate(index=index, params=tuple(grid_param(p, v) for p, v in entry.items()))
        for index, entry in enumerate(maps)
    )


def _owners(value: Any, position: str = "") -> Iterator[tuple[str, tuple[str, str | None]]]:
    """Yield each component in a value as (uid, (class, position))."""
    if isinstance(value, Params):
        uid = uid_of(value)
        if uid is not None:
            yield uid, (type(value).__name__, position or None)
        stages = _stages(value)
        yield from _owners_of(stages, position)
        for param, inner in values(value).items():
            if param.name not in ("stages", "estimatorParamMaps"):
                yield from _owners(inner, position)
    elif isinstance(value, (list, tuple)) and any(isinstance(item, Params) for item in value):
        yield from _owners_of(value, position)


def _owners_of(stages: Any, position: str) -> Iterator[tuple[str, tuple[str, str | None]]]:
    for index, stage in enumerate(stages):
        yield from _owners(stage, f"{position}.{index}" if position else str(index))


def metric_name(evaluator: Any) -> str:
    """The evaluator's name of its metric, or else its class name."""
    if evaluator is None:
        return "metric"
    return attempt(lambda: str(evaluator.getMetricName()), type(evaluator).__name__)
