"""What an outbox promises."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from trackmllib.events import Event
from trackmllib.operations import Operation, Row

# A batch lingers for a second; that of a child run, where something waits of very many runs of its
# search, for as long as it takes to send something to each of them at this pace, and no longer than
# five. So it does until nothing waits: with fewer and fewer runs it would go before it is whole.
LINGER_SECONDS = 1.0
LONGEST_LINGER_SECONDS = 5.0
LINGER_SECONDS_A_RUN = 0.02


class Undelivered(NamedTuple):
    """Numbers of rows that no server has acknowledged.

    ``waiting`` for this process, ``deferred`` to the next one, or ``rejected`` by a server.
    """

    waiting: int = 0
    deferred: int = 0
    rejected: int = 0

    def plus(self, other: Undelivered) -> Undelivered:
        return Undelivered(*map(int.__add__, self, other))


def counted(rows_of_search: Counter[str], search_id: str | None) -> int:
    """The number of rows of one search, or of all."""
    if search_id is None:
        return sum(rows_of_search.values())
    return rows_of_search[search_id]


class Outbox(ABC):
    """Operations on their way to a tracking server, in the order in which they were put.

    * ``put`` is atomic: all of its operations are in, or none, when it returns or raises. It never
      waits for a server.
    * A row leaves only by ``acknowledge`` or ``reject``; reading it changes nothing. One that is
      deferred is read again by the next process that opens the outbox. After a
      crash the rows that were read but not acknowledged are read again, those marked by ``sending``
      with ``again``, so whoever applies them can look first what stands already.
    * Rows of one run are read in the order they were put, and the oldest row of all comes first;
      how far others may overtake is said in ``operations.ready``. A batch may linger for a second
      (that of a child run, where more than fifty runs of its search wait, or have since nothing of
      it did, for up to five), so that what follows soon can go with it in one request.
    * What is remembered of a search stays as long as the search does: until it is closed and no row
      of it is left.
    * All methods may be called from any thread. Threads that wait in here hold nothing that a
      ``put`` needs.

    What survives an accident:

    ==============================  ===============  ==============================================
    accident                        MemoryOutbox     SqliteOutbox
    ==============================  ===============  ==============================================
    an exception, Ctrl-C            all rows         all rows
    the server is away              all rows         all rows
    ``os._exit``, ``kill -9``       nothing          all rows of each ``put`` that returned
    the machine crashes             nothing          all but the rows of the last moments: those
                                                     that the system had not yet written to the
                                                     disk. Never a part of a ``put``.
    ==============================  ===============  ==============================================
    """

    def __init__(self, changed: threading.Condition | None = None) -> None:
        # Held while rows come and go, and told of it; outboxes that are one for others share it.
        self.changed = changed or threading.Condition()

    @abstractmethod
    def put(self, operations: Sequence[Operation], event: Event | None = None) -> None:
        """Add operations behind all others, with the fact that they follow from.

        An outbox that outlives the process keeps the facts of a search until it is closed: from
        them a search can be ended whose process has died.
        """

    @abstractmethod
    def peek(
        self, limit: int, without: Container[str] = (), *, linger: bool = False, runs: int = 1
    ) -> list[Row]:
        """The oldest row, and what is ready of the same run behind it; they stay where they are.

        All of one run at once, because what waits for one run can be sent in one request; and then
        of more runs of the same search, ``runs`` in all. At most ``limit`` rows, and none of the
        searches in ``without``. With ``linger``, young batches wait for company, unless something
        that does not is behind them.
        """

    @abstractmethod
    def sending(self, numbers: Iterable[int]) -> None:
        """Note that rows are about to be sent: from now on they are read with ``again``."""

    @abstractmethod
    def not_sent(self, numbers: Iterable[int]) -> None:
        """Take the last ``sending`` of rows back: the server has certainly done nothing of them."""

    @abstractmethod
    def acknowledge(self, numbers: Iterable[int]) -> None:
        """Remove rows that the server has said yes to. Unknown numbers are ignored."""

    @abstractmethod
    def hold(self, numbers: Iterable[int]) -> None:
        """Read other rows before these, until ``unhold``. They still wait."""

    @abstractmethod
    def unhold(self, numbers: Iterable[int]) -> None:
        """Read rows in their order again. Unknown numbers are ignored."""

    @abstractmethod
    def defer(self, numbers: Iterable[int], reason: str) -> None:
        """Leave rows that fail repeatedly to the next process.

        They no longer wait, and this process does not read them again.
        """

    @abstractmethod
    def reject(self, numbers: Iterable[int], reason: str) -> None:
        """Take rows that a server has rejected out of the order. An outbox that outlives the
        process keeps them with the reason.
        """

    @abstractmethod
    def remember(self, search_id: str, facts: Mapping[str, str], *, on_disk: bool = False) -> None:
        """Keep what was learnt or decided while the rows of a search were applied.

        ``on_disk``: it is to survive a crash of the machine too, if anything here does.
        """

    @abstractmethod
    def recall(self, search_id: str) -> dict[str, str]:
        """All that was remembered of a search."""

    @abstractmethod
    def waiting(self, search_id: str | None = None) -> int:
        """The number of waiting rows, of one search or of all; not those deferred or rejected."""

    @abstractmethod
    def waits_for_run(self, search_id: str, candidate: int | None) -> bool:
        """Whether a row of a run waits; not one that is deferred or rejected."""

    @abstractmethod
    def undelivered(self, search_id: str | None = None) -> Undelivered:
        """The rows that no server has acknowledged, of one search or of all.

        Rejected rows count from the time when the outbox was opened.
        """

    def wait_for_rows(self, timeout: float | None) -> bool:
        """Wait until there is a row to peek at; False if there is none after ``timeout``."""
        with self.changed:
            return self.changed.wait_for(lambda: self.waiting() > 0, timeout)

    def wait_until_empty(self, search_id: str | None, timeout: float) -> bool:
        """Wait until no row waits, of one search or of all; False if some do after ``timeout``."""
        with self.changed:
            return self.changed.wait_for(lambda: self.waiting(search_id) == 0, timeout)

    @abstractmethod
    def note_error(self, search_id: str, error: str | None) -> None:
        """Keep why the rows of a search could not be sent the last time, for who looks at it from
        outside of the process; None when they can be sent again.
        """

    @abstractmethod
    def tidy(self) -> None:
        """What is to be done now and then, and may wait for the disk: on no Spark thread."""
