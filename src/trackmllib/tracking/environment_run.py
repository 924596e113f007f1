"""The run that the environment variable ``MLFLOW_RUN_ID`` names.

``mlflow.start_run()`` logs to that run once, and deletes the variable. One search logs to it, too,
but does not change the environment: this module records which runs searches have claimed.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager, nullcontext

from mlflow.environment_variables import MLFLOW_RUN_ID

from trackmllib.tracking.thread_env import overridden

_claimed: set[str] = set()
_lock = threading.Lock()


def run_id(*, claim: bool) -> str | None:
    """The run that the variable names; None if a search has claimed it."""
    with _lock:
        named = os.environ.get(MLFLOW_RUN_ID.name) or None
        if named is None or named in _claimed:
            return None
        if claim:
            _claimed.add(named)
        return named


def claimed_run_hidden() -> AbstractContextManager[None]:
    """Hide a claimed run from ``start_run()`` in this thread.

    A call within that search would resume its parent run, and end it.
    """
    if os.environ.get(MLFLOW_RUN_ID.name) in _claimed:
        return overridden({MLFLOW_RUN_ID.name: None})
    return nullcontext()
