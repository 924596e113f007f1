"""Which run, experiment, workspace and server MLflow would use at this moment in this thread.

Follows ``mlflow.start_run`` (``mlflow/tracking/fluent.py``), but without asking the server: that is
left to the delivery thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow
from mlflow.environment_variables import (
    MLFLOW_EXPERIMENT_ID,
    MLFLOW_EXPERIMENT_NAME,
    MLFLOW_RUN_ID,
)
from mlflow.tracking import fluent
from mlflow.tracking.default_experiment import registry as default_experiment

from trackmllib.operations import Destination
from trackmllib.redaction import stripped
from trackmllib.tracking import workspace
from trackmllib.tracking.lazy_run import LazyRun, ServerPlace, active_runs
from trackmllib.tracking.sqlite_uri import sqlite_file


def current_destination(strip: Callable[[str], str]) -> Destination:
    """Where a search that begins now goes; ``strip`` takes the credentials out of the URI.

    The active run of this thread, which stays the user's; else the run that ``MLFLOW_RUN_ID``
    names, which is taken as ``start_run`` takes it: once, out of the environment; else a new run in
    the experiment that holds now.
    """
    uri = strip(absolute(mlflow.get_tracking_uri()))
    there = partial(Destination, tracking_uri=uri, workspace=workspace.current())
    # A run of ours is there only in a fit() whose search begins later than the fit.
    active = next((run for run in reversed(active_runs()) if not isinstance(run, LazyRun)), None)
    if active is not None:
        run_id, experiment_id = active.info.run_id, active.info.experiment_id
        return there(run_id=run_id, experiment_id=experiment_id, owned=False)
    experiment_id = fluent._active_experiment_id
    run_id = os.environ.pop(MLFLOW_RUN_ID.name, None)
    if run_id:
        return there(run_id=run_id, experiment_id=experiment_id)
    if experiment_id:
        return there(experiment_id=experiment_id)
    name, experiment_id = MLFLOW_EXPERIMENT_NAME.get(), MLFLOW_EXPERIMENT_ID.get()
    if name or experiment_id:
        return there(experiment_name=name, experiment_id=experiment_id)
    return there(experiment_id=default_experiment.get_experiment_id())


def is_at(destination: Destination, place: ServerPlace) -> bool:
    """Whether calls that go to this place reach the runs of a destination."""
    uri = stripped(absolute(place.tracking_uri))
    return uri.rstrip("/") == destination.tracking_uri.rstrip("/") and workspace.are_one(
        destination.workspace, place.workspace
    )


def set_last_active_run(run_id: str | None) -> None:
    """Make ``mlflow.last_active_run()`` return this run, in this thread, as ``end_run`` does.

    None, a run that the server has not made, changes nothing.
    """
    if run_id is not None:
        fluent._last_active_run_id.set(run_id)


def absolute(uri: str) -> str:
    """The URI with a relative path made absolute, so that a later ``chdir`` changes nothing."""
    if uri.startswith("databricks"):
        return uri
    if uri.startswith("sqlite"):
        file = sqlite_file(uri)
        if file is None or file.is_absolute():
            return uri
        from sqlalchemy.engine import make_url

        prefix, slashes, rest = uri.partition(":///")
        whole = f"{prefix}{slashes}{Path.cwd().as_posix()}/{rest}"
        if sqlite_file(whole) == file.absolute():
            return whole
        # The path of the working directory has characters with a meaning in a URI.
        quoted = make_url(uri).set(database=file.absolute().as_posix())
        return str(quoted.render_as_string(hide_password=False))
    parts = urlsplit(uri)
    if parts.scheme == "":
        # MLflow reads all of it as a path, which may contain "#" or "?".
        return Path(url2pathname(uri) or "mlruns").absolute().as_uri()
    if parts.scheme == "file" and not parts.path.startswith("/"):
        return Path(url2pathname(parts.path) or "mlruns").absolute().as_uri()
    return uri
