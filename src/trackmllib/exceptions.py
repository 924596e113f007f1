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
    """Base class of all errors that trackmllib raises."""


class DependencyError(TrackmllibError, ImportError):
    """A package that trackmllib requires is missing or too old."""


class IncompleteRecord(TrackmllibError):
    """Part of a search is not recorded; only if ``TRACKMLLIB_STRICT=1``."""


class SearchStopped(TrackmllibError):
    """The search was stopped by ``trackmllib stop`` or in the MLflow UI.

    :ivar results: The results so far (``trackmllib.Results``); None if none are known.
    """

    def __init__(self, message: str, results: Any = None) -> None:
        super().__init__(message)
        self.results = results


class CandidateTimeout(TrackmllibError, TimeoutError):
    """A fit took longer than ``autolog(candidate_timeout=…)`` allows."""


class UnknownSearch(TrackmllibError, LookupError):
    """No search, or several, match; the message lists similar ones."""


class DamagedSearch(UnknownSearch):
    """A file of the search is damaged; the message says which file, and where."""


class Unreachable(TrackmllibError, ConnectionError):
    """The tracking server does not answer, or refuses the credentials."""


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
