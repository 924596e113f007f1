"""The uid and the params of a component, as far as it has them.

Spark also fits components whose ``__init__`` does not call that of Params: they have neither.
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
    """Whether a param is one of this component."""
    uid = uid_of(component)
    return uid is not None and getattr(param, "parent", None) == uid


def set_values(component: Params) -> Mapping[Param[Any], Any]:
    """The params that are set."""
    return getattr(component, "_paramMap", None) or {}


def defaults(component: Params) -> Mapping[Param[Any], Any]:
    """The params that have a default."""
    return getattr(component, "_defaultParamMap", None) or {}


def values(component: Params) -> dict[Param[Any], Any]:
    """The params that have a value, set or default.

    Not ``extractParamMap``, which asks whether each param belongs to the component, and raises for
    params of other libraries that are not named like their attribute.
    """
    return {**defaults(component), **set_values(component)}
