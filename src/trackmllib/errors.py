"""The errors of trackmllib.

TrackmllibError
├── DependencyError      pyspark or mlflow is missing or too old (raised by ``autolog()``)
├── IncompleteRecord     strict mode only: part of a search did not reach its record
├── SearchStopped        somebody has asked for the end of a search; raised by its ``fit()``
├── CandidateTimeout     a cell took longer than ``candidate_timeout``; raised by ``fit()``
├── UnknownSearch        what is to be read is no search, or it is not clear which one
│   └── DamagedSearch    a file of it is damaged; the message says which one, and where
├── Unreachable          the server that is to be read does not answer, or wants other credentials
├── OutboxError          an outbox on disk cannot be used; seen by the command line only
└── DeliveryError        raised by what applies operations, seen only by the delivery thread
    ├── Rejected         the server will never accept this operation
    └── Unavailable      the server may accept it later: every error that isn't known to be final
        ├── Unauthorized only with other credentials
        │   └── StoreUnauthorized  the same, of an artifact store that is reached directly
        ├── Blocked      once another operation, which is deferred, is delivered
        └── Busy         at a lower rate; it has done nothing of the operation
"""

from __future__ import annotations

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
    """A file of the search that is to be read is damaged; the message says which one, and where."""


class Unreachable(TrackmllibError, ConnectionError):
    """The tracking server that is to be read cannot be reached, or wants other credentials."""


class OutboxError(TrackmllibError):
    """An outbox on disk cannot be used; the message says why, and what to do."""


class DeliveryError(TrackmllibError):
    """An operation did not reach the tracking server; the message is the reason."""


class Rejected(DeliveryError):
    """The server will never accept this operation, however often it is sent."""


class Unavailable(DeliveryError):
    """The same operation may succeed later. Every error that is not known to be final is one."""


class Unauthorized(Unavailable):
    """The tracking server wants other credentials than it was given."""


class StoreUnauthorized(Unauthorized):
    """An artifact store that is reached directly wants other credentials; the tracking server may
    well accept operations that write no artifact.
    """


class Blocked(Unavailable):
    """The operation needs what an operation of another search makes, and that one is deferred."""


class Busy(Unavailable):
    """The server accepts fewer requests than it is sent, and has turned this one away before it
    did anything of the operation.
    """
