"""Uids, params and nested components.

A component whose ``__init__`` does not call that of Params has no uid and no params. Spark fits it
all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pyspark.ml.param import Param, Params


def uid_of(component: Any) -> str | None:
    """Return the uid of a component; None if it has none."""
    uid = getattr(component, "uid", None)
    return uid if isinstance(uid, str) else None


def owns(component: Any, param: Any) -> bool:
    """Whether a param belongs to this component."""
    uid = uid_of(component)
    return uid is not None and getattr(param, "parent", None) == uid


def set_values(component: Params) -> Mapping[Param[Any], Any]:
    """Return the params that are set, with their values."""
    return getattr(component, "_paramMap", None) or {}


def defaults(component: Params) -> Mapping[Param[Any], Any]:
    """Return the defaults of params."""
    return getattr(component, "_defaultParamMap", None) or {}


def values(component: Params) -> dict[Param[Any], Any]:
    """Return the params that are set or have a default, with their values.

    Unlike ``extractParamMap``, this does not raise for a param whose name is not that of its
    attribute, which other libraries have.
    """
    return {**defaults(component), **set_values(component)}


def nested_components(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all components in a component or a list, each with its place.

    A place is a path of param names and indices, such as ``stages.1``; that of the outermost
    component is ``place``, or ``estimator``.
    """
    if isinstance(value, Params):
        yield place or "estimator", value
        for param, inner in values(value).items():
            if param.name != "estimatorParamMaps":
                yield from nested_components(inner, f"{place}.{param.name}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for at, inner in enumerate(value):
            yield from nested_components(inner, f"{place}.{at}")
