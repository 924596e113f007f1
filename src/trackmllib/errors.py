"""The errors of trackmllib.

TrackmllibError
├── DependencyError      pyspark or mlflow is missing or too old (raised by ``autolog()``)
├── IncompleteRecord     strict mode only: part of a search did not reach its record
├── SearchStopped        somebody has asked for the end of a search; raised by its ``fit()``
├── CandidateTimeout     a cell took longer than ``candidate_timeout``; raised by ``fit()``
├── UnknownSearch        what is to be read is no search, or it is not clear which one
│   └── DamagedSearch    a file of the search is damaged; the message says which one, and where
├── Unreachable          the server that is to be read does not answer, or wants other credentials
├── OutboxError          an outbox on disk cannot be used; seen by the command line only
└── DeliveryError        raised by what applies operations, seen only by the delivery thread
    ├── Rejected         the server will never accept this operation
    └── Unavailable      a retry may succeed: every error that is not known to be final
        ├── Unauthorized with other credentials
        │   └── StoreUnauthorized  the same, for an artifact store that is reached directly
        ├── Blocked      after another operation, which is deferred, is delivered
        └── Busy         at a lower rate; the server did nothing of the operation
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class TrackmllibError(Exception):
    """Base of every error that trackmllib raises itself."""


class DependencyError(TrackmllibError, ImportError):
    """A package that recording needs is missing or too old."""


class IncompleteRecord(TrackmllibError):
    """Part of a search is missing from its record. Raised only with ``TRACKMLLIB_STRICT=1``."""


class SearchStopped(TrackmllibError):
    """Somebody has asked for the end of the search, by ``trackmllib stop`` or on MLflow's page.

    :ivar results: What there is of it (``trackmllib.Results``); None if it was not recorded.
    """

    def __init__(self, message: str, results: Any = None) -> None:
        super().__init__(message)
        self.results = results


class CandidateTimeout(TrackmllibError, TimeoutError):
    """A candidate took longer on a fold than ``autolog(candidate_timeout=…)`` allows."""


class UnknownSearch(TrackmllibError, LookupError):
    """What is to be read from a server is no search, or could be several; the message says which
    ones are near.
    """


class DamagedSearch(UnknownSearch):
    """A file of the search is damaged; the message says which one, and where."""


class Unreachable(TrackmllibError, ConnectionError):
    """The tracking server that is to be read cannot be reached, or wants other credentials."""


class OutboxError(TrackmllibError):
    """An outbox on disk cannot be used; the message says why, and what to do."""


class DeliveryError(TrackmllibError):
    """An operation did not reach the tracking server; the message is the reason."""


class Rejected(DeliveryError):
    """The server will never accept this operation; no retry can succeed."""


class Unavailable(DeliveryError):
    """A retry of the operation may succeed. Every error that is not known to be final."""


class Unauthorized(Unavailable):
    """The tracking server refuses the credentials of this process."""


class StoreUnauthorized(Unauthorized):
    """An artifact store that is reached directly refuses the credentials of this process.

    The tracking server may still accept operations that write no artifact.
    """


class Blocked(Unavailable):
    """The operation depends on one of another search, which is deferred."""


class Busy(Unavailable):
    """The server gets too many requests, and did nothing of this operation."""


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error and the errors that it wraps, by cause or context, each once even in a circle."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__
