"""Reads a tuner, and describes its search in plain data.

Reads only Python attributes of the user's objects: no Spark job, nothing is written on them. A
tuner that is not complete (no estimator, no evaluator, no grid) is described as far as it goes, so
that Spark's own error about it is recorded too.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from functools import partial
from typing import Any

import pyspark
from pyspark.ml.param import Param, Params
from pyspark.ml.tuning import TrainValidationSplit

from trackmllib.events import (
    Candidate,
    Component,
    GridSetting,
    ParamSetting,
    SearchDescription,
    Value,
)
from trackmllib.guard import attempt
from trackmllib.redaction import HIDDEN, Hides, looks_secret
from trackmllib.spark.components import defaults, set_values, uid_of, values
from trackmllib.spark.dataset import describe_dataset
from trackmllib.spark.pages import pages
from trackmllib.spark.values import plain
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
    """What ``tuner.fit(dataset)`` will search; ``maps`` where its grid is not the tuner's own.

    Values of params whose name ``hides`` says yes to are replaced here, at the only place where
    they are read.
    """
    describe = partial(describe_component, hides=hides)
    if maps is None:
        maps = _value(tuner, "estimatorParamMaps")
    estimator = _value(tuner, "estimator")
    evaluator = _value(tuner, "evaluator")
    is_split = isinstance(tuner, TrainValidationSplit)
    page, page_in_history = pages(dataset, history_server)
    return SearchDescription(
        tuner=describe(tuner),
        estimator=describe(estimator) if isinstance(estimator, Params) else None,
        evaluator=describe(evaluator) if isinstance(evaluator, Params) else None,
        metric=_metric_name(evaluator),
        larger_is_better=_larger_is_better(evaluator),
        averaged=not is_split,
        folds=1 if is_split else int(_value(tuner, "numFolds") or 0),
        candidates=_candidates(estimator, maps, hides),
        schema=_schema(dataset),
        versions=(
            ("version", __version__),
            ("spark_version", pyspark.__version__),
            ("python_version", platform.python_version()),
        ),
        application_id=_application_id(dataset),
        dataset=describe_dataset(dataset) if with_dataset else None,
        page=page,
        page_in_history=page_in_history,
    )


def describe_component(component: Params, hides: Hides = looks_secret) -> Component:
    """A component with all its params; stages and grids stand in fields of their own."""
    cls = type(component)
    return Component(
        class_name=cls.__name__,
        module=cls.__module__,
        uid=uid_of(component) or "",
        params=tuple(
            _setting(component, param, value, hides)
            for param, value in sorted(values(component).items(), key=lambda item: item[0].name)
            if param.name not in ("stages", "estimatorParamMaps")
        ),
        stages=tuple(describe_component(stage, hides) for stage in _stages(component)),
    )


def _setting(component: Params, param: Param[Any], value: Any, hides: Hides) -> ParamSetting:
    shown = _shown(param.name, value, hides)
    is_default = param not in set_values(component)
    if not is_default and param in defaults(component):
        is_default = _shown(param.name, defaults(component)[param], lambda _: False) == (
            _shown(param.name, value, lambda _: False)
        )
    return ParamSetting(name=param.name, value=shown, is_default=is_default)


def _shown(name: str, value: Any, hides: Hides) -> Value:
    if value is not None and hides(name):
        return Value(text=HIDDEN, data=HIDDEN)
    return plain(value, partial(describe_component, hides=hides), hides)


def _value(component: Any, name: str) -> Any:
    """The value of a param, or None where it has none."""
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

    def setting(param: Any, value: Any) -> GridSetting:
        # A grid of thousands of candidates repeats a few values, some of them whole pipelines.
        name = str(getattr(param, "name", param))
        key = (id(value), hides(name))
        if key not in seen:
            seen[key] = _shown(name, value, hides)
        uid = str(getattr(param, "parent", ""))
        owner_class, position = owners.get(uid, (uid.rpartition("_")[0] or uid, None))
        return GridSetting(
            name=name,
            owner=uid,
            owner_class=owner_class,
            owner_position=position,
            value=seen[key],
        )

    return tuple(
        Candidate(index=index, settings=tuple(setting(p, v) for p, v in entry.items()))
        for index, entry in enumerate(maps)
    )


def _owners(value: Any, position: str = "") -> Iterator[tuple[str, tuple[str, str | None]]]:
    """Class and position of every component in a value, by uid: (uid, (class, position))."""
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


def _metric_name(evaluator: Any) -> str:
    if evaluator is None:
        return "metric"
    return attempt(lambda: str(evaluator.getMetricName()), type(evaluator).__name__)


def _larger_is_better(evaluator: Any) -> bool | None:
    return attempt(lambda: bool(evaluator.isLargerBetter()), None)


def _schema(dataset: Any) -> tuple[tuple[str, str], ...]:
    return attempt(lambda: tuple((str(name), str(kind)) for name, kind in dataset.dtypes), ())


def _application_id(dataset: Any) -> str | None:
    return attempt(lambda: str(dataset.sparkSession.sparkContext.applicationId), None)
