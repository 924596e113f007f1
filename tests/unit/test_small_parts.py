"""Guard, patches, counts, URIs and the meaning of errors."""

from __future__ import annotations

import logging
import pickle
import sqlite3
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests
import sqlalchemy.exc
from mlflow.exceptions import MlflowException, RestException, get_error_code
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from mlflow.utils import databricks_utils

from trackmllib import plural
from trackmllib.errors import Busy, Rejected, Unauthorized, Unavailable
from trackmllib.guard import Guard
from trackmllib.operations import LogBatch, Metric
from trackmllib.patching import Patch, is_patched
from trackmllib.redaction import redacted
from trackmllib.tracking import client as calls
from trackmllib.tracking import http
from trackmllib.tracking.active import absolute
from trackmllib.tracking.failures import partly_done, translate
from trackmllib.tracking.http import tried_once


def test_a_guard_reports_errors_and_lets_an_interrupt_pass():
    reports = []
    guard = Guard("doing something", lambda doing, error: reports.append((doing, str(error))))
    with guard:
        raise ValueError("a bug")
    assert reports == [("doing something", "a bug")]
    for passing in (KeyboardInterrupt, SystemExit):
        with pytest.raises(passing), guard:
            raise passing
    with pytest.raises(ValueError, match="a bug"), Guard("x", lambda *_: None, strict=True):
        raise ValueError("a bug")
    assert len(reports) == 1


class Base:
    def method(self, x):
        return ["base", x]


class Child(Base):
    pass


def doubled(original, self, x):
    return ["ours", *original(self, x)]


def test_a_patch_of_an_inherited_method_sees_later_patches_of_the_base(monkeypatch):
    patch = Patch(Child, "method", doubled)
    patch.install()
    patch.install()
    assert Child().method(1) == ["ours", "base", 1]
    assert is_patched(Child.method)
    monkeypatch.setattr(Base, "method", lambda self, x: ["theirs", x])
    assert Child().method(1) == ["ours", "theirs", 1]
    patch.uninstall()
    assert "method" not in vars(Child)
    patch.uninstall()


def test_a_wrapper_pickles_as_what_it_replaced():
    patch = Patch(Child, "method", doubled)
    patch.install()
    try:
        assert pickle.loads(pickle.dumps(vars(Child)["method"])) is Base.method
    finally:
        patch.uninstall()


def test_a_patch_of_a_module_is_put_back():
    module = types.ModuleType("m")
    original = module.f = lambda x: x
    patch = Patch(module, "f", lambda f, x: f(x) + 1)
    patch.install()
    assert module.f(1) == 2
    patch.uninstall()
    assert module.f is original


def test_a_patch_that_was_wrapped_becomes_a_pass_through(caplog):
    module = types.ModuleType("m")
    module.f = lambda x: x
    patch = Patch(module, "f", lambda f, x: f(x) + 1)
    patch.install()
    ours = module.f
    module.f = lambda x: ours(x) * 10
    with caplog.at_level(logging.DEBUG):
        patch.uninstall()
    assert "passes calls through" in caplog.text
    assert module.f(1) == 10
    patch.install()
    assert module.f(1) == 11
    patch.uninstall()
    assert module.f(1) == 10


@pytest.mark.parametrize(
    ("amount", "words"),
    [(0, "0 operations wait"), (1, "1 operation waits"), (1500, "1,500 operations wait")],
)
def test_counts_agree_with_their_nouns(amount, words):
    assert plural.count(amount, "operation waits", "operations wait") == words
    assert plural.count(amount, "operation") == words.rpartition(" ")[0]


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://user:pw@host:5000/a", "http://***@host:5000/a"),
        ("https://token@host?key=abc&x=1", "https://***@host?***"),
        ("postgresql://u:p@db/mlflow", "postgresql://***@db/mlflow"),
        ("postgresql://u:p@x@db/mlflow", "postgresql://***@db/mlflow"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("databricks://profile", "databricks://profile"),
        ("cannot reach 'http://u:p@h?t=1' now", "cannot reach 'http://***@h?***' now"),
        ("What is this?", "What is this?"),
    ],
)
def test_uris_are_shown_without_credentials(uri, shown):
    assert redacted(uri) == shown


def test_relative_uris_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("sqlite:///mlflow.db") == f"sqlite:///{tmp_path}/mlflow.db"
    assert absolute("sqlite:////abs/mlflow.db") == "sqlite:////abs/mlflow.db"
    assert absolute("sqlite:///run#1/x.db?timeout=9") == (
        f"sqlite:///{tmp_path}/run#1/x.db?timeout=9"
    )
    assert absolute("mlruns") == f"file://{tmp_path}/mlruns"
    assert absolute("run#1/mlruns") == f"file://{tmp_path}/run%231/mlruns"
    assert absolute("a%20b") == f"file://{tmp_path}/a%20b"
    assert absolute("file:///abs/mlruns") == "file:///abs/mlruns"
    for uri in ("http://host:5000", "databricks", "databricks://profile", "postgresql://u@h/d"):
        assert absolute(uri) == uri


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
        (rest_error(429, "REQUEST_LIMIT_EXCEEDED"), Busy),
        (answer(429), Busy),
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
def test_what_an_error_means(error, kind):
    assert type(translate(error, "http://u:p@h")) is kind
    assert "u:p" not in str(translate(error, "http://u:p@h"))


def test_a_server_is_not_busy_where_a_part_may_stand_already():
    with pytest.raises(Unavailable) as raised, partly_done():
        raise answer(429)
    assert type(raised.value) is Unavailable
    for other in (answer(401), answer(400)):
        with pytest.raises(MlflowException) as passed, partly_done():
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
        (1000, 0, 0, 0, Busy),
        (800, 100, 100, 0, Busy),
        (1001, 0, 0, 1, Unavailable),
        (901, 100, 0, 1, Unavailable),
        (0, 101, 0, 1, Unavailable),
        (0, 0, 101, 1, Unavailable),
    ],
)
def test_of_a_batch_that_goes_in_parts_one_may_stand_already(metrics, params, tags, taken, kind):
    batch = LogBatch(
        search_id="a",
        params=tuple((f"p{n}", "1") for n in range(params)),
        metrics=tuple(Metric("m", float(n), 1, n) for n in range(metrics)),
        tags=tuple((f"t{n}", "1") for n in range(tags)),
    )
    with answering(*[200] * taken, 429) as uri, tried_once():
        with pytest.raises(Exception) as raised:  # noqa: PT011 - what it means is asked below
            calls.log_batch(calls.connect(uri), "run", batch)
        assert type(translate(raised.value, uri)) is kind


@pytest.mark.parametrize("is_databricks", [False, True])
def test_whether_this_is_databricks_is_asked_once_where_it_is_not(monkeypatch, is_databricks):
    asked = []
    monkeypatch.setattr(http, "_elsewhere", False)
    monkeypatch.setattr(databricks_utils, "is_in_cluster", lambda: asked.append(1))
    if is_databricks:
        monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "15.4")
    with answering(*[200] * 4) as uri:
        client = calls.connect(uri)
        with tried_once():
            for _ in range(3):
                client.delete_run("r")
        ours = len(asked)
        client.delete_run("r")
    # In the calls of others it is asked as before.
    assert (ours > 1) == is_databricks
    assert len(asked) > ours > 0
