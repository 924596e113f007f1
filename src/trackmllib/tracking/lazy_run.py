"""An active run of MLflow's whose id is asked for only when somebody needs it.

MLflow takes the id of the active run at the first call that logs something. So a run can be active
before the server has made it, and who logs nothing never waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.tracking import fluent


class LazyRun(mlflow.ActiveRun):  # type: ignore[misc]
    """The run whose id ``find`` returns when it is there; None says that it will never be.

    Then one is started in its place, as MLflow would have done without us. ``fold`` is the step of
    metrics that are logged without one.
    """

    def __init__(self, find: Callable[[], str | None], fold: int | None) -> None:
        # Not the one of ActiveRun, which wants to know all of this now.
        self.fold = fold
        self._find = find
        self._run: Any = None
        self._instead: Any = None

    @property
    def info(self) -> Any:
        return self._found().info

    @property
    def data(self) -> Any:
        return self._found().data

    @property
    def inputs(self) -> Any:
        return self._found().inputs

    @property
    def outputs(self) -> Any:
        return getattr(self._found(), "outputs", None)

    def close(self) -> None:
        """Nobody needs it any more: what was started in its place is ended."""
        if self._instead is not None:
            MlflowClient().set_terminated(self._instead.info.run_id)

    def _found(self) -> Any:
        if self._instead is not None:
            return self._instead
        # Asked each time: it may be another one once the candidate is known.
        run_id = self._find()
        if run_id is None:
            self._instead = _start_run()
            return self._instead
        if self._run is None or self._run.info.run_id != run_id:
            self._run = MlflowClient().get_run(run_id)
        return self._run


def active_runs() -> list[Any]:
    """MLflow's stack of the active runs of this thread, the last one on top."""
    runs: list[Any] = fluent._active_run_stack.get()
    return runs


def _start_run() -> Any:
    """What MLflow would start in this thread if nothing were active; it does not stay active."""
    runs = active_runs()
    before = list(runs)
    runs.clear()
    try:
        return fluent.start_run()
    finally:
        runs[:] = before
