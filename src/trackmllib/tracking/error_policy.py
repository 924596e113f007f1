"""Meaning of each error for its operation.

* ``Rejected``: MLflow itself answers with an error code in ``FINAL``, so it will never accept the
  operation. Only ``trackmllib sync`` sends it again.
* ``Unauthorized``: every 401 and 403, and the equivalent errors of artifact stores and databases.
  The operation is kept until the process has other credentials.
* ``Unavailable``: everything else, including unknown errors and our own. The operation is retried;
  for its subclass ``RateLimited``, a 429, at a lower rate.

Errors are classified by type, code or HTTP status, their own or of the errors that they wrap. The
text of an error counts only if a database refuses a password, which no code reports.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mlflow.exceptions import MlflowException

from trackmllib.exceptions import (
    DeliveryError,
    RateLimited,
    Rejected,
    StoreUnauthorized,
    Unauthorized,
    Unavailable,
)
from trackmllib.support.error_chain import error_chain
from trackmllib.support.redaction import redacted
from trackmllib.tracking.credentials import VARIABLES

# MLflow's error codes (mlflow/protos/databricks.proto) that no retry can change.
FINAL = frozenset(
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

# Error codes of S3 for expired credentials, with a status other than 401 or 403.
_S3_CODES = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidToken",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)
# Errors of SDKs that send no request, because they find no credentials or cannot renew them.
_SDK_ERRORS = frozenset(
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
_PASSWORD_REFUSED = re.compile(
    r"password authentication failed|no password supplied|permission denied for"
    r"|Access denied for user|command denied to user"
)
# The operating system's messages about a connection, within the exceptions of urllib3.
_SYSTEM_MESSAGE = re.compile(
    r"Connection refused|Connection reset by peer|Remote end closed connection|timed out"
    r"|Name or service not known|Network is unreachable"
)
LONGEST_REASON = 300


def translate(
    error: Exception, server: str, *, kind: type[DeliveryError] | None = None
) -> DeliveryError:
    """Return a DeliveryError that names the server and the redacted reason.

    :param server: A tracking URI or the URI of an artifact store.
    :param kind: The class of the result, if it is known.
    """
    if isinstance(error, DeliveryError):
        return error
    kind = kind or classify(error)
    reason = f"{redacted(server)}: {redacted(short_message(error))}"
    if issubclass(kind, StoreUnauthorized):
        return kind(f"{reason}. Give this process credentials that may write there")
    if issubclass(kind, Unauthorized):
        return kind(f"{reason}. Set {VARIABLES}")
    return kind(reason)


def classify(error: BaseException) -> type[DeliveryError]:
    """The meaning of an error or of one that it wraps, or Unavailable."""
    found = (_classify_one(each) for each in error_chain(error))
    return next((each for each in found if each is not None), Unavailable)


def classify_status(status: int) -> type[Unavailable] | None:
    """The meaning of an HTTP status; None if the error code decides."""
    if status in (401, 403):
        return Unauthorized
    return RateLimited if status == 429 else None


def short_message(error: BaseException) -> str:
    """One line about an error, from a wrapped error of ours or the system's."""
    for each in error_chain(error):
        if isinstance(each, DeliveryError):
            return str(each)
        found = _SYSTEM_MESSAGE.search(str(each)) if _is_of_network(each) else None
        if found is not None:
            return found.group(0).lower()
    name, text = type(error).__name__, str(error).strip()
    if type(error).__module__ == "builtins" and not isinstance(error, OSError):
        # The text of KeyError('x') is "'x'" alone.
        text = f"{name}: {text}"
    return (text or name).splitlines()[0][:LONGEST_REASON]


@contextmanager
def partially_applied() -> Iterator[None]:
    """Raise Unavailable for RateLimited, because a part may be applied."""
    try:
        yield
    except Exception as error:
        if issubclass(classify(error), RateLimited):
            raise Unavailable(redacted(short_message(error))) from error
        raise


def _classify_one(error: BaseException) -> type[DeliveryError] | None:
    """The meaning of an error, regardless of wrapped ones; None if unknown."""
    if isinstance(error, DeliveryError):
        return type(error)
    if isinstance(error, MlflowException):
        return _classify_code(str(error.error_code))
    status = _status(error)
    if status is not None and (kind := classify_status(status)) is not None:
        return kind
    module = type(error).__module__
    if module.startswith(_SDKS):
        names = {cls.__name__ for cls in type(error).__mro__}
        if names & _SDK_ERRORS or _s3_code(error) in _S3_CODES:
            return Unauthorized
    if module.startswith(("sqlalchemy.", "psycopg", "pymysql.", "MySQLdb")):
        return Unauthorized if _PASSWORD_REFUSED.search(str(error)) else None
    return None


def _classify_code(code: str) -> type[DeliveryError] | None:
    if code in FINAL:
        return Rejected
    if code in CREDENTIALS:
        return Unauthorized
    return RateLimited if code in TOO_MANY else None


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
