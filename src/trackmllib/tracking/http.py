"""HTTP requests with one attempt each, and a check of the answer.

Within a call, MLflow tries a request up to eight times, for minutes, and accepts every answer with
status 200. The relay retries on its own, which delays no other search, and accepts only answers of
MLflow's server, because a proxy may answer, too. The user's calls keep MLflow's behaviour.
"""

from __future__ import annotations

import functools
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from mlflow.environment_variables import (
    MLFLOW_DATABRICKS_ENDPOINT_HTTP_RETRY_TIMEOUT,
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
)
from mlflow.exceptions import RestException
from mlflow.tracking.request_header.databricks_request_header_provider import (
    DatabricksRequestHeaderProvider,
)
from mlflow.utils import rest_utils

from trackmllib.exceptions import Unavailable
from trackmllib.support.patching import Patch, SharedPatches
from trackmllib.support.redaction import redacted
from trackmllib.tracking.credentials import VARIABLES
from trackmllib.tracking.error_policy import LONGEST_REASON, classify, classify_status
from trackmllib.tracking.thread_env import overridden

TIMEOUT_SECONDS = 30
# Databricks' SDK reads 0 as its default, five minutes.
SDK_RETRY_SECONDS = 1

# The key that an answer of MLflow's REST API must have, by the end of the path. For other paths an
# empty object is valid: the answer to a write, and to a search that finds nothing.
_REQUIRED_KEYS = {
    "/experiments/create": "experiment_id",
    "/experiments/get": "experiment",
    "/experiments/get-by-name": "experiment",
    "/runs/create": "run",
    "/runs/get": "run",
    "/runs/update": "run_info",
}
_ARTIFACTS = "/mlflow-artifacts/"
# Requests for features of a server. If it lacks one, MLflow's client works without it.
_FEATURES = (
    "/mlflow/server-info",
    "/mlflow/logged-models",
    "/mlflow-artifacts/mpu/create/",
    "/mlflow-artifacts/presigned/",
)
_FEATURE_MISSING = (404, 501)
# After these a client requests the new address by GET, without the body.
_BODY_LOST = (301, 302, 303)

_thread = threading.local()
_is_not_databricks = False


@contextmanager
def single_attempt(timeout_seconds: int = TIMEOUT_SECONDS) -> Iterator[None]:
    """Send each HTTP request of this thread only once, and check its answer.

    ``timeout_seconds`` bounds the wait for an answer, unless the user has set
    ``MLFLOW_HTTP_REQUEST_TIMEOUT``. An answer that is not MLflow's raises Unavailable, which MLflow
    may wrap in an exception of its own.
    """
    values = {
        MLFLOW_HTTP_REQUEST_MAX_RETRIES.name: 0,
        MLFLOW_DATABRICKS_ENDPOINT_HTTP_RETRY_TIMEOUT.name: SDK_RETRY_SECONDS,
    }
    before = _timeout()
    with overridden(values, {MLFLOW_HTTP_REQUEST_TIMEOUT.name: timeout_seconds}), _patches:
        _thread.timeout = timeout_seconds
        try:
            yield
        finally:
            _thread.timeout = before


def connect_timeout() -> int:
    """Connection timeout in this thread, in seconds; 0 for MLflow's own."""
    return _timeout() or 0


def _timeout() -> int | None:
    timeout: int | None = getattr(_thread, "timeout", None)
    return timeout


def _in_context(original: Any, provider: Any) -> Any:
    """Whether this is Databricks, looked up once.

    MLflow looks it up at each request, by five imports that fail elsewhere: a third of the cost of
    a request.
    """
    global _is_not_databricks
    if _timeout() is None or "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return original(provider)
    _is_not_databricks = _is_not_databricks or not original(provider)
    return not _is_not_databricks


def _request(original: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
    """Send a request; within ``single_attempt``, check its answer."""
    if _timeout() is None:
        return original(method, url, *args, **kwargs)
    # urllib3 would raise an error without the status and the body.
    position = 4
    if len(args) > position:
        args = (*args[:position], False, *args[position + 1 :])
    else:
        kwargs["raise_on_status"] = False
    response = original(method, url, *args, **kwargs)
    check(method, url, response, streamed=bool(kwargs.get("stream")))
    return response


def check(method: str, url: str, response: Any, *, streamed: bool = False) -> None:
    """Raise unless MLflow's server has answered a request for ``url``.

    :param streamed: The answer is a file, whose content is unknown.
    :raises Unavailable: The answer is not MLflow's, or a retry may succeed. Unauthorized and
        RateLimited are subclasses.
    :raises RestException: MLflow rejects the upload of an artifact. For its REST API, MLflow's
        client raises this error itself.
    """
    where = next((hop for hop in response.history if hop.status_code in _BODY_LOST), None)
    if where is None and 300 <= response.status_code < 400:
        where = response
    is_write = method.upper() not in ("GET", "HEAD")
    if where is not None and (is_write or where is response):
        raise Unavailable(_redirected(where))
    status = int(response.status_code)
    if streamed and status < 300:
        return
    if status == 200 and method.upper() == "PUT" and _is_silent(response):
        return
    if status in _FEATURE_MISSING and any(feature in url for feature in _FEATURES):
        return
    found = _json_object(response)
    if status >= 400:
        _check_error(url, status, found)
    elif found is None or _REQUIRED_KEYS.get(_end_of(url), "") not in ("", *found):
        kind = response.headers.get("Content-Type", "no content type")
        text = f"the answer is not MLflow's (HTTP {status}, {kind})"
        raise Unavailable(text if where is None else f"{text}: {_redirected(where)}")


def _check_error(url: str, status: int, found: dict[str, Any] | None) -> None:
    message = "" if found is None else str(found.get("message") or "").strip()
    message = redacted(message.partition("\n")[0][:LONGEST_REASON])
    reason = f"HTTP {status}: {message}" if message else f"HTTP {status}"
    kind = classify_status(status)
    if kind is not None:
        raise kind(reason if kind.__name__ != "Unauthorized" else f"{reason}. Set {VARIABLES}")
    error = RestException(found) if found is not None and "error_code" in found else None
    if error is None or issubclass(classify(error), Unavailable):
        raise Unavailable(reason)
    if _ARTIFACTS in url:
        raise error


def _is_silent(response: Any) -> bool:
    """Whether an answer is empty, as from newer MLflow servers to uploads."""
    kind = str(response.headers.get("Content-Type", ""))
    return not response.content and not kind.startswith("text/")


def _redirected(hop: Any) -> str:
    location = hop.headers.get("Location", "nowhere")
    return (
        f"the server redirects (HTTP {hop.status_code}) to {redacted(location)}, "
        "where nothing can be written"
    )


def _json_object(response: Any) -> dict[str, Any] | None:
    try:
        found = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _end_of(url: str) -> str:
    return "/" + "/".join(urlsplit(url).path.split("/")[-2:])


@functools.lru_cache(maxsize=5)
def _workspace_client(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A Databricks client with our timeouts, cached apart from MLflow's."""
    return getattr(original, "__wrapped__", original)(*args, **kwargs)


def _get_workspace_client(original: Any, *args: Any, **kwargs: Any) -> Any:
    if _timeout() is None:
        return original(*args, **kwargs)
    return _workspace_client(original, *args, **kwargs)


@functools.lru_cache(maxsize=1)
def prepare_databricks() -> None:
    """Limit the retries of Databricks' SDK within ``single_attempt``.

    Call it before the first request. MLflow creates an SDK client for each request, which retries
    for five minutes. The patch stays installed, and changes no other use of the SDK.
    """
    try:
        from databricks.sdk import _base_client
    except ImportError:
        # Not installed, or a release that keeps to what MLflow sets.
        return
    Patch(_base_client._BaseClient, "__init__", _base_client_init).install()


def _base_client_init(original: Any, *args: Any, **kwargs: Any) -> Any:
    timeout = _timeout()
    if timeout is not None:
        kwargs["retry_timeout_seconds"] = SDK_RETRY_SECONDS
        kwargs["http_timeout_seconds"] = kwargs.get("http_timeout_seconds") or timeout
    return original(*args, **kwargs)


# MLflow uses these functions for each request, and has no setting for one client.
_patches = SharedPatches(
    Patch(owner, name, around)
    for owner, name, around in (
        (DatabricksRequestHeaderProvider, "in_context", _in_context),
        (rest_utils, "_get_http_response_with_retries", _request),
        (rest_utils, "get_workspace_client", _get_workspace_client),
    )
    if hasattr(owner, name)
)
