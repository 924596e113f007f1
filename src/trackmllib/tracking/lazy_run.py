"""An active run of MLflow's whose id is asked for only when somebody needs it.

MLflow takes the id of the active run at the first call that logs something. So a run can be active
before the server has made it, and who logs nothing never waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.tracking import fluent
from mlflow.utils.time import get_current_time_millis

from trackmllib.tracking.client import set_status


class Found(NamedTuple):
    """The id of a run, None if it will never be; ``settled``: it will not be another one later."""

    run_id: str | None
    settled: bool


class LazyRun(mlflow.ActiveRun):  # type: ignore[misc]
    """The run that ``find`` finds, once somebody in its thread asks for it.

    If it will never be, one is started in its place, as MLflow would have done without us. ``fold``
    is the step of metrics that are logged without one. ``ended``: the user's code wanted it to end.
    """

    def __init__(self, find: Callable[[], Found], fold: int | None) -> None:
        # Not the one of ActiveRun, which wants to know all of this now.
        self.fold = fold
        self.ended = False
        self._find = find
        self._thread = threading.get_ident()
        self._run: Any = None
        self._settled = False
        self._instead: Any = None

    @property
    def info(self) -> Any:
        if threading.get_ident() != self._thread and not self._settled:
            return _SeenFromElsewhere(self)
        return self.found().info

    @property
    def data(self) -> Any:
        return self.found().data

    @property
    def inputs(self) -> Any:
        return self.found().inputs

    @property
    def outputs(self) -> Any:
        return getattr(self.found(), "outputs", None)

    def close(self) -> None:
        """Nobody needs it any more: what was started in its place is ended."""
        if self._instead is not None:
            end_now(self._instead)

    def found(self) -> Any:
        """The run; waits until the server has made it."""
        if self._instead is not None or self._settled:
            return self._instead or self._run
        run_id, settled = self._find()
        if run_id is None:
            if threading.get_ident() != self._thread:
                raise MlflowException("the run of this cell is not on the tracking server")
            self._instead = _start_run()
            return self._instead
        if self._run is None or self._run.info.run_id != run_id:
            self._run = MlflowClient().get_run(run_id)
        self._settled = settled
        return self._run


class _SeenFromElsewhere:
    """What another thread sees of a run that is not known yet.

    MLflow looks through the runs of all threads for the one that was started last: this one was
    not, and nobody waits for it there.
    """

    start_time = -1

    def __init__(self, run: LazyRun) -> None:
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run.found().info, name)


def active_runs() -> list[Any]:
    """MLflow's stack of the active runs of this thread, the last one on top."""
    runs: list[Any] = fluent._active_run_stack.get()
    return runs


def end_now(run: Any) -> None:
    """End a run that nobody else will end, without the two lines that MLflow prints."""
    set_status(MlflowClient(), run.info.run_id, "FINISHED", get_current_time_millis())


def _start_run() -> Any:
    """What MLflow would start in this thread if nothing were active; it does not stay active."""
    runs = active_runs()
    before = list(runs)
    runs.clear()
    try:
        # It ends without the thread that MLflow would measure the machine in.
        return fluent.start_run(log_system_metrics=False)
    finally:
        runs[:] = before
