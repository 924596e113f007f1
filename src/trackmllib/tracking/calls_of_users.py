"""What users log inside of a search: it lands on the child run of the cell, or on the main run.

For the length of a cell, that cell's run is MLflow's active run in its thread. Four functions of
MLflow are told the rest: metrics without a step get the fold, a run that is started is nested, and
the run of the cell is not ended before the cell is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mlflow
from mlflow.tracking import fluent

from trackmllib.guard import Guard
from trackmllib.patching import Patch
from trackmllib.tracking.lazy_run import Found, LazyRun, ServerPlace, active_runs, start_elsewhere


class CallsOfUsers:
    """The patches, installed and removed together, and the active run of a thread."""

    def __init__(self) -> None:
        # Where people call them, and where MLflow calls them itself.
        self._patches = [
            Patch(module, name, around)
            for module in (mlflow, fluent)
            for name, around in (
                ("log_metric", _log_metric),
                ("log_metrics", _log_metrics),
                ("start_run", _start_run),
                ("end_run", _end_run),
            )
        ]

    def install(self) -> None:
        for patch in self._patches:
            patch.install()

    def uninstall(self) -> None:
        for patch in reversed(self._patches):
            patch.uninstall()


@contextmanager
def active(
    find: Callable[[], Found],
    fold: int | None,
    is_at: Callable[[ServerPlace], bool],
    guard: Callable[[], Guard],
    ended: Callable[[], None],
) -> Iterator[None]:
    """Make the run that ``find`` returns the active one of this thread.

    It is active while MLflow's calls go to the place of its search; ``is_at`` tells.

    A run of the user's that is active keeps its place where no ``fold`` is given: it is the main
    run then. ``ended`` is called where the user's code wanted to end it, which it leaves to us.
    """
    run: LazyRun | None = None
    with guard():
        runs = active_runs()
        if fold is not None or not runs or isinstance(runs[-1], LazyRun):
            run = LazyRun(find, fold, is_at)
            runs.append(run)
    try:
        yield
    finally:
        if run is not None:
            with guard():
                _leave(run, ended)


def _leave(run: LazyRun, ended: Callable[[], None]) -> None:
    """Take the run off the stack, and what was started in the cell and left open."""
    runs = active_runs()
    if run in runs:
        place = runs.index(run)
        left_open = runs[place + 1 :]
        del runs[place:]
        for other in reversed(left_open):
            run.end(other)
    if run.ended:
        ended()
    run.close()


def _log_metric(original: Any, *args: Any, **kwargs: Any) -> Any:
    """``log_metric(key, value, step=None, …)``: the step is the fold."""
    return original(*_with_step(args, kwargs, 2), **kwargs)


def _log_metrics(original: Any, *args: Any, **kwargs: Any) -> Any:
    """``log_metrics(metrics, step=None, …)``: the step is the fold."""
    return original(*_with_step(args, kwargs, 1), **kwargs)


def _with_step(args: tuple[Any, ...], kwargs: dict[str, Any], place: int) -> tuple[Any, ...]:
    """The arguments, with the fold as step if there is none and the active run is a cell's."""
    runs = active_runs()
    run = runs[-1] if runs and isinstance(runs[-1], LazyRun) else None
    fold = None if run is None else run.fold
    if run is None or fold is None or kwargs.get("run_id") is not None or not run.is_here():
        return args
    if len(args) > place:
        return (*args[:place], fold, *args[place + 1 :]) if args[place] is None else args
    if kwargs.get("step") is None:
        kwargs["step"] = fold
    return args


def _start_run(original: Any, *args: Any, **kwargs: Any) -> Any:
    """``start_run(run_id, experiment_id, run_name, nested=False, …)``: in a cell it is nested.

    Code that starts a run of its own worked where no run was active, and goes on to.
    """
    runs = active_runs()
    cell = next((run for run in reversed(runs) if isinstance(run, LazyRun)), None)
    if cell is None:
        return original(*args, **kwargs)
    if runs[-1] is not cell:
        started = original(*args, **kwargs)
    elif cell.is_here():
        if len(args) > 3:
            args = (*args[:3], True, *args[4:])
        else:
            kwargs["nested"] = True
        started = original(*args, **kwargs)
    else:
        # That server has no run that this one could be nested under.
        below, runs[:] = runs[:], []
        try:
            started = start_elsewhere(original, *args, **kwargs)
        finally:
            runs[:0] = below
    cell.started(started)
    return started


def _end_run(original: Any, *args: Any, **kwargs: Any) -> Any:
    """``end_run(status)``: what comes after it in a cell would start a run of its own."""
    runs = active_runs()
    if not runs or not isinstance(runs[-1], LazyRun):
        return original(*args, **kwargs)
    if runs[-1].is_here():
        runs[-1].ended = True
    else:
        runs[-1].end_instead(*args, **kwargs)
    return None
