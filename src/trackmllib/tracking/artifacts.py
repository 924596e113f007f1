"""Artifacts of a run, on the server of a given client.

``MlflowClient.log_text`` would request the run once or twice before each file. For
``mlflow-artifacts:``, MLflow before 3 uses the tracking URI of the process instead of the client's,
and the user may have changed it during the search.
"""

from __future__ import annotations

import inspect
import posixpath
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
from mlflow.utils.uri import add_databricks_profile_info_to_artifact_uri

from trackmllib.exceptions import StoreUnauthorized, Unauthorized
from trackmllib.tracking.error_policy import classify, translate

_TAKES_THE_CLIENTS_URI = "tracking_uri" in inspect.signature(get_artifact_repository).parameters


def log_file(client: MlflowClient, artifact_uri: str, pieces: Iterable[bytes], path: str) -> None:
    """Write a file below the artifact URI of a run."""
    folder, name = posixpath.split(path)
    with tempfile.TemporaryDirectory() as local:
        file = Path(local, name)
        with file.open("wb") as opened:
            opened.writelines(pieces)
        with _reaching(artifact_uri):
            _repository(client, artifact_uri).log_artifact(str(file), folder or None)


def read_text(client: MlflowClient, artifact_uri: str, path: str) -> str:
    """Read a file below the artifact URI of a run."""
    with tempfile.TemporaryDirectory() as local:
        file = Path(local, posixpath.basename(path))
        # download_artifacts would first ask whether this is a folder, and then load in other
        # threads, in which MLflow would retry.
        with _reaching(artifact_uri):
            _repository(client, artifact_uri)._download_file(path, str(file))
        return file.read_text(encoding="utf-8")


def names(client: MlflowClient, artifact_uri: str, folder: str) -> list[str]:
    """The paths of the files in a folder below the artifact URI of a run."""
    with _reaching(artifact_uri):
        return [found.path for found in _repository(client, artifact_uri).list_artifacts(folder)]


def size(client: MlflowClient, artifact_uri: str, folder: str) -> int:
    """The size in bytes of a folder below the artifact URI of a run."""
    return sum(
        size(client, artifact_uri, found.path) if found.is_dir else int(found.file_size or 0)
        for found in _repository(client, artifact_uri).list_artifacts(folder)
    )


@contextmanager
def _reaching(artifact_uri: str) -> Iterator[None]:
    """Translate the errors of an artifact store that is accessed directly.

    Such a store has other credentials than the tracking server.
    """
    try:
        yield
    except Exception as error:
        is_direct = not artifact_uri.startswith("mlflow-artifacts:")
        kind = classify(error)
        if is_direct and issubclass(kind, Unauthorized):
            kind = StoreUnauthorized
        if is_direct:
            raise translate(error, artifact_uri, kind=kind) from error
        raise


def _repository(client: MlflowClient, artifact_uri: str) -> Any:
    uri = add_databricks_profile_info_to_artifact_uri(artifact_uri, client.tracking_uri)
    if _TAKES_THE_CLIENTS_URI:
        return get_artifact_repository(uri, tracking_uri=client.tracking_uri)
    if uri.startswith("mlflow-artifacts:"):
        uri = MlflowArtifactsRepository.resolve_uri(uri, client.tracking_uri)
    return get_artifact_repository(uri)
