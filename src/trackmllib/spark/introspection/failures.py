"""Description of errors as plain data."""

from __future__ import annotations

import traceback

from trackmllib.domain.descriptions import Failure
from trackmllib.exceptions import SearchStopped
from trackmllib.support.guard import attempt
from trackmllib.support.redaction import redact_credentials, redact_traceback


def describe_failure(error: BaseException) -> Failure:
    """Describe an error; credentials in its texts are redacted."""
    return Failure(
        type=type(error).__name__,
        message=redact_credentials(attempt(lambda: str(error), "")),
        traceback=redact_traceback("".join(traceback.format_exception(error))),
        interrupted=isinstance(error, SearchStopped) or not isinstance(error, Exception),
    )
