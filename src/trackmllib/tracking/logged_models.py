"""Logged models of MLflow 3, with their own params and metrics.

``mlflow.spark.log_model`` does not create them, and ``Model.log`` would give a model the params of
its run, and the metrics of other folds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.uri import is_local_uri

from trackmllib.domain.operations import LogModelMetrics
from trackmllib.support.escaping import escaped
from trackmllib.support.guard import attempt

_SERVER_INFO = "/api/3.0/mlflow/server-info"
# Addresses of servers with a SQL store.
_sql_servers: set[str] = set()


@dataclass(frozen=True, kw_only=True)
class NewModel:
    """Place, params and tags of a model that is about to be logged."""

    run_id: str
    experiment_id: str
    name: str
    step: int = 0
    params: Mapping[str, str]
    tags: Mapping[str, str]


def are_supported() -> bool:
    """Whether the tracking server can hold Spark models as logged models.

    On Databricks, MLflow writes Spark models in its own way, to the artifacts of the run.
    """
    is_databricks = mlflow.get_tracking_uri().startswith("databricks")
    return hasattr(MlflowClient, "create_logged_model") and not is_databricks


def log(model: Any, pipeline: Any, new: NewModel, **saving: Any) -> tuple[str, int] | None:
    """Log a model, and return its id and size in bytes.

    :param pipeline: The model as a pipeline, which MLflow saves.
    :param saving: Signature, example and requirements, as for ``mlflow.spark.save_model``.
    :returns: None if the server has no logged models.
    """
    mlflow.spark._validate_model(model)
    client = MlflowClient()
    tags = {escaped(key): escaped(value) for key, value in resolve_tags().items()} | dict(new.tags)
    try:
        made = client.create_logged_model(
            new.experiment_id, new.name, new.run_id, tags, dict(new.params)
        )
    except MlflowException as error:
        _check_if_server_is_old(error)
        return None
    try:
        with TemporaryDirectory() as folder:
            path = os.path.join(folder, "model")
            _save(pipeline, path, made, new.run_id, saving)
            client.log_model_artifacts(made.model_id, path)
            size = _size(path)
        _link_to_run(client, made.model_id, new)
        client.finalize_logged_model(made.model_id, "READY")
    except BaseException:
        attempt(lambda: client.delete_logged_model(made.model_id), None)
        raise
    return made.model_id, size


def names(run_id: str, experiment_id: str) -> set[str]:
    """Names of the logged models of a run."""
    try:
        found = MlflowClient().search_logged_models(
            [experiment_id], filter_string=f"source_run_id = '{run_id}'"
        )
    except MlflowException as error:
        _check_if_server_is_old(error)
        return set()
    return {model.name for model in found}


def log_metrics(client: MlflowClient, run_id: str, operation: LogModelMetrics) -> None:
    """Add metric points of a run to a logged model.

    The run already has the points. A SQL store adds none to it, but a file store would, so a local
    file store gets the points of the model only, and a server without a SQL store gets none.
    """
    if not hasattr(client, "create_logged_model"):
        return
    from mlflow.store.tracking.file_store import FileStore

    dataset = dict(zip(("dataset_name", "dataset_digest"), operation.dataset, strict=False))
    points = [
        mlflow.entities.Metric(
            m.key, m.value, m.time_ms, m.step, operation.model_id, run_id=run_id, **dataset
        )
        for m in operation.metrics
    ]
    store = client._tracking_client.store
    if isinstance(store, FileStore):
        model = client.get_logged_model(operation.model_id)
        there = {_point(metric) for metric in model.metrics or ()}
        for point in points:
            if _point(point) not in there:
                store._log_model_metric(model.experiment_id, model.model_id, run_id, point)
    elif _ignores_known_points(client):
        client.log_batch(run_id, metrics=points, synchronous=True)


def _check_if_server_is_old(error: MlflowException) -> None:
    """Raise an error, unless it means that the server has no logged models."""
    if error.error_code != "ENDPOINT_NOT_FOUND":
        raise error


def _save(pipeline: Any, path: str, made: Any, run_id: str, saving: Mapping[str, Any]) -> None:
    """Save as ``mlflow.spark.log_model`` does: directly, or to ``path``."""
    # MLflow needs pandas to import its models; without log_models, pandas is optional.
    from mlflow.models import Model

    info = Model(
        artifact_path=made.artifact_location,
        model_uuid=made.model_id,
        run_id=run_id,
        model_id=made.model_id,
    )
    location = made.artifact_location
    if is_local_uri(location) or not mlflow.spark._maybe_save_model(pipeline, location):
        mlflow.spark.save_model(pipeline, path, info, **saving)
    else:
        os.mkdir(path)
        mlflow.spark._save_model_metadata(path, pipeline, info, None, None, **saving)


def _link_to_run(client: MlflowClient, model_id: str, new: NewModel) -> None:
    from mlflow.entities import LoggedModelOutput

    client.log_outputs(new.run_id, [LoggedModelOutput(model_id, new.step)])


def _size(path: str) -> int:
    return sum(
        os.path.getsize(os.path.join(folder, name))
        for folder, _, files in os.walk(path)
        for name in files
    )


def _point(metric: Any) -> tuple[str, int, int, str]:
    return (metric.key, metric.step, metric.timestamp, repr(float(metric.value)))


def _ignores_known_points(client: MlflowClient) -> bool:
    """Whether a SQL store is behind a client; other stores would append points of a run again.

    A server that does not name its store may have any.
    """
    uri = client.tracking_uri
    if not uri.startswith("http") or uri in _sql_servers:
        return True
    from mlflow.utils.rest_utils import http_request

    credentials = client._tracking_client.store.get_host_creds()
    answer = http_request(credentials, _SERVER_INFO, "GET", raise_on_status=False)
    info: Any = attempt(answer.json, {}) if answer.status_code == HTTPStatus.OK else {}
    if info.get("store_type") == "SqlStore":
        _sql_servers.add(uri)
    return uri in _sql_servers
