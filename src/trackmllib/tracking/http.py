"""Calls of ours: tried once, where MLflow tries for minutes, and without what it asks each time.

MLflow tries a request seven times, for minutes, inside of the call. Delivery has its own way of
waiting, which holds up no other search; under it a request is tried once. Calls of everybody else
are made as MLflow makes them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
    _EnvironmentVariable,
)
from mlflow.tracking.request_header.databricks_request_header_provider import (
    DatabricksRequestHeaderProvider,
)

from trackmllib.patching import Patch

TIMEOUT_SECONDS = 30

_here = threading.local()
_lock = threading.Lock()
_inside = 0
_elsewhere = False


@contextmanager
def tried_once(timeout_seconds: int = TIMEOUT_SECONDS) -> Iterator[None]:
    """In this thread, MLflow tries each HTTP request once, and waits so long for the answer, or as
    long as the user has set by ``MLFLOW_HTTP_REQUEST_TIMEOUT``.
    """
    global _inside
    before = getattr(_here, "timeout", None)
    with _lock:
        _inside += 1
        for patch in _patches:
            patch.install()
    _here.timeout = timeout_seconds
    try:
        yield
    finally:
        _here.timeout = before
        with _lock:
            _inside -= 1
            if _inside == 0:
                for patch in _patches:
                    patch.uninstall()


def _get(original: Any, variable: Any) -> Any:
    timeout = getattr(_here, "timeout", None)
    if timeout is not None:
        if variable.name == MLFLOW_HTTP_REQUEST_MAX_RETRIES.name:
            return 0
        if variable.name == MLFLOW_HTTP_REQUEST_TIMEOUT.name and not variable.is_set():
            return timeout
    return original(variable)


def _in_context(original: Any, provider: Any) -> Any:
    """Whether this is Databricks. MLflow finds out at each request, by five imports that fail
    anywhere else: a third of what a request costs us.
    """
    global _elsewhere
    if getattr(_here, "timeout", None) is None or "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return original(provider)
    _elsewhere = _elsewhere or not original(provider)
    return not _elsewhere


# MLflow asks for all of it at each request, and offers no way to say it for one client.
_patches = (
    Patch(_EnvironmentVariable, "get", _get),
    Patch(DatabricksRequestHeaderProvider, "in_context", _in_context),
)
