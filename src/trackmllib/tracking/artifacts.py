"""Files of a run, on the server of the client and on no other.

MLflow before 3 takes the tracking URI of the process, not the client's, to find a server that keeps
files for its clients (``mlflow-artifacts:``); a user may have changed that URI during the search.
"""

from __future__ import annotations

import inspect
import posixpath
import tempfile
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

_TAKES_THE_CLIENTS_URI = "tracking_uri" in inspect.signature(get_artifact_repository).parameters


def log_text(client: MlflowClient, run_id: str, text: str, path: str) -> None:
    """Write a text file among the artifacts of a run."""
    repository = _repository_of_server(client, run_id)
    if repository is None:
        client.log_text(run_id, text, path)
        return
    folder, name = posixpath.split(path)
    with tempfile.TemporaryDirectory() as local:
        file = Path(local, name)
        file.write_text(text, encoding="utf-8")
        repository.log_artifact(str(file), folder)


def exists(client: MlflowClient, run_id: str, folder: str) -> bool:
    """Whether a run has files in a folder."""
    repository = _repository_of_server(client, run_id)
    if repository is None:
        return bool(client.list_artifacts(run_id, folder))
    return bool(repository.list_artifacts(folder))


def _repository_of_server(client: MlflowClient, run_id: str) -> Any:
    """The files of a run on the client's own server, where MLflow itself would not go there."""
    if _TAKES_THE_CLIENTS_URI:
        return None
    uri = client.get_run(run_id).info.artifact_uri
    if not uri.startswith("mlflow-artifacts:"):
        return None
    return get_artifact_repository(MlflowArtifactsRepository.resolve_uri(uri, client.tracking_uri))
