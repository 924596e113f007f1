"""Active run of MLflow whose id is looked up when a call needs it.

MLflow reads the id of the active run at the first call that logs something. So a run can be active
before the server has created it, and code that logs nothing never waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from mlflow.tracking import fluent
from mlflow.utils.time import get_current_time_millis

from trackmllib.domain.operations import Destination
from trackmllib.tracking import workspace
from trackmllib.tracking.client import experiment_id, set_status
from trackmllib.tracking.environment_run import claimed_run_hidden
from trackmllib.tracking.http import single_attempt

# MLflow's error codes for an experiment that is not on the server.
_NO_EXPERIMENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class RunLookup(NamedTuple):
    """The id of a run, None if it will never exist; final if ``settled``."""

    run_id: str | None
    settled: bool


class ServerLocation(NamedTuple):
    """The server and the workspace that MLflow's calls go to."""

    tracking_uri: str
    workspace: str | None


def current_location() -> ServerLocation:
    """The location that MLflow's calls in this thread go to now."""
    return ServerLocation(mlflow.get_tracking_uri(), workspace.current())


class LazyRun(mlflow.ActiveRun):  # type: ignore[misc]
    """The run that ``find`` returns, looked up when its thread needs it.

    MLflow starts a substitute, as it would without trackmllib, if that run will never exist, and
    while MLflow's calls go to a location that is not the search's (``is_at``). ``fold`` is the step
    of metrics that are logged without one. ``ended``: the user's code has called ``end_run()``.
    """

    def __init__(
        self,
        find: Callable[[], RunLookup],
        fold: int | None,
        is_at: Callable[[ServerLocation], bool] = lambda _: True,
    ) -> None:
        # Not super().__init__(), which needs the run now.
        self.fold = fold
        self.ended = False
        self._find = find
        self._is_at = is_at
        self._thread = threading.get_ident()
        self._run: Any = None
        self._settled = False
        self._substitutes: dict[ServerLocation, Any] = {}
        # The locations of runs that the user's code has started, by id.
        self._started: dict[str, ServerLocation] = {}

    @property
    def info(self) -> Any:
        if threading.get_ident() != self._thread and not self._settled:
            return _InfoForOtherThread(self)
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

    def is_here(self) -> bool:
        """Whether MLflow's calls now go to the location of the search."""
        return self._is_at(current_location())

    def started(self, run: Any) -> None:
        """Record the location of a run that the user's code started, for ``end``."""
        self._started[run.info.run_id] = current_location()

    def end(self, run: Any) -> None:
        """End a run that the user's code has left open, where it was started."""
        end_now(run, self._started.get(run.info.run_id))

    def end_substitute(self, status: str = "FINISHED") -> None:
        """End the substitute at this location; the next call starts another."""
        location = current_location()
        run = self._substitutes.pop(location, None)
        if run is not None:
            end_now(run, location, status)

    def close(self) -> None:
        """End all substitutes."""
        with ExitStack() as stack:
            for location, run in self._substitutes.items():
                stack.callback(end_now, run, location)

    def found(self) -> Any:
        """The run; waits until the server has created it."""
        is_own_thread = threading.get_ident() == self._thread
        location = current_location()
        if not self._is_at(location) and is_own_thread:
            return self._substitute(location)
        if self._settled:
            return self._run
        if location in self._substitutes:
            return self._substitutes[location]
        run_id, settled = self._find()
        if location != current_location() and is_own_thread:
            # The user's code has switched to another server during the wait.
            return self.found()
        if run_id is None:
            if not is_own_thread:
                raise MlflowException("the run of this fit is not on the tracking server")
            return self._substitute(location)
        if self._run is None or self._run.info.run_id != run_id:
            self._run = _client(location).get_run(run_id)
        self._settled = settled
        return self._run

    def _substitute(self, location: ServerLocation) -> Any:
        if location not in self._substitutes:
            self._substitutes[location] = _start_run(is_here=self._is_at(location))
        return self._substitutes[location]


class _InfoForOtherThread:
    """What another thread sees of a run that does not exist yet.

    MLflow searches the runs of all threads for the one that was started last. This run never is,
    and the searching thread must not wait for its creation.
    """

    start_time = -1

    def __init__(self, run: LazyRun) -> None:
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run.found().info, name)


def active_runs() -> list[Any]:
    """MLflow's stack of the active runs of this thread, the innermost last."""
    runs: list[Any] = fluent._active_run_stack.get()
    return runs


def end_now(run: Any, location: ServerLocation | None = None, status: str = "FINISHED") -> None:
    """End a run that nothing else ends, without MLflow's two lines of output."""
    location = location or current_location()
    with single_attempt(), workspace.in_workspace(location.workspace):
        set_status(_client(location), run.info.run_id, status, get_current_time_millis())


def _client(location: ServerLocation) -> MlflowClient:
    return MlflowClient(tracking_uri=location.tracking_uri)


def start_elsewhere(start: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Start a run on a server other than that of the search.

    It is in the active experiment, or in ``Default`` if that server lacks the active one.
    """
    try:
        return start(*args, **kwargs)
    except MlflowException as error:
        given = [*args[:2], kwargs.get("run_id"), kwargs.get("experiment_id")]
        if error.error_code not in _NO_EXPERIMENT or any(each is not None for each in given):
            raise
        default = Destination(tracking_uri="", experiment_name=Experiment.DEFAULT_EXPERIMENT_NAME)
        kwargs["experiment_id"] = experiment_id(MlflowClient(), default)
        return start(*args[:1], **kwargs)


def _start_run(*, is_here: bool) -> Any:
    """Start a run as MLflow would without an active run; do not activate it."""
    runs = active_runs()
    before = list(runs)
    runs.clear()
    try:
        # No system metrics, because the thread that measures them would not end with the run.
        with claimed_run_hidden():
            if is_here:
                return fluent.start_run(log_system_metrics=False)
            return start_elsewhere(fluent.start_run, log_system_metrics=False)
    finally:
        runs[:] = before
