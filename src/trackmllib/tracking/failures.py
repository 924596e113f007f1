"""Error policy: the one place that decides what an error means for an operation.

There are three outcomes:

* ``Rejected``: MLflow itself says, by an error code of ``NEVER``, that it will never accept the
  operation. Only ``trackmllib sync`` sends it again.
* ``Unauthorized``: every 401 and 403, and the equivalent errors of artifact stores and databases.
  The operation is kept until the process has other credentials.
* ``Unavailable``, the default: everything else, unknown errors and our own included. The operation
  is retried. ``Busy``, for a 429, is the same at a lower rate.

Errors are classified by type, code or HTTP status, and by those of the errors that they wrap. Texts
decide nothing, with one exception: only its text tells that a database refuses a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mlflow.exceptions import MlflowException

from trackmllib.errors import (
    Busy,
    DeliveryError,
    Rejected,
    StoreUnauthorized,
    Unauthorized,
    Unavailable,
    chain,
)
from trackmllib.redaction import redacted
from trackmllib.tracking.credentials import VARIABLES

# MLflow's error codes (mlflow/protos/databricks.proto) that no retry can change.
NEVER = frozenset(
    {
        "ALREADY_EXISTS",
        "INVALID_PARAMETER_VALUE",
        "INVALID_STATE",
        "MALFORMED_REQUEST",
        "NOT_FOUND",
        "RESOURCE_ALREADY_EXISTS",
        "RESOURCE_DOES_NOT_EXIST",
    }
)
CREDENTIALS = frozenset({"CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED", "UNAUTHENTICATED"})
TOO_MANY = frozenset({"REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"})

# Error codes of S3 for expired credentials, which come with another status than 401 or 403.
_OF_S3 = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidToken",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)
# Raised by SDKs that send no request, because they find no credentials or cannot renew them.
_OF_SDKS = frozenset(
    {
        # botocore
        "CredentialRetrievalError",
        "InvalidConfigError",
        "LoginAuthorizationCodeError",
        "LoginError",
        "LoginInsufficientPermissions",
        "LoginRefreshRequired",
        "LoginRefreshTokenExpired",
        "LoginTokenLoadError",
        "NoAuthTokenError",
        "NoCredentialsError",
        "PartialCredentialsError",
        "PendingAuthorizationExpiredError",
        "RefreshWithMFAUnsupportedError",
        "SSOError",
        "SSOTokenLoadError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
        # azure.core, azure.identity, google.auth
        "ClientAuthenticationError",
        "CredentialUnavailableError",
        "DefaultCredentialsError",
        "RefreshError",
    }
)
_SDKS = ("azure.", "boto3.", "botocore.", "google.")
# PostgreSQL and MySQL; psycopg2 has no SQLSTATE for a connection that fails.
_NOT_ALLOWED = re.compile(
    r"password authentication failed|no password supplied|permission denied for"
    r"|Access denied for user|command denied to user"
)
# An operating system's messages about a connection, in the exceptions that urllib3 nests.
_CORE = re.compile(
    r"Connection refused|Connection reset by peer|Remote end closed connection|timed out"
    r"|Name or service not known|Network is unreachable"
)
LONGEST_REASON = 300


def translate(
    error: Exception, server: str, *, kind: type[DeliveryError] | None = None
) -> DeliveryError:
    """An error as a DeliveryError, whose message names ``server`` and the reason, redacted.

    ``server`` is a tracking URI or the URI of an artifact store.
    """
    if isinstance(error, DeliveryError):
        return error
    kind = kind or meaning(error)
    reason = f"{redacted(server)}: {redacted(in_short(error))}"
    if issubclass(kind, StoreUnauthorized):
        return kind(f"{reason}. Give this process credentials that may write there")
    if issubclass(kind, Unauthorized):
        return kind(f"{reason}. Set {VARIABLES}")
    return kind(reason)


def meaning(error: BaseException) -> type[DeliveryError]:
    """Rejected, Unauthorized, Busy or Unavailable: by the error, else by those that it wraps."""
    found = (_meaning_of_one(each) for each in chain(error))
    return next((each for each in found if each is not None), Unavailable)


def meaning_of_status(status: int) -> type[Unavailable] | None:
    """The meaning of an HTTP status; None if the error code in the answer decides."""
    if status in (401, 403):
        return Unauthorized
    return Busy if status == 429 else None


def in_short(error: BaseException) -> str:
    """One line about an error: our own or the operating system's text, if it wraps one."""
    for each in chain(error):
        if isinstance(each, DeliveryError):
            return str(each)
        core = _CORE.search(str(each)) if _is_of_network(each) else None
        if core is not None:
            return core.group(0).lower()
    name, text = type(error).__name__, str(error).strip()
    if type(error).__module__ == "builtins" and not isinstance(error, OSError):
        # The text of KeyError('x') is "'x'" alone.
        text = f"{name}: {text}"
    return (text or name).splitlines()[0][:LONGEST_REASON]


@contextmanager
def partly_done() -> Iterator[None]:
    """Raise Unavailable instead of Busy: a part of the operation may be done already."""
    try:
        yield
    except Exception as error:
        if issubclass(meaning(error), Busy):
            raise Unavailable(redacted(in_short(error))) from error
        raise


def _meaning_of_one(error: BaseException) -> type[DeliveryError] | None:
    """The meaning of an error without those that it wraps; None if it has none."""
    if isinstance(error, DeliveryError):
        return type(error)
    if isinstance(error, MlflowException):
        return _meaning_of_code(str(error.error_code))
    status = _status(error)
    if status is not None and (kind := meaning_of_status(status)) is not None:
        return kind
    module = type(error).__module__
    if module.startswith(_SDKS):
        names = {cls.__name__ for cls in type(error).__mro__}
        if names & _OF_SDKS or _s3_code(error) in _OF_S3:
            return Unauthorized
    if module.startswith(("sqlalchemy.", "psycopg", "pymysql.", "MySQLdb")):
        return Unauthorized if _NOT_ALLOWED.search(str(error)) else None
    return None


def _meaning_of_code(code: str) -> type[DeliveryError] | None:
    if code in NEVER:
        return Rejected
    if code in CREDENTIALS:
        return Unauthorized
    return Busy if code in TOO_MANY else None


def _status(error: BaseException) -> int | None:
    """The HTTP status of an SDK's error.

    requests and Azure name it ``status_code``, Google ``code``; botocore has it in the response.
    """
    answer = getattr(error, "response", None)
    if isinstance(answer, Mapping):
        found = (answer.get("ResponseMetadata") or {}).get("HTTPStatusCode")
    else:
        found = getattr(answer, "status_code", None)
    for each in (found, getattr(error, "status_code", None), getattr(error, "code", None)):
        if isinstance(each, int) and 300 <= each < 600:
            return int(each)
    return None


def _s3_code(error: BaseException) -> str:
    answer = getattr(error, "response", None)
    found = answer.get("Error") if isinstance(answer, Mapping) else None
    return str(found.get("Code", "")) if isinstance(found, Mapping) else ""


def _is_of_network(error: BaseException) -> bool:
    return type(error).__module__.startswith(("requests.", "urllib3.")) or isinstance(
        error, OSError
    )
