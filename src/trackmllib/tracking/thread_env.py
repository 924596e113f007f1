"""Values of MLflow's environment variables for the calls of one thread.

MLflow reads its variables at each call. A change of the environment would affect all threads and
the user's code.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mlflow.environment_variables import _EnvironmentVariable

from trackmllib.support.patching import Patch, SharedPatches

_thread = threading.local()


@contextmanager
def overridden(
    values: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Have MLflow read these values in this thread; None means unset.

    :param defaults: Values of variables that the environment may set instead.
    """
    before = _values(), _defaults()
    with _patches:
        _thread.values = {**before[0], **values}
        _thread.defaults = {**before[1], **(defaults or {})}
        try:
            yield
        finally:
            _thread.values, _thread.defaults = before


def _values() -> Mapping[str, Any]:
    values: Mapping[str, Any] = getattr(_thread, "values", {})
    return values


def _defaults() -> Mapping[str, Any]:
    defaults: Mapping[str, Any] = getattr(_thread, "defaults", {})
    return defaults


def _get(original: Any, variable: Any) -> Any:
    name, values, defaults = variable.name, _values(), _defaults()
    if name in values:
        return values[name]
    if name in defaults and not variable.is_set():
        return defaults[name]
    return original(variable)


_patches = SharedPatches([Patch(_EnvironmentVariable, "get", _get)])
