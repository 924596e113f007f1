"""Errors of trackmllib.

TrackmllibError
├── DependencyError      a required package is missing or too old; raised by ``autolog()``
├── IncompleteRecord     part of a search is not recorded; raised in strict mode only
├── SearchStopped        the search was stopped on request; raised by ``fit()``
├── CandidateTimeout     a fit exceeded ``candidate_timeout``; raised by ``fit()``
├── UnknownSearch        no search, or several, match
│   └── DamagedSearch    a file of the search is damaged
├── Unreachable          the tracking server does not answer, or refuses the credentials
├── OutboxError          an outbox on disk cannot be used; raised by the command line only
└── DeliveryError        an operation was not delivered; internal to the relay thread
    ├── Rejected         the server will never accept the operation
    └── Unavailable      a retry may succeed: every error that is not known to be final
        ├── Unauthorized            with other credentials
        │   └── StoreUnauthorized   with other credentials for the artifact store
        ├── Blocked                 after another operation, which is deferred, is delivered
        └── RateLimited             at a lower rate
"""

from __future__ import annotations

from typing import Any


class TrackmllibError(Exception):
    """Base class of all errors that trackmllib raises.

    Invalid arguments raise TypeError or ValueError instead.

    Example:
        >>> try:
        ...     res = trackmllib.load_results("3f2c")
        ... except trackmllib.TrackmllibError as error:
        ...     print(error)
    """


class DependencyError(TrackmllibError, ImportError):
    """A package that trackmllib requires is missing or too old.

    The message contains the command that installs it.

    Example:
        >>> try:
        ...     trackmllib.autolog()
        ... except trackmllib.DependencyError as error:
        ...     print(f"not recorded: {error}")
    """


class IncompleteRecord(TrackmllibError):
    """Part of a search is not recorded; only in strict mode.

    Strict mode is on with ``TRACKMLLIB_STRICT=1`` and in ``trackmllib.testing.recording()``.
    Otherwise, ``fit()`` warns instead.

    Example:
        >>> try:  # with TRACKMLLIB_STRICT=1
        ...     model = cv.fit(train)
        ... except trackmllib.IncompleteRecord as error:
        ...     print(error)
        The record of search 8f63… in MLflow is not complete. ...
    """


class SearchStopped(TrackmllibError):
    """The search was stopped by ``trackmllib stop`` or in the MLflow UI.

    Args:
        message: The message.
        results: The results so far.

    Attributes:
        results: The results so far (``trackmllib.Results``); None if none are known.

    Example:
        >>> try:
        ...     model = cv.fit(train)
        ... except trackmllib.SearchStopped as stopped:
        ...     print(stopped.results)
    """

    def __init__(self, message: str, results: Any = None) -> None:
        super().__init__(message)
        self.results = results


class CandidateTimeout(TrackmllibError, TimeoutError):
    """A fit took longer than ``autolog(candidate_timeout=…)`` allows.

    ``fit()`` raises it unless ``on_error`` skips the candidate.

    Example:
        >>> trackmllib.autolog(candidate_timeout=600)
        >>> try:
        ...     model = cv.fit(train)
        ... except trackmllib.CandidateTimeout as timeout:
        ...     print(timeout)
        candidate 3 took longer than candidate_timeout=600 s
    """


class UnknownSearch(TrackmllibError, LookupError):
    """No search, or several, match; the message lists similar ones.

    Example:
        >>> try:
        ...     res = trackmllib.results(model)
        ... except trackmllib.UnknownSearch:
        ...     res = trackmllib.load_results(run_id)
    """


class DamagedSearch(UnknownSearch):
    """A file of the search is damaged; the message says which file, and where."""


class Unreachable(TrackmllibError, ConnectionError):
    """The tracking server does not answer, or refuses the credentials.

    Example:
        >>> try:
        ...     res = trackmllib.load_results("3f2c", "http://mlflow:5000")
        ... except trackmllib.Unreachable as error:
        ...     print(error)
        http://mlflow:5000: connection refused
    """


class OutboxError(TrackmllibError):
    """An outbox on disk cannot be used; the message says why, and what to do."""


class DeliveryError(TrackmllibError):
    """An operation was not delivered; the message is the reason."""


class Rejected(DeliveryError):
    """The server will never accept the operation; no retry can succeed."""


class Unavailable(DeliveryError):
    """A retry may succeed: every error that is not known to be final."""


class Unauthorized(Unavailable):
    """The tracking server refuses the credentials of this process."""


class StoreUnauthorized(Unauthorized):
    """The artifact store refuses the credentials of this process.

    The store is accessed directly. The tracking server may still accept operations that write no
    artifact.
    """


class Blocked(Unavailable):
    """The operation depends on a deferred operation of another search."""


class RateLimited(Unavailable):
    """The server limits the request rate, and refused the operation."""
