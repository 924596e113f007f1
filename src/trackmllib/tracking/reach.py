"""Reaches a server that is to be read: in seconds, or with a sentence that says why not.

MLflow tries for minutes to reach one that is away, and makes a store where there is none.
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

from trackmllib.errors import (
    DeliveryError,
    TrackmllibError,
    Unavailable,
    UnknownSearch,
    Unreachable,
)
from trackmllib.redaction import redacted
from trackmllib.tracking.active import absolute
from trackmllib.tracking.failures import translate
from trackmllib.tracking.http import tried_once
from trackmllib.tracking.sqlite_uri import sqlite_file

# For the first answer, of which nothing is known yet; the command line has 10 s for all.
FIRST_ANSWER_SECONDS = 5

_ANOTHER = "another server is named by --tracking-uri, tracking_uri=… or MLFLOW_TRACKING_URI"


def reach(tracking_uri: str | None) -> tuple[str, MlflowClient]:
    """The URI in use (None: MLflow's current one), and a client whose server has answered.

    :raises Unreachable: within seconds, also where a name is not resolved or nothing is answered.
    """
    uri = absolute(tracking_uri or mlflow.get_tracking_uri())
    local = _check_local(uri)
    first = _FirstAnswer(uri)
    if local:
        # No wait that has no end; but a slow disk, and much to import.
        first.ask()
    else:
        first.ask_in_time()
    return uri, first.client


@contextmanager
def asking(uri: str, timeout_seconds: int | None = None) -> Iterator[None]:
    """Around calls of MLflow: each request is tried once, and errors become ours."""
    try:
        with tried_once() if timeout_seconds is None else tried_once(timeout_seconds):
            yield
    except (UnknownSearch, Unreachable):
        raise
    except Exception as error:
        raise _ours(translate(error, uri)) from error


class _FirstAnswer:
    """The first call of a client, which says whether the server is there."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._error: BaseException | None = None
        self._done = threading.Event()

    def ask(self) -> None:
        with asking(self._uri, FIRST_ANSWER_SECONDS):
            self.client = MlflowClient(tracking_uri=self._uri)
            self.client.search_experiments(max_results=1)

    def ask_in_time(self) -> None:
        """In a thread that nobody waits for longer: resolving a name, or connecting to a database,
        may take minutes, and cannot be stopped.
        """
        seconds = FIRST_ANSWER_SECONDS
        if MLFLOW_HTTP_REQUEST_TIMEOUT.is_set():
            seconds = MLFLOW_HTTP_REQUEST_TIMEOUT.get()
        context = contextvars.copy_context()
        threading.Thread(
            target=context.run, args=(self._keep,), name="trackmllib-first-answer", daemon=True
        ).start()
        if not self._done.wait(seconds + 1):
            raise Unreachable(f"{redacted(self._uri)}: no answer within {seconds} s")
        if self._error is not None:
            raise self._error

    def _keep(self) -> None:
        try:
            self.ask()
        except BaseException as error:  # noqa: BLE001 - raised by the thread that asked for it
            self._error = error
        self._done.set()


def _ours(failure: DeliveryError) -> TrackmllibError:
    kind = Unreachable if isinstance(failure, Unavailable) else UnknownSearch
    return kind(str(failure))


def _check_local(uri: str) -> bool:
    """Whether the store is on this machine; Unreachable if it is, and not there.

    MLflow would make it, and would try for a minute and a half to open a file that it cannot.
    """
    if uri.startswith("sqlite"):
        file = sqlite_file(uri)
        if file is not None:
            _check_sqlite(uri, file)
        return True
    if uri.startswith("file:///"):
        folder = Path(unquote(urlsplit(uri).path))
        if not folder.is_dir():
            raise Unreachable(f"{uri}: there is no such folder; {_ANOTHER}")
        return True
    return False


def _check_sqlite(uri: str, file: Path) -> None:
    if not file.is_file():
        raise Unreachable(f"{uri}: there is no such file; {_ANOTHER}")
    try:
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=3)
        try:
            found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'")
            is_store = found.fetchone() is not None
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise Unreachable(f"{uri}: {error}") from error
    if not is_store:
        raise Unreachable(f"{uri}: there is nothing of MLflow's in this file; {_ANOTHER}")
