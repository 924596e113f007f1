"""What an error of MLflow's means: will the server never take this, or perhaps later?"""

from __future__ import annotations

import re
import sqlite3

import requests
from mlflow.exceptions import MlflowException, RestException

from trackmllib.errors import DeliveryError, Refused, Unavailable
from trackmllib.tracking.uris import redacted

_LATER = {408, 425, 429, 502, 503, 504}
# What MLflow makes of an error of requests, and of an answer that is no JSON.
_NO_ANSWER = re.compile(r"failed with (timeout )?exception|max retries exceeded", re.IGNORECASE)
_ANSWER = re.compile(r"failed with error code (\d{3})")


def translate(error: Exception, tracking_uri: str) -> DeliveryError:
    """The error as one of ours, its message a reason without credentials."""
    text = str(error).strip() or type(error).__name__
    reason = f"{redacted(tracking_uri)}: {redacted(text.splitlines()[0])}"
    return Unavailable(reason) if is_passing(error) else Refused(reason)


def is_passing(error: Exception) -> bool:
    """Whether the same call may succeed later.

    True for connections that fail, time-outs, 429 and 5xx, and a database that is locked or away;
    everything else is final.
    """
    if isinstance(error, (Unavailable, requests.ConnectionError, requests.Timeout)):
        return True
    if isinstance(error, ConnectionError):
        return True
    if isinstance(error, sqlite3.OperationalError):
        return "locked" in str(error)
    return isinstance(error, MlflowException) and _mlflow_says_later(error)


def _mlflow_says_later(error: MlflowException) -> bool:
    text = str(error)
    if "sqlite3." in text:
        return "locked" in text
    if _NO_ANSWER.search(text):
        return True
    answer = _ANSWER.search(text)
    if answer:
        status = int(answer.group(1))
        return status in _LATER or status == 500
    status = error.get_http_status_code()
    # MLflow's own errors are INTERNAL_ERROR, 500, where nobody gave them a code.
    return status in _LATER or (status == 500 and isinstance(error, RestException))
