"""Uid and params of a component, if it has them.

Spark also fits components whose ``__init__`` does not call that of Params; these have neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.ml.param import Param, Params


def uid_of(component: Any) -> str | None:
    """The uid of a component; None if it has none."""
    uid = getattr(component, "uid", None)
    return uid if isinstance(uid, str) else None


def owns(component: Any, param: Any) -> bool:
    """Whether a param belongs to this component."""
    uid = uid_of(component)
    return uid is not None and getattr(param, "parent", None) == uid


def set_values(component: Params) -> Mapping[Param[Any], Any]:
    """The params that are set, with their values."""
    return getattr(component, "_paramMap", None) or {}


def defaults(component: Params) -> Mapping[Param[Any], Any]:
    """The params that have a default, with it."""
    return getattr(component, "_defaultParamMap", None) or {}


def values(component: Params) -> dict[Param[Any], Any]:
    """The params with a value, set or default.

    Not ``extractParamMap``, which checks that each param belongs to the component, and raises for
    params of other libraries whose name is not that of their attribute.
    """
    return {**defaults(component), **set_values(component)}
