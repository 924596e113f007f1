"""Interface and guarantees of an outbox."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from trackmllib.domain.events import Event
from trackmllib.domain.operations import Operation
from trackmllib.outbox.delivery_order import Row


class Undelivered(NamedTuple):
    """Counts of rows that no server has acknowledged.

    ``waiting`` for this process, ``deferred`` to the next, ``rejected`` by a server.
    """

    waiting: int = 0
    deferred: int = 0
    rejected: int = 0

    def plus(self, other: Undelivered) -> Undelivered:
        """Add the counts of another outbox."""
        return Undelivered(*map(int.__add__, self, other))


def count_of(rows_by_search: Counter[str], search_id: str | None) -> int:
    """The number of rows of one search, or of all."""
    if search_id is None:
        return sum(rows_by_search.values())
    return rows_by_search[search_id]


class Outbox(ABC):
    """Queue of the operations that a tracking server has not acknowledged yet.

    * ``enqueue`` is atomic: all of its operations are persisted, or none. It never waits for a
      server.
    * Rows leave only by ``acknowledge`` or ``reject``; ``peek`` changes nothing. Deferred rows wait
      for the next process that opens the outbox. After a crash, unacknowledged rows are read again,
      as ``redelivered`` if ``mark_sent`` has marked them.
    * Rows of one run are read in the order of ``enqueue``, and the oldest row of all comes first.
      ``delivery_order.select_deliverable`` selects rows that may overtake those of other runs.
    * Batches may linger for a second or more, so that one request delivers more of them; see
      ``scheduler``.
    * The registry of a search is kept until the search is closed and has no rows left.
    * All methods are thread-safe. A waiting thread holds no lock that ``enqueue`` needs.

    What survives which failure:

    ==============================  ===============  ==============================================
    failure                         MemoryOutbox     SqliteOutbox
    ==============================  ===============  ==============================================
    an exception, Ctrl-C            all rows         all rows
    the server is unavailable       all rows         all rows
    ``os._exit``, ``kill -9``       nothing          all rows of each ``enqueue`` that returned
    the machine crashes             nothing          all rows that the operating system has written
                                                     to disk; each ``enqueue`` whole or not at all
    ==============================  ===============  ==============================================
    """

    def __init__(self, changed: threading.Condition | None = None) -> None:
        # Guards the rows, and is notified when they change. Parts of a CompositeOutbox share it.
        self.changed = changed or threading.Condition()

    @abstractmethod
    def enqueue(self, operations: Sequence[Operation], event: Event | None = None) -> None:
        """Append operations, and persist the event that caused them.

        A durable outbox keeps the events of a search until the search is closed, so that another
        process can end the search if this one dies.
        """

    @abstractmethod
    def peek(
        self, limit: int, exclude: Container[str] = (), *, linger: bool = False, runs: int = 1
    ) -> list[Row]:
        """Read the next rows without removing them.

        All deliverable rows of the run of the oldest row come first, because one request can hold
        them; rows of further runs of the same search follow.

        :param limit: Maximum number of rows.
        :param exclude: Searches whose rows are skipped.
        :param linger: Let young batches linger, unless a row that does not linger is behind them.
        :param runs: Maximum number of runs.
        """

    @abstractmethod
    def mark_sent(self, numbers: Iterable[int]) -> None:
        """Mark rows that are about to be sent; later reads are ``redelivered``."""

    @abstractmethod
    def unmark_sent(self, numbers: Iterable[int]) -> None:
        """Undo the last ``mark_sent``, because the server has processed nothing."""

    @abstractmethod
    def acknowledge(self, numbers: Iterable[int]) -> None:
        """Remove rows that the server has accepted. Unknown numbers are ignored."""

    @abstractmethod
    def hold(self, numbers: Iterable[int]) -> None:
        """Skip rows until ``unhold``. They still count as waiting."""

    @abstractmethod
    def unhold(self, numbers: Iterable[int]) -> None:
        """Undo ``hold``. Unknown numbers are ignored."""

    @abstractmethod
    def defer(self, numbers: Iterable[int], reason: str) -> None:
        """Leave rows that fail repeatedly to the next process.

        They no longer wait, and this process does not read them again.
        """

    @abstractmethod
    def reject(self, numbers: Iterable[int], reason: str) -> None:
        """Remove rejected rows; a durable outbox keeps them with the reason."""

    @abstractmethod
    def save_registry(
        self, search_id: str, entries: Mapping[str, str], *, durable: bool = False
    ) -> None:
        """Add entries to the registry of a search, such as run ids.

        ``durable``: write them to the physical disk now, so that they survive a machine crash.
        """

    @abstractmethod
    def load_registry(self, search_id: str) -> dict[str, str]:
        """All registry entries of a search."""

    @abstractmethod
    def waiting(self, search_id: str | None = None) -> int:
        """Number of waiting rows, not deferred or rejected, of one search or all."""

    @abstractmethod
    def has_waiting_rows(self, search_id: str, candidate: int | None) -> bool:
        """Whether a run has waiting rows, not deferred or rejected."""

    @abstractmethod
    def undelivered(self, search_id: str | None = None) -> Undelivered:
        """Counts of unacknowledged rows, of one search or all.

        Rejected rows are counted from the opening of the outbox.
        """

    def wait_for_rows(self, timeout: float | None) -> bool:
        """Wait for a waiting row; False after ``timeout`` seconds."""
        with self.changed:
            return self.changed.wait_for(lambda: self.waiting() > 0, timeout)

    def wait_until_empty(self, search_id: str | None, timeout: float) -> bool:
        """Wait until no row waits; False after ``timeout`` seconds."""
        with self.changed:
            return self.changed.wait_for(lambda: self.waiting(search_id) == 0, timeout)

    @abstractmethod
    def record_error(self, search_id: str, error: str | None) -> None:
        """Persist the last error of a search, or None, for ``trackmllib status``."""

    @abstractmethod
    def maintain(self) -> None:
        """Do periodic work that may wait for the disk; never on a Spark thread."""
