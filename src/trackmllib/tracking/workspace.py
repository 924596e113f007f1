"""The workspace of MLflow that calls go to: the one that holds now, or that of a search.

MLflow has workspaces since 3.10; a server has them if it was started so. Before, there is none.
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

_here = threading.local()


def current() -> str | None:
    """The workspace that holds in this thread; None if none is set."""
    return None if _mlflow is None else _mlflow.get_request_workspace()


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
    """Whether MLFLOW_WORKSPACE says nothing to the calls of this thread."""
    return bool(getattr(_here, "settled", False))
