"""Rows of one search that have failed, and the rows that have to wait for them."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Collection
from dataclasses import dataclass, field

from trackmllib.errors import StoreUnauthorized, Unauthorized, Unavailable
from trackmllib.operations import OpenMainRun, Operation, Sending, TakeOver, depends_on

# So often a row fails, while other operations of its search succeed, before it is deferred.
FAILURES = 5
# A failure without an answer is the network's more often than the row's: so many count as one.
UNANSWERED = 10

_OF_NETWORK = (ConnectionError, TimeoutError, http.client.HTTPException, socket.gaierror)


@dataclass
class HeldRow:
    """An operation that has failed, with the rows that it stands for and those that depend on it.

    ``failures`` counts those between which another operation of the search has succeeded: any
    other failure may be the server's.
    """

    numbers: list[int]
    operation: Operation
    error: Unavailable
    failures: float = 1
    others_succeeded: bool = False
    dependents: list[int] = field(default_factory=list)

    @property
    def wants_credentials(self) -> bool:
        return isinstance(self.error, Unauthorized)


class HeldRows:
    """Which rows of a search let others go first. For the thread that delivers; properties may be
    read from any thread.
    """

    def __init__(self) -> None:
        self._rows: tuple[HeldRow, ...] = ()
        self._deferred: list[tuple[Operation, str]] = []

    @property
    def error(self) -> Unavailable | None:
        """Why the first one failed."""
        return self._rows[0].error if self._rows else None

    @property
    def count(self) -> int:
        """How many rows are held, those that depend on others included."""
        return sum(len(row.numbers) + len(row.dependents) for row in self._rows)

    @property
    def without_credentials(self) -> int:
        """How many rows are held until there are other credentials."""
        rows = [row for row in self._rows if row.wants_credentials]
        return sum(len(row.numbers) + len(row.dependents) for row in rows)

    @property
    def apart(self) -> list[int]:
        """The rows that are sent one by one, so that one bad row is found among its company."""
        return [number for row in self._rows if row.failures > 1 for number in row.numbers]

    def passing(self) -> list[int]:
        """The rows that may be tried again at any time."""
        rows = [row for row in self._rows if not row.wants_credentials]
        return [number for row in rows for number in row.numbers]

    def waiting_for_credentials(self) -> list[int]:
        rows = [row for row in self._rows if row.wants_credentials]
        return [number for row in rows for number in row.numbers]

    def failed(self, sending: Sending, error: Unavailable) -> HeldRow | None:
        """Count a failure. The row if it is to be deferred now; it is not held any longer then."""
        before = [row for row in self._rows if not set(row.numbers).isdisjoint(sending.numbers)]
        row = HeldRow(list(sending.numbers), sending.operation, error)
        for one in before:
            counts = one.others_succeeded / (UNANSWERED if is_unanswered(error) else 1)
            row.failures = max(row.failures, one.failures + counts)
            row.dependents += one.dependents
        others = tuple(one for one in self._rows if one not in before)
        if row.failures >= FAILURES and not row.wants_credentials:
            self._rows = others
            self._deferred.append((row.operation, str(error)))
            return row
        if row.failures > 1 and len(row.numbers) > 1:
            first, *rest = row.numbers
            singly = [HeldRow([n], row.operation, error, row.failures) for n in rest]
            row.numbers = [first]
            others = (*others, *singly)
        self._rows = (*others, row)
        return None

    def succeeded(self, numbers: Collection[int]) -> list[int]:
        """Another operation has been answered, or these rows themselves; the rows that need not be
        held any longer.
        """
        free: list[int] = []
        kept = []
        for row in self._rows:
            row.numbers = [number for number in row.numbers if number not in numbers]
            if row.numbers:
                kept.append(row)
            else:
                free += row.dependents
        self._rows = tuple(kept)
        self.others_answered()
        return free + self.passing()

    def may_be_bad(self, numbers: Collection[int]) -> bool:
        """Whether these rows have failed again after others had succeeded."""
        return any(row.failures > 1 and row.numbers[0] in numbers for row in self._rows)

    def others_answered(self) -> None:
        """The server has answered something else."""
        for row in self._rows:
            row.others_succeeded = True

    def holds(self, number: int, operation: Operation) -> bool:
        """Whether a row depends on one that is held; it is held with that one from now on."""
        if any(number in row.numbers for row in self._rows):
            return False
        for row in self._rows:
            if number > row.numbers[0] and depends_on(operation, row.operation):
                row.dependents.append(number)
                return True
        return False

    def defers(self, operation: Operation) -> str | None:
        """Why a row must be deferred, because it depends on one that is; None if it need not."""
        return next(
            (why for earlier, why in self._deferred if depends_on(operation, earlier)), None
        )

    def defer(self, operation: Operation, reason: str) -> None:
        """Defer what depends on this operation from now on."""
        self._deferred.append((operation, reason))

    def same_credentials_failed(self) -> bool:
        """Whether the tracking server has turned two operations away, and none was answered in
        between.
        """
        rows = [
            row
            for row in self._rows
            if row.wants_credentials
            and not isinstance(row.error, StoreUnauthorized)
            and not row.others_succeeded
        ]
        return len(rows) > 1


def lets_others_go_first(operation: Operation) -> bool:
    """Whether anything of a search can be applied before this operation."""
    return not isinstance(operation, (OpenMainRun, TakeOver))


def is_unanswered(error: BaseException) -> bool:
    """Whether an operation failed because no answer came, or only a part of one."""
    each: BaseException | None = error
    while each is not None:
        # urllib3 keeps the system's error as an argument, not as a cause.
        if isinstance(each, _OF_NETWORK) or type(each).__module__.startswith("urllib3."):
            return True
        each = each.__cause__ or each.__context__
    return False
