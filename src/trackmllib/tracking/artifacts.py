"""Files of a run, on the server of the client and on no other.

Not ``MlflowClient.log_text``: it asks for the run once or twice before each file, and MLflow before
3 takes the tracking URI of the process, not the client's, to find a server that keeps files for its
clients (``mlflow-artifacts:``); a user may have changed that URI during the search.
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

from trackmllib.errors import StoreUnauthorized, Unauthorized
from trackmllib.tracking.failures import meaning, translate

_TAKES_THE_CLIENTS_URI = "tracking_uri" in inspect.signature(get_artifact_repository).parameters


def log_file(client: MlflowClient, artifact_uri: str, pieces: Iterable[bytes], path: str) -> None:
    """Write a file below the place of a run's files."""
    folder, name = posixpath.split(path)
    with tempfile.TemporaryDirectory() as local:
        file = Path(local, name)
        with file.open("wb") as opened:
            opened.writelines(pieces)
        with _reaching(artifact_uri):
            _repository(client, artifact_uri).log_artifact(str(file), folder)


def read_text(client: MlflowClient, artifact_uri: str, path: str) -> str:
    """The text of a file below the place of a run's files."""
    with tempfile.TemporaryDirectory() as local:
        file = Path(local, posixpath.basename(path))
        # Not download_artifacts: it asks first whether this is a folder, and loads in threads of
        # its own, in which MLflow's retries would be back.
        with _reaching(artifact_uri):
            _repository(client, artifact_uri)._download_file(path, str(file))
        return file.read_text(encoding="utf-8")


def names(client: MlflowClient, artifact_uri: str, folder: str) -> list[str]:
    """The paths of what is in a folder below the place of a run's files."""
    with _reaching(artifact_uri):
        return [found.path for found in _repository(client, artifact_uri).list_artifacts(folder)]


@contextmanager
def _reaching(artifact_uri: str) -> Iterator[None]:
    """Tell the errors of an artifact store that is reached directly from the tracking server's.

    Such a store has credentials of its own.
    """
    try:
        yield
    except Exception as error:
        is_direct = not artifact_uri.startswith("mlflow-artifacts:")
        kind = meaning(error)
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
