"""The workspace of MLflow that calls go to: the one that holds now, or that of a search.

Newer versions of MLflow 3 have workspaces, and a server that was started with them. Older ones have
none, and nothing here does anything.
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
    """The workspace that holds in this thread; None if none is set."""
    return None if _mlflow is None else _mlflow.get_request_workspace()


def are_one(one: str | None, other: str | None) -> bool:
    """Whether two workspaces are the same on a server: where none is set, MLflow's default is."""
    return (one or DEFAULT) == (other or DEFAULT)


@contextmanager
def in_workspace(name: str | None) -> Iterator[None]:
    """Calls of this thread go to this workspace, and with None to none.

    MLflow's own context changes the environment, and with it the calls of all threads.
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
    """Whether the environment says nothing to the calls of this thread."""
    return bool(getattr(_here, "settled", False))
