"""MLflow calls of the user's code within a search.

They log to the child run of the fit, or outside fits to the parent run, which is MLflow's active
run in that thread. Patches of four functions do the rest: metrics without a step get the fold, a
run that is started is nested, and the run of the fit does not end before the fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mlflow
from mlflow.tracking import fluent

from trackmllib.support.guard import Guard
from trackmllib.support.patching import Patch
from trackmllib.tracking.environment_run import claimed_run_hidden
from trackmllib.tracking.lazy_run import (
    LazyRun,
    RunLookup,
    ServerLocation,
    active_runs,
    start_elsewhere,
)


class UserCallPatches:
    """The patches of MLflow's functions, installed and uninstalled together."""

    def __init__(self) -> None:
        # Users call those of the first module, MLflow calls those of the second.
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
def activate_run(
    find: Callable[[], RunLookup],
    fold: int | None,
    is_at: Callable[[ServerLocation], bool],
    guard: Callable[[], Guard],
    ended: Callable[[], None],
) -> Iterator[None]:
    """Make the run that ``find`` returns the active run of this thread.

    Without a ``fold``, the user's active run stays active, because it is the parent run.

    :param is_at: Whether calls that go to a location reach the search.
    :param ended: Called if the user's code called ``end_run()`` for the run, which does not end it.
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
    """Deactivate the run of a fit, and end runs that the fit left open."""
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
    """Add the fold as the step, if none is given, within a fit."""
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
    """Nest the run: ``start_run(run_id, experiment_id, run_name, nested, …)``.

    Code that starts a run works without an active run, so it must also work within a fit.
    """
    runs = active_runs()
    fold_fit = next((run for run in reversed(runs) if isinstance(run, LazyRun)), None)
    if fold_fit is None:
        return original(*args, **kwargs)
    with claimed_run_hidden():
        if runs[-1] is not fold_fit:
            started = original(*args, **kwargs)
        elif fold_fit.is_here():
            if len(args) > 3:
                args = (*args[:3], True, *args[4:])
            else:
                kwargs["nested"] = True
            started = original(*args, **kwargs)
        else:
            # That server has no run to nest this one under.
            below, runs[:] = runs[:], []
            try:
                started = start_elsewhere(original, *args, **kwargs)
            finally:
                runs[:0] = below
    fold_fit.started(started)
    return started


def _end_run(original: Any, *args: Any, **kwargs: Any) -> Any:
    """Keep the run of a fit active, so that later calls start no other run."""
    runs = active_runs()
    if not runs or not isinstance(runs[-1], LazyRun):
        return original(*args, **kwargs)
    if runs[-1].is_here():
        runs[-1].ended = True
    else:
        runs[-1].end_substitute(*args, **kwargs)
    return None
