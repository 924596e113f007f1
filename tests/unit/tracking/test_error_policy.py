"""Meaning of every error in delivery, compared with tests/support/error_table.py."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import inspect
import json
import sqlite3
import string
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
import sqlalchemy.exc
from mlflow.entities import RunTag
from mlflow.exceptions import ERROR_CODE_TO_HTTP_STATUS, MlflowException, RestException
from mlflow.protos.databricks_pb2 import ErrorCode
from mlflow.store.db.db_types import SQLITE
from mlflow.store.db.utils import _get_managed_session_maker
from sqlalchemy.orm import sessionmaker

from support import error_table as table
from support.error_table import CREDENTIALS, REJECTED, UNAVAILABLE
from trackmllib import exceptions as errors
from trackmllib.tracking import artifacts
from trackmllib.tracking import client as calls
from trackmllib.tracking.error_policy import classify, translate
from trackmllib.tracking.http import single_attempt

pytestmark = pytest.mark.versions

SERVER = "http://user:s3cr3t@host"


def named(error: Exception) -> str:
    """The word of the table for the meaning of an error."""
    kind = classify(error)
    assert type(translate(error, SERVER)) is kind
    assert "s3cr3t" not in str(translate(error, SERVER))
    if issubclass(kind, errors.Unauthorized):
        return CREDENTIALS
    return UNAVAILABLE if issubclass(kind, errors.Unavailable) else REJECTED


def wrong(expected: dict[str, str], made: Callable[[str], Exception]) -> dict[str, str]:
    """The names whose error has another meaning than expected, with that meaning."""
    found = {name: named(made(name)) for name in expected}
    return {name: word for name, word in found.items() if word != expected[name]}


# Constructors of exceptions that need more than strings.
_BY_HAND: dict[str, Callable[[type[Exception]], Exception]] = {
    "ExceptionGroup": lambda cls: cls("x", [ValueError("x")]),
    "UnicodeDecodeError": lambda cls: cls("utf-8", b"x", 0, 1, "x"),
    "UnicodeEncodeError": lambda cls: cls("utf-8", "x", 0, 1, "x"),
    "UnicodeTranslateError": lambda cls: cls("x", 0, 1, "x"),
    "ClientError": lambda cls: cls({}, "PutObject"),
    "IncompleteRead": lambda cls: cls(b"x") if cls.__module__ == "http.client" else cls(1, 2),
    "InvalidChunkLength": lambda cls: cls(_Body(), b"x"),
    "JSONDecodeError": lambda cls: cls("x", "x", 0),
    "MlflowTraceDataException": lambda cls: cls(ErrorCode.Value("NOT_FOUND"), "x"),
    "RestException": lambda cls: cls({"message": "x"}),
    "WaiterError": lambda cls: cls("x", "x", {}),
}


class _Body:
    """A request body that urllib3 has not read."""

    length_remaining = 1

    def tell(self) -> int:
        return 0


def instance(cls: type[Exception]) -> Exception:
    """An exception as its package raises it, with "x" for each argument that it needs."""
    for base in cls.__mro__:
        if base.__name__ in _BY_HAND:
            return _BY_HAND[base.__name__](cls)
    try:
        parameters = list(inspect.signature(cls).parameters.values())
    except ValueError:
        # Written in C.
        return cls("x")
    if any(each.kind is each.VAR_KEYWORD for each in parameters) and hasattr(cls, "fmt"):
        # botocore fills in a text.
        fields = string.Formatter().parse(cls.fmt)
        return cls(**{field: "x" for _, field, _, _ in fields if field})
    needed = [
        each
        for each in parameters
        if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
    ]
    return cls(*["x" for _ in needed]) if needed else cls("x")


def exceptions_of(module_name: str) -> dict[str, type[Exception]]:
    """The public exceptions that a module itself defines."""
    module = importlib.import_module(module_name)
    owners = {module_name.partition(".")[0], module.__name__, f"_{module_name}"}
    return {
        name: cls
        for name, cls in vars(module).items()
        if inspect.isclass(cls)
        and issubclass(cls, Exception)
        and not name.startswith("_")
        and name == cls.__name__
        and (cls.__module__ in owners or cls.__module__.partition(".")[0] in owners)
    }


def is_installed(module_name: str) -> bool:
    return importlib.util.find_spec(module_name.partition(".")[0]) is not None


@pytest.mark.parametrize("module_name", [*filter(is_installed, sorted(table.EXCEPTIONS))])
def test_meaning_of_each_exception(module_name):
    expected = table.EXCEPTIONS[module_name]
    assert list(expected) == sorted(expected)
    installed = exceptions_of(module_name)
    assert set(installed) - set(expected) == set(), "missing from tests/support/error_table.py"
    there = {name: word for name, word in expected.items() if name in installed}
    assert wrong(there, lambda name: instance(installed[name])) == {}


def test_only_mlflow_rejects():
    words = {
        module: set(expected.values())
        for module, expected in table.EXCEPTIONS.items()
        if not module.startswith("mlflow.")
    }
    assert [module for module, found in words.items() if REJECTED in found] == []


def test_meaning_of_each_mlflow_error_code():
    expected = table.MLFLOW_CODES
    assert list(expected) == sorted(expected)
    installed = set(ErrorCode.keys())
    assert installed - set(expected) == set(), "missing from tests/support/error_table.py"
    there = {code: word for code, word in expected.items() if code in installed}
    of_a_store = wrong(there, lambda code: MlflowException("x", ErrorCode.Value(code)))
    of_a_server = wrong(there, lambda code: RestException({"error_code": code, "message": "x"}))
    assert (of_a_store, of_a_server) == ({}, {})


def test_unknown_error_code_is_retried():
    for code in ("NO_SUCH_CODE", "418", 418, None):
        try:
            error = RestException({"error_code": code, "message": "x"})
        except Exception as of_mlflow:  # noqa: BLE001 - MLflow 2.22 knows no status 418
            error = of_mlflow
        assert named(error) == UNAVAILABLE


def test_meaning_of_each_system_error():
    expected = table.ERRNOS.split()
    assert expected == sorted(expected)
    assert set(errno.errorcode.values()) - set(expected) == set(), "missing from error_table.py"
    there = {name: UNAVAILABLE for name in expected if hasattr(errno, name)}
    assert wrong(there, lambda name: OSError(getattr(errno, name), "x")) == {}


def test_meaning_of_each_aws_error_code():
    """As raised by boto3 and by its uploads, which keep the error only as context."""
    exceptions = pytest.importorskip("boto3.exceptions")
    from botocore.exceptions import ClientError

    def refused(code: str) -> Exception:
        status, _ = table.AWS_CODES[code]
        answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        return ClientError(answer, "PutObject")

    def upload(code: str) -> Exception:
        try:
            try:
                raise refused(code)
            except ClientError as error:
                raise exceptions.S3UploadFailedError(f"Failed to upload x to b/k: {error}")  # noqa: B904 - as boto3 does
        except exceptions.S3UploadFailedError as error:
            return error

    assert list(table.AWS_CODES) == sorted(table.AWS_CODES)
    expected = {code: word for code, (_, word) in table.AWS_CODES.items()}
    assert (wrong(expected, refused), wrong(expected, upload)) == ({}, {})


def test_meaning_of_database_messages():
    """As SQLAlchemy raises it, and as MLflow's own store hands it on."""
    engine = sqlalchemy.create_engine("sqlite://")
    session = _get_managed_session_maker(sessionmaker(engine), SQLITE)

    def raised(message: str) -> Exception:
        cause = sqlite3.OperationalError(message)
        return sqlalchemy.exc.OperationalError("INSERT INTO runs", {}, cause)

    def handed_on(cls: type[Exception]) -> Callable[[str], Exception]:
        def made(message: str) -> Exception:
            with pytest.raises(MlflowException) as caught, session():
                raise cls("INSERT INTO runs", {}, sqlite3.OperationalError(message))
            return caught.value

        return made

    expected = table.DATABASE_MESSAGES
    assert list(expected) == sorted(expected)
    found = {
        "SQLAlchemy": wrong(expected, raised),
        "OperationalError in MLflow": wrong(expected, handed_on(sqlalchemy.exc.OperationalError)),
        "ProgrammingError in MLflow": wrong(expected, handed_on(sqlalchemy.exc.ProgrammingError)),
    }
    engine.dispose()
    assert {name: each for name, each in found.items() if each} == {}


def test_reason_of_own_error_names_its_type():
    failure = translate(TypeError("can't add"), SERVER)
    assert isinstance(failure, errors.Unavailable)
    assert "TypeError" in str(failure)


class Answers:
    """A server that answers each request with one status and body."""

    def __init__(self) -> None:
        self.status, self.body = 200, b""
        self.kind: str | None = "text/html"
        answers = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_any(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                at_login = self.path.startswith("/login")
                status = 200 if at_login else answers.status
                body = PAGE if at_login else answers.body
                self.send_response(status)
                kind = "text/html" if at_login else answers.kind
                if kind is not None:
                    self.send_header("Content-Type", kind)
                if 300 <= status < 400:
                    self.send_header("Location", "/login")
                if status == 304:
                    body = b""
                else:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_any

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


PAGE = b"<html><body>Please log in</body></html>"


@pytest.fixture(scope="module")
def server() -> Iterator[Answers]:
    made = Answers()
    yield made
    made.close()


def requested(server: Answers, call: Callable[[Any], object]) -> str:
    """The meaning of the failure of a call to the server; "taken" if it does not fail."""
    client = calls.connect(server.uri)
    try:
        with single_attempt(5):
            call(client)
    except Exception as error:  # noqa: BLE001 - classified below
        return named(error)
    return "taken"


def write(client: Any) -> None:
    client.log_batch("a" * 32, tags=[RunTag("a", "b")], synchronous=True)


def read(client: Any) -> None:
    client.get_run("a" * 32)


def upload(client: Any) -> None:
    artifacts.log_file(client, "mlflow-artifacts:/1/a", [b"text"], "trackmllib/file.txt")


CALLS = {"write": write, "read": read, "upload": upload}


@contextmanager
def answering(server: Answers, status: int, body: bytes, kind: str | None) -> Iterator[None]:
    server.status, server.body, server.kind = status, body, kind
    yield


@pytest.mark.slow
@pytest.mark.parametrize("call", sorted(CALLS))
def test_meaning_of_each_status_without_mlflow_json(server, call):
    bodies = {
        "a page": (PAGE, "text/html"),
        "nothing": (b"", "text/html"),
        "json of another server": (b'{"message": "Forbidden"}', "application/json"),
        "json that is no object": (b'["no"]', "application/json"),
    }
    found = {}
    for status in range(300, 600):
        for name, (body, kind) in bodies.items():
            with answering(server, status, body, kind):
                word = requested(server, CALLS[call])
            if word != table.STATUSES.get(status, UNAVAILABLE):
                found[status, name] = word
    assert found == {}


@pytest.mark.parametrize("call", ["read", "write"])
def test_mlflow_error_code_decides_for_each_status(server, call):
    found = {}
    for code, word in table.MLFLOW_CODES.items():
        status = ERROR_CODE_TO_HTTP_STATUS.get(code, 500)
        body = json.dumps({"error_code": code, "message": "x"}).encode()
        with answering(server, status, body, "application/json"):
            meant = requested(server, CALLS[call])
        if meant != word:
            found[code, status] = meant
    assert found == {}


@pytest.mark.parametrize("call", ["read", "write"])
def test_no_status_rejects_passing_mlflow_error(server, call):
    found = {}
    for status in range(400, 600):
        body = json.dumps({"error_code": "INTERNAL_ERROR", "message": "x"}).encode()
        with answering(server, status, body, "application/json"):
            meant = requested(server, CALLS[call])
        if meant != table.STATUSES.get(status, UNAVAILABLE):
            found[status] = meant
    assert found == {}


NO_ANSWERS = {
    "a page": PAGE,
    "an array": b"[]",
    "bytes": b"\xff\xfe",
    "half an object": b'{"run": {"info"',
    "nothing": b"",
    "null": b"null",
    "text": b'"ok"',
}


@pytest.mark.parametrize("body", sorted(NO_ANSWERS))
@pytest.mark.parametrize("call", ["read", "write", "upload"])
def test_200_without_mlflow_answer_is_retried(server, call, body):
    with answering(server, 200, NO_ANSWERS[body], "text/html"):
        assert requested(server, CALLS[call]) == UNAVAILABLE


@pytest.mark.parametrize(("body", "kind"), [(b"{}", "application/json"), (b"", None)])
def test_upload_succeeds_on_every_server_version(server, body, kind):
    """MLflow's FastAPI server answers an upload with an empty body, its Flask server with JSON."""
    with answering(server, 200, body, kind):
        assert requested(server, upload) == "taken"


def test_meaning_of_each_requests_response():
    """Uploads raise the answer itself."""

    def made(status: str) -> Exception:
        response = requests.Response()
        response.status_code = int(status)
        return requests.HTTPError("x", response=response)

    expected = {str(status): table.STATUSES.get(status, UNAVAILABLE) for status in range(300, 600)}
    assert wrong(expected, made) == {}
