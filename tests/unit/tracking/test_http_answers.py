"""Only MLflow's answers count, not those of a proxy; and requests are tried once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from trackmllib.domain.operations import LogBatch
from trackmllib.exceptions import RateLimited, Rejected, Unauthorized, Unavailable
from trackmllib.tracking import artifacts
from trackmllib.tracking import client as calls
from trackmllib.tracking.error_policy import translate
from trackmllib.tracking.http import single_attempt
from trackmllib.tracking.workspace import in_workspace

pytestmark = pytest.mark.versions

HTML = ("text/html", b"<html><body>Please log in</body></html>")
BATCH = LogBatch(search_id="s", params=(("p", "v"),))
RUN = {"run": {"info": {"run_id": "r", "status": "RUNNING"}, "data": {}}}


def as_json(found: Any) -> tuple[str, bytes]:
    return ("application/json", json.dumps(found).encode())


@contextmanager
def answering(
    status: int,
    content: tuple[str, bytes] = HTML,
    location: str = "",
    paths: Mapping[str, tuple[int, tuple[str, bytes]]] = MappingProxyType({}),
) -> Iterator[tuple[str, list]]:
    """The URI of a server with one answer for all requests but ``/moved``, and the requests."""
    seen: list[tuple[str, str, bytes]] = []

    class Answers(BaseHTTPRequestHandler):
        def do_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.append((self.command, self.path, body))
            moved = self.path.startswith(("/moved", "/login"))
            code, (kind, data) = paths.get(self.path, (status, content))
            if moved:
                kind, data = HTML if self.path.startswith("/login") else as_json({})
            self.send_response(200 if moved else code)
            if location and not moved:
                self.send_header("Location", location)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_any

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def log_batch(uri: str) -> None:
    calls.log_batch(calls.connect(uri), "r", BATCH)


def log_file(uri: str) -> None:
    artifacts.log_file(calls.connect(uri), "mlflow-artifacts:/0/r/artifacts", [b"x"], "f/a.txt")


def create_run(uri: str) -> None:
    calls.connect(uri).create_run("0")


def get_run(uri: str) -> None:
    calls.connect(uri).get_run("r")


def failure(call, uri: str) -> Exception:
    with single_attempt(), pytest.raises(Exception) as raised:  # noqa: PT011 - classified below
        call(uri)
    return translate(raised.value, uri)


@pytest.mark.parametrize("call", [log_batch, log_file, create_run, get_run])
@pytest.mark.parametrize(
    "content",
    [
        HTML,
        ("text/html", b""),
        ("application/json", b'{"run": {"in'),
        *map(as_json, ([], "ok", None)),
    ],
    ids=["html", "empty", "cut", "list", "string", "null"],
)
def test_foreign_answer_is_unavailable(call, content):
    with answering(200, content) as (uri, _):
        error = failure(call, uri)
    assert type(error) is Unavailable
    assert "not MLflow's" in str(error)


@pytest.mark.parametrize("status", [404, 501])
def test_artifact_goes_in_one_piece_to_server_without_multipart_uploads(status, monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", "1")
    text = "Multipart upload is not supported for the current artifact repository"
    no = as_json({"error_code": "NOT_IMPLEMENTED", "message": text})
    paths = {"/api/2.0/mlflow-artifacts/mpu/create/0/r/artifacts/f": (status, no)}
    with answering(200, as_json({}), paths=paths) as (uri, seen), single_attempt():
        log_file(uri)
    assert [(method, body) for method, _, body in seen][1:] == [("PUT", b"x")]


def test_workspace_of_server_that_says_so_elsewhere():
    """MLflow asks newer servers at one address, and older ones at another."""
    pytest.importorskip("mlflow.utils.server_info")
    start = "/api/3.0/mlflow/server-"
    paths = {
        f"{start}info": (404, HTML),
        f"{start}features": (200, as_json({"workspaces_enabled": True})),
    }
    with (
        answering(200, as_json(RUN), paths=paths) as (uri, seen),
        single_attempt(),
        in_workspace("team"),
    ):
        get_run(uri)
    assert [path.partition("?")[0] for _, path, _ in seen][1:] == [
        f"{start}features",
        "/api/2.0/mlflow/runs/get",
    ]


@pytest.mark.parametrize("call", [create_run, get_run])
def test_answer_without_required_key_is_unavailable(call):
    with answering(200, as_json({})) as (uri, _):
        assert type(failure(call, uri)) is Unavailable


@pytest.mark.parametrize("call", [log_batch, log_file])
@pytest.mark.parametrize("status", [301, 302, 303])
def test_write_redirected_to_page_is_unavailable(call, status):
    with answering(status, location="/login?next=1") as (uri, _):
        error = failure(call, uri)
    assert type(error) is Unavailable
    assert f"HTTP {status}" in str(error)
    assert "/login" in str(error)


@pytest.mark.parametrize("call", [log_batch, log_file])
@pytest.mark.parametrize("status", [307, 308])
def test_moved_write_follows_redirect(call, status):
    with answering(status, location="/moved") as (uri, seen), single_attempt():
        call(uri)
    (method, _, body), (following, path, moved) = seen
    assert (method, body) == (following, moved)
    assert path == "/moved"
    assert body


def test_read_redirected_to_page_names_it():
    with answering(302, location="/login") as (uri, _):
        error = failure(get_run, uri)
    assert type(error) is Unavailable
    assert "/login" in str(error)


@pytest.mark.parametrize("call", [log_batch, log_file, create_run])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, Unauthorized) for status in (401, 403)),
        *((status, Unavailable) for status in (400, 404, 407, 408, 413, 425)),
        (429, RateLimited),
        *((status, Unavailable) for status in (500, 501, 502, 503, 504, 507, 520)),
    ],
)
def test_error_page_is_never_final(call, status, kind):
    with answering(status) as (uri, _):
        error = failure(call, uri)
    assert type(error) is kind
    assert f"HTTP {status}" in str(error)


@pytest.mark.parametrize("call", [log_batch, log_file, create_run])
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "INVALID_PARAMETER_VALUE", Rejected),
        (404, "RESOURCE_DOES_NOT_EXIST", Rejected),
        (500, "INVALID_STATE", Rejected),
        (400, "BAD_REQUEST", Unavailable),
        (500, "INTERNAL_ERROR", Unavailable),
        (403, "PERMISSION_DENIED", Unauthorized),
        (429, "REQUEST_LIMIT_EXCEEDED", RateLimited),
    ],
)
def test_mlflows_own_error_code_decides(call, status, code, kind):
    body = as_json({"error_code": code, "message": "as it happens, max retries exceeded"})
    with answering(status, body) as (uri, _):
        error = failure(call, uri)
    assert type(error) is kind
    assert "as it happens" in str(error)


def test_requests_of_users_are_unchanged(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    raised = []

    def call() -> None:
        try:
            get_run(uri)
        except MlflowException as error:
            raised.append(error)

    with answering(503) as (uri, seen), single_attempt():
        other = threading.Thread(target=call)
        other.start()
        other.join(30)
    assert len(seen) == 2
    assert "too many 503 error responses" in str(raised[0])


@pytest.mark.slow
def test_databricks_host_is_retried_for_seconds(monkeypatch):
    with answering(503, as_json({"error_code": "TEMPORARILY_UNAVAILABLE"})) as (uri, _):
        monkeypatch.setenv("DATABRICKS_HOST", uri)
        monkeypatch.setenv("DATABRICKS_TOKEN", "token")
        before = mlflow.get_tracking_uri()
        began = time.monotonic()
        error = failure(lambda _: calls.connect("databricks").get_run("r"), "databricks")
        seconds = time.monotonic() - began
    assert type(error) is Unavailable
    assert seconds < 15
    assert mlflow.get_tracking_uri() == before


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg2"])
def test_refusing_database_is_tried_once(scheme):
    began = time.monotonic()
    with single_attempt(), pytest.raises(Exception) as raised:  # noqa: PT011 - classified below
        calls.connect(f"{scheme}://user:secret@127.0.0.1:1/mlflow")
    error = translate(raised.value, f"{scheme}://user:secret@127.0.0.1:1/mlflow")
    assert type(error) is Unavailable
    assert "secret" not in str(error)
    assert time.monotonic() - began < 10


def test_silent_database_times_out(monkeypatch):
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        began = time.monotonic()
        with single_attempt(2), pytest.raises(Exception) as raised:  # noqa: PT011
            calls.connect(f"postgresql://user@127.0.0.1:{port}/mlflow")
        seconds = time.monotonic() - began
    assert type(translate(raised.value, "postgresql://h")) is Unavailable
    assert seconds < 10
