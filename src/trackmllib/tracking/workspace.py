"""MLflow workspace of a call: the current one, or that of a search.

Newer versions of MLflow 3 have workspaces, if the server was started with them. In older versions
these functions do nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

try:
    from mlflow.utils import workspace_context as _mlflow
except ImportError:
    _mlflow: Any = None  # type: ignore[no-redef]

VARIABLE = "MLFLOW_WORKSPACE"
DEFAULT = "default"

_here = threading.local()


def current() -> str | None:
    """The current workspace of this thread; None if none is set."""
    return None if _mlflow is None else _mlflow.get_request_workspace()


def are_one(one: str | None, other: str | None) -> bool:
    """Whether two workspaces are the same; None is MLflow's default workspace."""
    return (one or DEFAULT) == (other or DEFAULT)


@contextmanager
def in_workspace(name: str | None) -> Iterator[None]:
    """Direct the calls of this thread to a workspace, or with None to no workspace.

    MLflow's own context manager changes the environment, and so the calls of all threads.
    """
    if _mlflow is None:
        yield
        return
    token = _mlflow._WORKSPACE.set(name)
    before, _here.settled = is_settled(), True
    try:
        yield
    finally:
        _here.settled = before
        _mlflow._WORKSPACE.reset(token)


def is_settled() -> bool:
    """Whether ``in_workspace`` holds in this thread, and not the environment."""
    return bool(getattr(_here, "settled", False))
