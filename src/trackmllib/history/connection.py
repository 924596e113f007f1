"""Connection to a tracking server, which fails within seconds.

MLflow itself retries an unreachable server for minutes, and creates a missing local store.
"""

from __future__ import annotations

import contextvars
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT

from trackmllib.exceptions import Unavailable, UnknownSearch, Unreachable
from trackmllib.support.redaction import redacted
from trackmllib.tracking.active_run import absolute
from trackmllib.tracking.error_policy import translate
from trackmllib.tracking.http import single_attempt
from trackmllib.tracking.sqlite_uri import sqlite_file

# Timeout of the first request.
FIRST_ANSWER_SECONDS = 5

_HINT = "to read another server, set --tracking-uri, tracking_uri=… or MLFLOW_TRACKING_URI"


def connect(tracking_uri: str | None) -> tuple[str, MlflowClient]:
    """Connect to a tracking server.

    :param tracking_uri: None for MLflow's current URI.
    :returns: The absolute URI, and a client whose server has answered a request.
    :raises Unreachable: The server does not answer within seconds, or there is no such store.
    """
    uri = absolute(tracking_uri or mlflow.get_tracking_uri())
    if _check_local_store(uri):
        # A local store needs no timeout.
        return uri, _connected_client(uri)
    return uri, _connect_in_time(uri)


@contextmanager
def translated_errors(uri: str, timeout_seconds: int | None = None) -> Iterator[None]:
    """Context in which MLflow does not retry calls, and raises our errors.

    :raises Unreachable: A later call may succeed.
    :raises UnknownSearch: No later call can succeed.
    """
    try:
        with single_attempt() if timeout_seconds is None else single_attempt(timeout_seconds):
            yield
    except (UnknownSearch, Unreachable):
        raise
    except Exception as error:
        failure = translate(error, uri)
        kind = Unreachable if isinstance(failure, Unavailable) else UnknownSearch
        raise kind(str(failure)) from error


def _connected_client(uri: str) -> MlflowClient:
    with translated_errors(uri, FIRST_ANSWER_SECONDS):
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
        return client


def _connect_in_time(uri: str) -> MlflowClient:
    """Connect in a thread that is abandoned after a timeout.

    Name resolution and database connections can't be interrupted, and may take minutes.
    """
    outcome: list[MlflowClient | BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            outcome.append(_connected_client(uri))
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            outcome.append(error)
        done.set()

    seconds = FIRST_ANSWER_SECONDS
    if MLFLOW_HTTP_REQUEST_TIMEOUT.is_set():
        seconds = MLFLOW_HTTP_REQUEST_TIMEOUT.get()
    context = contextvars.copy_context()
    threading.Thread(
        target=context.run, args=(run,), name="trackmllib-connect", daemon=True
    ).start()
    if not done.wait(seconds + 1):
        raise Unreachable(f"{redacted(uri)}: no answer within {seconds} s")
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _check_local_store(uri: str) -> bool:
    """Return whether the store is local, and if so check that it exists.

    MLflow would create a missing store, and retry an unreadable one for 90 s.
    """
    if uri.startswith("sqlite"):
        file = sqlite_file(uri)
        if file is not None:
            _check_sqlite(uri, file)
        return True
    if uri.startswith("file:///"):
        folder = Path(unquote(urlsplit(uri).path))
        if not folder.is_dir():
            raise Unreachable(f"{uri}: the folder does not exist; {_HINT}")
        return True
    return False


def _check_sqlite(uri: str, file: Path) -> None:
    if not file.is_file():
        raise Unreachable(f"{uri}: the file does not exist; {_HINT}")
    try:
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=3)
        try:
            tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'")
            is_store = tables.fetchone() is not None
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise Unreachable(f"{uri}: {error}") from error
    if not is_store:
        raise Unreachable(f"{uri}: the file is not an MLflow store; {_HINT}")
