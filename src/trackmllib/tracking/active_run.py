"""Run, experiment, workspace and server that MLflow uses now.

Follows ``mlflow.start_run`` (``mlflow/tracking/fluent.py``), but sends no request: only the relay
thread does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow
from mlflow.environment_variables import (
    MLFLOW_EXPERIMENT_ID,
    MLFLOW_EXPERIMENT_NAME,
)
from mlflow.tracking import fluent
from mlflow.tracking.default_experiment import registry as default_experiment

from trackmllib.domain.operations import Destination
from trackmllib.support.redaction import strip_credentials
from trackmllib.tracking import environment_run, workspace
from trackmllib.tracking.lazy_run import LazyRun, ServerLocation, active_runs
from trackmllib.tracking.sqlite_uri import sqlite_file


def current_destination(
    strip: Callable[[str], str], *, claim: bool, exclusive: bool = False
) -> Destination:
    """The destination of a search that starts now.

    It is the active run of this thread, which the user ends; else the run that ``MLFLOW_RUN_ID``
    names, if no other search has claimed it; else a new run in the current experiment.

    :param strip: Removes the credentials from a URI.
    :param claim: Whether the search starts; False to look only.
    :param exclusive: Whether to ignore the active run.
    """
    uri = strip(absolute(mlflow.get_tracking_uri()))
    there = partial(Destination, tracking_uri=uri, workspace=workspace.current())
    # A LazyRun is active only in a fit() whose search starts later than the fit.
    active = next((run for run in reversed(active_runs()) if not isinstance(run, LazyRun)), None)
    if active is not None and not exclusive:
        run_id, experiment_id = active.info.run_id, active.info.experiment_id
        return there(run_id=run_id, experiment_id=experiment_id, owned=False)
    experiment_id = fluent._active_experiment_id
    run_id = environment_run.run_id(claim=claim)
    if run_id:
        return there(run_id=run_id, experiment_id=experiment_id)
    if experiment_id:
        return there(experiment_id=experiment_id)
    name, experiment_id = MLFLOW_EXPERIMENT_NAME.get(), MLFLOW_EXPERIMENT_ID.get()
    if name or experiment_id:
        return there(experiment_name=name, experiment_id=experiment_id)
    return there(experiment_id=default_experiment.get_experiment_id())


def is_at(destination: Destination, place: ServerLocation) -> bool:
    """Whether calls to this location reach the runs of a destination."""
    uri = strip_credentials(absolute(place.tracking_uri))
    return uri.rstrip("/") == destination.tracking_uri.rstrip("/") and workspace.same_workspace(
        destination.workspace, place.workspace
    )


def set_last_active_run(run_id: str | None) -> None:
    """Make ``mlflow.last_active_run()`` return this run, in this thread.

    None, for a run that the server has not created, changes nothing.
    """
    if run_id is not None:
        fluent._last_active_run_id.set(run_id)


def absolute(uri: str) -> str:
    """Make the path in a URI absolute, so that a ``chdir`` changes nothing."""
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
        # The path of the working directory has characters that are special in a URI.
        quoted = make_url(uri).set(database=file.absolute().as_posix())
        return str(quoted.render_as_string(hide_password=False))
    parts = urlsplit(uri)
    if parts.scheme == "":
        # MLflow reads the whole URI as a path, which may contain "#" or "?".
        return Path(url2pathname(uri) or "mlruns").absolute().as_uri()
    if parts.scheme == "file" and not parts.path.startswith("/"):
        return Path(url2pathname(parts.path) or "mlruns").absolute().as_uri()
    return uri
