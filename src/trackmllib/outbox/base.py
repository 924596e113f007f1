"""What an outbox promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Sequence

from trackmllib.operations import Operation, Row


class Outbox(ABC):
    """Operations on their way to a tracking server, in the order in which they were put.

    * ``put`` is atomic: all of its operations are in, or none, when it returns or raises. It never
      waits for a server.
    * A row leaves only by ``acknowledge`` or ``set_aside``; reading it changes nothing. After a
      crash the rows that were read but not acknowledged are read again, so whoever applies them
      must be able to do so twice.
    * Rows of one run are read in the order they were put, and the oldest row of all comes first;
      how far others may overtake is said in ``operations.ready``.
    * All methods may be called from any thread. Threads that wait in here hold nothing that a
      ``put`` needs.

    What survives an accident is for each implementation to say.
    """

    @abstractmethod
    def put(self, operations: Sequence[Operation]) -> None:
        """Add operations behind all others."""

    @abstractmethod
    def peek(self, limit: int, without: Container[str] = ()) -> list[Row]:
        """The oldest row, and what is ready of the same run behind it; they stay where they are.

        All of one run at once, because what waits for one run can be sent in one request. At most
        ``limit`` rows, and none of the searches in ``without``.
        """

    @abstractmethod
    def acknowledge(self, numbers: Iterable[int]) -> None:
        """Remove rows that the server has said yes to. Unknown numbers are ignored."""

    @abstractmethod
    def set_aside(self, numbers: Iterable[int], reason: str) -> None:
        """Take rows that will never be accepted out of the order. An outbox that outlives the
        process keeps them with the reason.
        """

    @abstractmethod
    def waiting(self, search_id: str | None = None) -> int:
        """How many rows wait, of one search or of all; those set aside do not wait."""

    @abstractmethod
    def wait_for_rows(self, timeout: float | None) -> bool:
        """Wait until there is a row to peek at; False if there is none after ``timeout``."""

    @abstractmethod
    def wait_until_empty(self, search_id: str | None, timeout: float) -> bool:
        """Wait until no row waits, of one search or of all; False if some do after ``timeout``."""
