"""HTTP requests of our own calls: tried once, with their answers checked.

MLflow tries a request up to eight times, for minutes, inside of the call, and accepts every answer
with status 200. Delivery retries by itself, which holds up no other search, and acknowledges only
what MLflow's server has answered, because a proxy in between may answer too. Calls of the user keep
MLflow's behaviour.
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
    _EnvironmentVariable,
)
from mlflow.exceptions import RestException
from mlflow.tracking.request_header.databricks_request_header_provider import (
    DatabricksRequestHeaderProvider,
)
from mlflow.utils import rest_utils

from trackmllib.errors import Unavailable
from trackmllib.patching import Patch, SharedPatches
from trackmllib.redaction import redacted
from trackmllib.tracking import workspace
from trackmllib.tracking.credentials import VARIABLES
from trackmllib.tracking.failures import LONGEST_REASON, meaning, meaning_of_status

TIMEOUT_SECONDS = 30
# Databricks' SDK reads 0 as its default, five minutes.
SDK_RETRY_SECONDS = 1

# The key that an answer of MLflow's REST API must have, by the end of the path. For other paths an
# empty object is valid: the answer to a write, and to a search that finds nothing.
_HOLDS = {
    "/experiments/create": "experiment_id",
    "/experiments/get": "experiment",
    "/experiments/get-by-name": "experiment",
    "/runs/create": "run",
    "/runs/get": "run",
    "/runs/update": "run_info",
}
_ARTIFACTS = "/mlflow-artifacts/"
# Questions about what a server can do. To a no of these, MLflow's client does it in another way.
_ASKS_FOR = ("/mlflow/server-info", "/mlflow-artifacts/mpu/create/", "/mlflow-artifacts/presigned/")
_CANNOT = (404, 501)
# After these a client requests the new address by GET, without the body.
_LOSES_THE_BODY = (301, 302, 303)

_here = threading.local()
_elsewhere = False


@contextmanager
def tried_once(timeout_seconds: int = TIMEOUT_SECONDS) -> Iterator[None]:
    """Have MLflow try each HTTP request of this thread once, and check its answer.

    ``timeout_seconds`` bounds the wait for an answer, unless the user has set
    ``MLFLOW_HTTP_REQUEST_TIMEOUT``. An answer that is not MLflow's raises Unavailable, which MLflow
    may wrap in an exception of its own.
    """
    before = getattr(_here, "timeout", None)
    with _patches:
        _here.timeout = timeout_seconds
        try:
            yield
        finally:
            _here.timeout = before


def connect_timeout() -> int:
    """The seconds that a connection of ours may take in this thread; 0 if it is not ours."""
    return getattr(_here, "timeout", None) or 0


def _get(original: Any, variable: Any) -> Any:
    timeout = getattr(_here, "timeout", None)
    if timeout is not None:
        if variable.name == MLFLOW_HTTP_REQUEST_MAX_RETRIES.name:
            return 0
        if variable.name == MLFLOW_DATABRICKS_ENDPOINT_HTTP_RETRY_TIMEOUT.name:
            return SDK_RETRY_SECONDS
        if variable.name == MLFLOW_HTTP_REQUEST_TIMEOUT.name and not variable.is_set():
            return timeout
        if variable.name == workspace.VARIABLE and workspace.is_settled():
            return None
    return original(variable)


def _in_context(original: Any, provider: Any) -> Any:
    """Whether this is Databricks. MLflow finds out at each request, by five imports that fail
    anywhere else: a third of what a request costs us.
    """
    global _elsewhere
    if getattr(_here, "timeout", None) is None or "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return original(provider)
    _elsewhere = _elsewhere or not original(provider)
    return not _elsewhere


def _request(original: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
    """A request of MLflow's client; the answer is checked if the request is ours."""
    if getattr(_here, "timeout", None) is None:
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

    ``streamed``: the answer is a file, whose content is unknown.

    :raises Unavailable: The answer is not MLflow's, or a retry may succeed; Unauthorized and Busy
        are kinds of it.
    :raises RestException: MLflow rejects the upload of an artifact. For its REST API, MLflow's
        client raises this error itself.
    """
    where = next((hop for hop in response.history if hop.status_code in _LOSES_THE_BODY), None)
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
    if status in _CANNOT and any(question in url for question in _ASKS_FOR):
        return
    found = _json_object(response)
    if status >= 400:
        _check_error(url, status, found)
    elif found is None or _HOLDS.get(_end_of(url), "") not in ("", *found):
        kind = response.headers.get("Content-Type", "no content type")
        text = f"the answer is not MLflow's (HTTP {status}, {kind})"
        raise Unavailable(text if where is None else f"{text}: {_redirected(where)}")


def _check_error(url: str, status: int, found: dict[str, Any] | None) -> None:
    said = "" if found is None else str(found.get("message") or "").strip()
    said = redacted(said.partition("\n")[0][:LONGEST_REASON])
    reason = f"HTTP {status}: {said}" if said else f"HTTP {status}"
    kind = meaning_of_status(status)
    if kind is not None:
        raise kind(reason if kind.__name__ != "Unauthorized" else f"{reason}. Set {VARIABLES}")
    error = RestException(found) if found is not None and "error_code" in found else None
    if error is None or issubclass(meaning(error), Unavailable):
        raise Unavailable(reason)
    if _ARTIFACTS in url:
        raise error


def _is_silent(response: Any) -> bool:
    """Whether an answer is empty, like that of newer MLflow servers to an upload."""
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
    """A client of Databricks' SDK with our time-outs; MLflow caches those of the user's calls."""
    return getattr(original, "__wrapped__", original)(*args, **kwargs)


def _get_workspace_client(original: Any, *args: Any, **kwargs: Any) -> Any:
    if getattr(_here, "timeout", None) is None:
        return original(*args, **kwargs)
    return _workspace_client(original, *args, **kwargs)


@functools.lru_cache(maxsize=1)
def prepare_databricks() -> None:
    """Limit the retries of Databricks' SDK to a second, for our requests. Call it before the first.

    MLflow makes a client of the SDK for each request, which retries for five minutes. The patch
    stays installed, and does not change other uses of the SDK.
    """
    try:
        from databricks.sdk import _base_client
    except ImportError:
        # Not installed, or a release that keeps to what MLflow sets.
        return
    Patch(_base_client._BaseClient, "__init__", _base_client_init).install()


def _base_client_init(original: Any, *args: Any, **kwargs: Any) -> Any:
    if getattr(_here, "timeout", None) is not None:
        kwargs["retry_timeout_seconds"] = SDK_RETRY_SECONDS
        kwargs["http_timeout_seconds"] = kwargs.get("http_timeout_seconds") or _here.timeout
    return original(*args, **kwargs)


# MLflow reads all of this at each request, and offers no way to set it for one client.
_patches = SharedPatches(
    Patch(owner, name, around)
    for owner, name, around in (
        (_EnvironmentVariable, "get", _get),
        (DatabricksRequestHeaderProvider, "in_context", _in_context),
        (rest_utils, "_get_http_response_with_retries", _request),
        (rest_utils, "get_workspace_client", _get_workspace_client),
    )
    if hasattr(owner, name)
)
