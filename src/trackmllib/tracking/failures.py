"""What an error of MLflow's means: will the server never take this, or perhaps later?

The only place where it is decided what is tried again:

* a connection that is refused, reset or cut, a time-out, 408, 425, any 5xx, a database that is
  locked or away: Unavailable, tried again for as long as it takes;
* a server whose requests are waiting for each other's connections to its database, which MLflow
  calls a bad request, 400: Unavailable;
* 429: Busy, tried again at a pace that the server bears;
* 401 and 403: Unauthorized, kept until the user has given other credentials;
* everything else (400, a run or an experiment that is deleted): Refused, set aside.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from mlflow.exceptions import MlflowException, RestException

from trackmllib.errors import Busy, DeliveryError, Refused, Unauthorized, Unavailable
from trackmllib.redaction import redacted
from trackmllib.tracking.credentials import VARIABLES

_LATER = {408, 425}
_TOO_MANY = 429
_OTHER_CREDENTIALS = {401, 403}
# What MLflow makes of an error of requests, and of an answer that is no JSON.
_NO_ANSWER = re.compile(r"failed with (timeout )?exception|max retries exceeded", re.IGNORECASE)
# An error status is said by MLflow, or by urllib3, which counts its tries.
_ANSWER = re.compile(r"(?:failed with error code|too many) (\d{3})\b")
# The part that means something to people, out of the exceptions that urllib3 packs in each other.
_CORE = re.compile(
    r"Connection refused|Connection reset by peer|Remote end closed connection|timed out"
    r"|Name or service not known|Network is unreachable|too many \d+ error responses"
)
LONGEST_REASON = 300
_SQLITE_LATER = re.compile(r"locked|disk I/O error|database or disk is full")
# What SQLAlchemy says where a server has more requests at once than connections.
_NO_CONNECTION = re.compile(r"QueuePool limit .* connection timed out")
# What PostgreSQL and MySQL say to a wrong password, or to none.
_NOT_LET_IN = re.compile(
    r"password authentication failed|no password supplied|Access denied for user"
)


def translate(error: Exception, tracking_uri: str) -> DeliveryError:
    """The error as one of ours, its message a reason without credentials."""
    if isinstance(error, DeliveryError):
        return error
    text = str(error).strip() or type(error).__name__
    reason = f"{redacted(tracking_uri)}: {redacted(_in_short(text))}"
    kind = meaning(error)
    if kind is Unauthorized:
        reason = f"{reason}. Set {VARIABLES}"
    return kind(reason)


def _in_short(text: str) -> str:
    """The first line; of a connection that failed, what the system said of it."""
    core = _CORE.search(text)
    if core and _NO_ANSWER.search(text):
        return core.group(0).lower()
    return text.splitlines()[0][:LONGEST_REASON]


def meaning(error: Exception) -> type[DeliveryError]:
    """Refused, Unavailable, Unauthorized or Busy."""
    if isinstance(error, DeliveryError):
        return type(error)
    if _status(error) == _TOO_MANY:
        return Busy
    if _status(error) in _OTHER_CREDENTIALS or _NOT_LET_IN.search(str(error)):
        return Unauthorized
    return Unavailable if _is_passing(error) else Refused


@contextmanager
def partly_done() -> Iterator[None]:
    """Around requests of an operation of which a part may stand already: Busy would be untrue."""
    try:
        yield
    except MlflowException as error:
        if meaning(error) is Busy:
            raise Unavailable(redacted(_in_short(str(error)))) from error
        raise


def _is_passing(error: Exception) -> bool:
    """Whether the same call may succeed later."""
    if isinstance(error, (requests.ConnectionError, requests.Timeout, ConnectionError)):
        return True
    if isinstance(error, sqlite3.OperationalError):
        return _SQLITE_LATER.search(str(error)) is not None
    if _is_of_a_database(error):
        return "sqlite3." not in str(error) or _SQLITE_LATER.search(str(error)) is not None
    return isinstance(error, MlflowException) and _mlflow_says_later(error)


def _is_of_a_database(error: Exception) -> bool:
    """SQLAlchemy's name for a database that is away; MLflow lets it through when it connects."""
    cls = type(error)
    names = ("OperationalError", "InterfaceError", "TimeoutError")
    return cls.__module__.startswith("sqlalchemy.") and cls.__name__ in names


def _mlflow_says_later(error: MlflowException) -> bool:
    text = str(error)
    if "sqlite3." in text:
        return _SQLITE_LATER.search(text) is not None
    if _NO_ANSWER.search(text) or _NO_CONNECTION.search(text):
        return True
    status = _status(error)
    return status is not None and (status in _LATER or status >= 500)


def _status(error: Exception) -> int | None:
    """The HTTP status of the server's answer; None where the error is not about one."""
    if not isinstance(error, MlflowException):
        return None
    answer = _ANSWER.search(str(error))
    if answer:
        return int(answer.group(1))
    status: int = error.get_http_status_code()
    # MLflow's own errors are INTERNAL_ERROR, 500, where nobody gave them a code.
    return None if status == 500 and not isinstance(error, RestException) else status
