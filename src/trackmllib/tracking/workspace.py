"""MLflow workspace of a call: the current one, or that of a search.

Newer versions of MLflow 3 have workspaces, if the server was started with them. With older versions
these functions do nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trackmllib.tracking.thread_env import overridden

try:
    from mlflow.utils import workspace_context as _mlflow
except ImportError:
    _mlflow: Any = None  # type: ignore[no-redef]

VARIABLE = "MLFLOW_WORKSPACE"
DEFAULT = "default"


def current() -> str | None:
    """The current workspace of this thread; None if none is set."""
    return None if _mlflow is None else _mlflow.get_request_workspace()


def same_workspace(one: str | None, other: str | None) -> bool:
    """Whether two names mean the same workspace; None means the default."""
    return (one or DEFAULT) == (other or DEFAULT)


@contextmanager
def in_workspace(name: str | None) -> Iterator[None]:
    """Send the calls of the block to a workspace, or for None to none.

    MLflow's own context manager changes the environment, and so the calls of all threads.
    """
    if _mlflow is None:
        yield
        return
    token = _mlflow._WORKSPACE.set(name)
    try:
        with overridden({VARIABLE: None}):
            yield
    finally:
        _mlflow._WORKSPACE.reset(token)
