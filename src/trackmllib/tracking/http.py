"""Short retries for the calls of ours, and MLflow's own for everybody else's.

MLflow tries a request seven times, for minutes, inside of the call. Delivery has its own way of
waiting, which holds up no other search; under it a request is tried once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
    _EnvironmentVariable,
)

from trackmllib.patching import Patch

TIMEOUT_SECONDS = 30

_here = threading.local()
_lock = threading.Lock()
_inside = 0


@contextmanager
def tried_once(timeout_seconds: int = TIMEOUT_SECONDS) -> Iterator[None]:
    """In this thread, MLflow tries each HTTP request once, and waits so long for the answer, or as
    long as the user has set by ``MLFLOW_HTTP_REQUEST_TIMEOUT``.
    """
    global _inside
    before = getattr(_here, "timeout", None)
    with _lock:
        _inside += 1
        _patch.install()
    _here.timeout = timeout_seconds
    try:
        yield
    finally:
        _here.timeout = before
        with _lock:
            _inside -= 1
            if _inside == 0:
                _patch.uninstall()


def _get(original: Any, variable: Any) -> Any:
    timeout = getattr(_here, "timeout", None)
    if timeout is not None:
        if variable.name == MLFLOW_HTTP_REQUEST_MAX_RETRIES.name:
            return 0
        if variable.name == MLFLOW_HTTP_REQUEST_TIMEOUT.name and not variable.is_set():
            return timeout
    return original(variable)


# MLflow asks for both at each request, and offers no way to say them for one client.
_patch = Patch(_EnvironmentVariable, "get", _get)
