"""An active run of MLflow's whose id is asked for only when somebody needs it.

MLflow takes the id of the active run at the first call that logs something. So a run can be active
before the server has made it, and who logs nothing never waits.
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

from trackmllib.operations import Destination
from trackmllib.tracking import workspace
from trackmllib.tracking.client import experiment_id, set_status
from trackmllib.tracking.http import tried_once

# MLflow's error codes for an experiment that is not on the server.
_NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class Found(NamedTuple):
    """The id of a run, None if it will never be; ``settled``: it will not be another one later."""

    run_id: str | None
    settled: bool


class ServerPlace(NamedTuple):
    """The server and the workspace that MLflow's calls go to."""

    tracking_uri: str
    workspace: str | None


def current_place() -> ServerPlace:
    """The place that MLflow's calls in this thread go to now."""
    return ServerPlace(mlflow.get_tracking_uri(), workspace.current())


class LazyRun(mlflow.ActiveRun):  # type: ignore[misc]
    """The run that ``find`` returns, looked up when code in its thread needs it.

    If that run will never be made, MLflow starts another in its place, as it would without us. It
    does so too while MLflow's calls go to another place than that of the search; ``is_at`` tells.
    ``fold`` is the step of metrics that are logged without one. ``ended``: the user's code has
    called ``end_run()`` for it.
    """

    def __init__(
        self,
        find: Callable[[], Found],
        fold: int | None,
        is_at: Callable[[ServerPlace], bool] = lambda _: True,
    ) -> None:
        # Not the one of ActiveRun, which wants to know all of this now.
        self.fold = fold
        self.ended = False
        self._find = find
        self._is_at = is_at
        self._thread = threading.get_ident()
        self._run: Any = None
        self._settled = False
        # The runs that were started in its place, and the places of the user's own runs.
        self._instead: dict[ServerPlace, Any] = {}
        self._started: dict[str, ServerPlace] = {}

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

    def is_here(self) -> bool:
        """Whether MLflow's calls now go to the place of the search."""
        return self._is_at(current_place())

    def started(self, run: Any) -> None:
        """Note the place of a run that the user's code has started, for ``end``."""
        self._started[run.info.run_id] = current_place()

    def end(self, run: Any) -> None:
        """End a run that the user's code has left open, in the place where it was started."""
        end_now(run, self._started.get(run.info.run_id))

    def end_instead(self, status: str = "FINISHED") -> None:
        """End the run that stands in for it at the current place; the next call starts another."""
        place = current_place()
        run = self._instead.pop(place, None)
        if run is not None:
            end_now(run, place, status)

    def close(self) -> None:
        """End all runs that were started in its place."""
        with ExitStack() as all_of_them:
            for place, run in self._instead.items():
                all_of_them.callback(end_now, run, place)

    def found(self) -> Any:
        """The run; waits until the server has made it."""
        is_mine = threading.get_ident() == self._thread
        place = current_place()
        if not self._is_at(place) and is_mine:
            return self._in_place_of_it(place)
        if self._settled:
            return self._run
        if place in self._instead:
            return self._instead[place]
        run_id, settled = self._find()
        if place != current_place() and is_mine:
            # The user's code has switched to another place during the wait.
            return self.found()
        if run_id is None:
            if not is_mine:
                raise MlflowException("the run of this cell is not on the tracking server")
            return self._in_place_of_it(place)
        if self._run is None or self._run.info.run_id != run_id:
            self._run = _client(place).get_run(run_id)
        self._settled = settled
        return self._run

    def _in_place_of_it(self, place: ServerPlace) -> Any:
        if place not in self._instead:
            self._instead[place] = _start_run(is_here=self._is_at(place))
        return self._instead[place]


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


def end_now(run: Any, place: ServerPlace | None = None, status: str = "FINISHED") -> None:
    """End a run that nobody else will end, without the two lines that MLflow prints."""
    place = place or current_place()
    with tried_once(), workspace.in_workspace(place.workspace):
        set_status(_client(place), run.info.run_id, status, get_current_time_millis())


def _client(place: ServerPlace) -> MlflowClient:
    return MlflowClient(tracking_uri=place.tracking_uri)


def start_elsewhere(start: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Start a run on another server than that of the search.

    In the active experiment, or in ``Default`` if that server lacks the active one.
    """
    try:
        return start(*args, **kwargs)
    except MlflowException as error:
        named = [*args[:2], kwargs.get("run_id"), kwargs.get("experiment_id")]
        if error.error_code not in _NOT_THERE or any(name is not None for name in named):
            raise
        there = Destination(tracking_uri="", experiment_name=Experiment.DEFAULT_EXPERIMENT_NAME)
        kwargs["experiment_id"] = experiment_id(MlflowClient(), there)
        return start(*args[:1], **kwargs)


def _start_run(*, is_here: bool) -> Any:
    """What MLflow would start in this thread if nothing were active; it does not stay active."""
    runs = active_runs()
    before = list(runs)
    runs.clear()
    try:
        # It ends without the thread that MLflow would measure the machine in.
        if is_here:
            return fluent.start_run(log_system_metrics=False)
        return start_elsewhere(fluent.start_run, log_system_metrics=False)
    finally:
        runs[:] = before
