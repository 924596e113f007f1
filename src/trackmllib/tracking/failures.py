"""What an error of MLflow's means: will the server never take this, or perhaps later?"""

from __future__ import annotations

import requests
from mlflow.exceptions import MlflowException, RestException

from trackmllib.errors import DeliveryError, Refused, Unavailable
from trackmllib.tracking.uris import redacted

_LATER = {408, 425, 429, 500, 502, 503, 504}
_SIGNS = ("api request to", "database is locked", "max retries exceeded")


def translate(error: Exception, tracking_uri: str) -> DeliveryError:
    """The error as one of ours, its message a reason without credentials."""
    text = str(error).strip() or type(error).__name__
    reason = f"{redacted(tracking_uri)}: {redacted(text.splitlines()[0])}"
    return Unavailable(reason) if is_passing(error) else Refused(reason)


def is_passing(error: Exception) -> bool:
    """Whether the same call may succeed later.

    True for connections that fail, time-outs, 429 and 5xx, and a database that is locked;
    everything else is final.
    """
    if isinstance(error, Unavailable):
        return True
    if isinstance(error, (requests.ConnectionError, requests.Timeout, ConnectionError)):
        return True
    if isinstance(error, RestException):
        return error.get_http_status_code() in _LATER
    if isinstance(error, MlflowException):
        # MLflow wraps what requests and SQLAlchemy raise; only the text tells.
        text = str(error).lower()
        return any(sign in text for sign in _SIGNS)
    return False
