"""Translation of MLflow's errors into errors of delivery."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests
import sqlalchemy.exc
from mlflow.exceptions import MlflowException, RestException, get_error_code
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from mlflow.utils import databricks_utils

from trackmllib.domain.operations import LogBatch, Metric
from trackmllib.exceptions import RateLimited, Rejected, Unauthorized, Unavailable
from trackmllib.tracking import client as calls
from trackmllib.tracking import http
from trackmllib.tracking.error_policy import partially_applied, translate
from trackmllib.tracking.http import single_attempt

pytestmark = pytest.mark.versions


NO_CONNECTION = "QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00"


def rest_error(status, code, text=""):
    return RestException({"error_code": code, "message": text or f"status {status}"})


def answer(status):
    """What MLflow raises for an answer that is no JSON, from a proxy, say."""
    text = f"API request to endpoint /api failed with error code {status} != 200"
    return MlflowException(text, error_code=get_error_code(status))


def database(text):
    return MlflowException(text, error_code=TEMPORARILY_UNAVAILABLE)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (requests.ConnectionError("refused"), Unavailable),
        (requests.Timeout("slow"), Unavailable),
        (ConnectionResetError("reset"), Unavailable),
        (MlflowException("API request to http://h failed with exception x"), Unavailable),
        (MlflowException("(sqlite3.OperationalError) database is locked"), Unavailable),
        (rest_error(503, "TEMPORARILY_UNAVAILABLE"), Unavailable),
        (rest_error(429, "REQUEST_LIMIT_EXCEEDED"), RateLimited),
        (answer(429), RateLimited),
        (rest_error(400, "INVALID_PARAMETER_VALUE", "Max retries exceeded"), Rejected),
        (rest_error(400, "INVALID_PARAMETER_VALUE"), Rejected),
        (rest_error(400, "BAD_REQUEST", NO_CONNECTION), Unavailable),
        (rest_error(404, "RESOURCE_DOES_NOT_EXIST"), Rejected),
        (MlflowException("no code says that this is final"), Unavailable),
        (answer(401), Unauthorized),
        (answer(403), Unauthorized),
        (rest_error(403, "PERMISSION_DENIED"), Unauthorized),
        (answer(507), Unavailable),
        (answer(404), Unavailable),
        (answer(502), Unavailable),
        (answer(500), Unavailable),
        (database("(psycopg2.OperationalError) server closed the connection"), Unavailable),
        (database("(sqlite3.OperationalError) disk I/O error"), Unavailable),
        (sqlalchemy.exc.OperationalError("", {}, Exception("connection refused")), Unavailable),
        (sqlalchemy.exc.InterfaceError("", {}, Exception("closed")), Unavailable),
        (
            sqlalchemy.exc.OperationalError(
                "", {}, Exception('FATAL: password authentication failed for user "me"')
            ),
            Unauthorized,
        ),
        (sqlalchemy.exc.ProgrammingError("", {}, Exception("no such table")), Unavailable),
        (database("(sqlite3.OperationalError) attempt to write a readonly database"), Unavailable),
        (sqlite3.OperationalError("database is locked"), Unavailable),
        (sqlite3.OperationalError("unable to open database file"), Unavailable),
        (OSError("read-only"), Unavailable),
        (ZeroDivisionError(), Unavailable),
    ],
)
def test_error_is_translated_without_credentials(error, kind):
    assert type(translate(error, "http://u:p@h")) is kind
    assert "u:p" not in str(translate(error, "http://u:p@h"))


def test_rate_limit_after_partial_request_is_unavailable():
    with pytest.raises(Unavailable) as raised, partially_applied():
        raise answer(429)
    assert type(raised.value) is Unavailable
    for other in (answer(401), answer(400)):
        with pytest.raises(MlflowException) as passed, partially_applied():
            raise other
        assert passed.value is other


@contextmanager
def answering(*statuses: int) -> Iterator[str]:
    """The URI of a server that answers its requests so, one after the other."""
    left = list(statuses)

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(left.pop(0))
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert left == []


@pytest.mark.parametrize(
    ("metrics", "params", "tags", "taken", "kind"),
    [
        (1000, 0, 0, 0, RateLimited),
        (800, 100, 100, 0, RateLimited),
        (1001, 0, 0, 1, Unavailable),
        (901, 100, 0, 1, Unavailable),
        (0, 101, 0, 1, Unavailable),
        (0, 0, 101, 1, Unavailable),
    ],
)
def test_rate_limit_after_first_part_of_batch_is_unavailable(metrics, params, tags, taken, kind):
    batch = LogBatch(
        search_id="a",
        params=tuple((f"p{n}", "1") for n in range(params)),
        metrics=tuple(Metric("m", float(n), 1, n) for n in range(metrics)),
        tags=tuple((f"t{n}", "1") for n in range(tags)),
    )
    with answering(*[200] * taken, 429) as uri, single_attempt():
        with pytest.raises(Exception) as raised:  # noqa: PT011 - classified below
            calls.log_batch(calls.connect(uri), "run", batch)
        assert type(translate(raised.value, uri)) is kind


@pytest.mark.parametrize("is_databricks", [False, True])
def test_databricks_cluster_check_runs_once_elsewhere(monkeypatch, is_databricks):
    asked = []
    monkeypatch.setattr(http, "_is_not_databricks", False)
    monkeypatch.setattr(databricks_utils, "is_in_cluster", lambda: asked.append(1))
    if is_databricks:
        monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "15.4")
    with answering(*[200] * 4) as uri:
        client = calls.connect(uri)
        with single_attempt():
            for _ in range(3):
                client.delete_run("r")
        ours = len(asked)
        client.delete_run("r")
    # In the calls of others it is asked as before.
    assert (ours > 1) == is_databricks
    assert len(asked) > ours > 0
