"""Rows of a search that have failed, and the rows that depend on them."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Collection
from dataclasses import dataclass, field

from trackmllib.errors import StoreUnauthorized, Unauthorized, Unavailable, chain
from trackmllib.operations import OpenMainRun, Operation, Sending, TakeOver, depends_on

# A row is deferred after this many failures between which other operations of its search succeed.
FAILURES = 5
# The network causes most broken connections, not the row: this many count as one failure.
UNANSWERED = 10

_OF_NETWORK = (ConnectionError, http.client.HTTPException, socket.gaierror)


@dataclass
class HeldRow:
    """A failed operation with its rows, ``numbers``, and the rows that depend on it.

    ``failures`` counts only failures between which another operation of the search succeeded: the
    server may be the cause of any other. A broken connection adds ``1 / UNANSWERED``.
    """

    numbers: list[int]
    operation: Operation
    error: Unavailable
    failures: float = 1
    others_succeeded: bool = False
    tries: int = 1
    dependents: list[int] = field(default_factory=list)

    @property
    def wants_credentials(self) -> bool:
        return isinstance(self.error, Unauthorized)


class HeldRows:
    """The failed rows of one search, which let the other rows go first.

    Only the thread that delivers changes them; any thread may read them.
    """

    def __init__(self) -> None:
        self._rows: tuple[HeldRow, ...] = ()
        self._deferred: list[tuple[Operation, str]] = []
        # Held with a batch that was split: which of its rows they depend on is seen anew.
        self._loose: list[int] = []

    @property
    def error(self) -> Unavailable | None:
        """The error of the first held row; None if there is none."""
        return self._rows[0].error if self._rows else None

    @property
    def count(self) -> int:
        """The number of rows that are held, dependents included."""
        held = sum(len(row.numbers) + len(row.dependents) for row in self._rows)
        return held + len(self._loose)

    @property
    def without_credentials(self) -> int:
        """The number of rows that are held until the process has other credentials."""
        rows = [row for row in self._rows if row.wants_credentials]
        return sum(len(row.numbers) + len(row.dependents) for row in rows)

    @property
    def apart(self) -> list[int]:
        """The rows to send in a request of their own: single ones that failed repeatedly."""
        alone = [row for row in self._rows if len(row.numbers) == 1 and row.failures > 1]
        return [number for row in alone for number in row.numbers]

    def release(self) -> list[int]:
        """Return the rows to retry with the same credentials; loose ones are released once."""
        rows = [row for row in self._rows if not row.wants_credentials]
        loose, self._loose = self._loose, []
        return [*(number for row in rows for number in row.numbers), *loose]

    def waiting_for_credentials(self) -> list[int]:
        rows = [row for row in self._rows if row.wants_credentials]
        return [number for row in rows for number in row.numbers]

    def failed(self, sending: Sending, error: Unavailable) -> HeldRow | None:
        """Count a failure; return the row, no longer held, if it must be deferred now."""
        before = [row for row in self._rows if not set(row.numbers).isdisjoint(sending.numbers)]
        row = HeldRow(list(sending.numbers), sending.operation, error)
        for one in before:
            counts = one.others_succeeded / (UNANSWERED if is_unanswered(error) else 1)
            row.failures = max(row.failures, one.failures + counts)
            row.tries = max(row.tries, one.tries + 1)
            row.dependents += one.dependents
        others = tuple(one for one in self._rows if one not in before)
        if row.failures < FAILURES or row.wants_credentials:
            self._rows = (*others, row)
            return None
        if len(row.numbers) > 1:
            # One row of the batch may be bad: each is sent by itself once more to find it.
            singly = [HeldRow([n], row.operation, error, FAILURES - 1) for n in row.numbers]
            self._loose += row.dependents
            self._rows = (*others, *singly)
            return None
        self._rows = others
        self._deferred.append((row.operation, str(error)))
        return row

    def succeeded(self, numbers: Collection[int]) -> list[int]:
        """Forget rows that the server has answered; return the rows to hold no longer."""
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
        return free + self.release()

    def failed_again(self, numbers: Collection[int]) -> bool:
        """Whether these rows failed more than once; of broken connections, each tenth is enough to
        ask, because each question moves the next try to another place among all requests.
        """
        return any(
            row.tries > 1
            and row.numbers[0] in numbers
            and (row.tries % UNANSWERED == 0 or not is_unanswered(row.error))
            for row in self._rows
        )

    def server_answered(self, numbers: Collection[int]) -> None:
        """Note that the server answers when asked, after rows have ``failed_again``."""
        for row in self._rows:
            if row.numbers[0] in numbers and is_unanswered(row.error):
                # The next one that breaks adds the rest of what so many are.
                row.failures += 1 - 1 / UNANSWERED
        self.others_answered()

    def others_answered(self) -> None:
        """Note that the server has answered another operation of the search."""
        for row in self._rows:
            row.others_succeeded = True

    def holds(self, number: int, operation: Operation) -> bool:
        """Hold a row with the held row that it depends on; whether there is one."""
        own = next((row for row in self._rows if number in row.numbers), None)
        if own is not None and len(own.numbers) == 1:
            # One that was split off a batch has had the operation of all of it.
            own.operation = operation
        for row in self._rows:
            earlier = row is not own and number > row.numbers[0]
            if earlier and depends_on(operation, row.operation):
                if own is not None:
                    self._give_up_own(own, number, row)
                row.dependents.append(number)
                return True
        return False

    def _give_up_own(self, own: HeldRow, number: int, earlier: HeldRow) -> None:
        """A failed row turns out to depend on another one: its failures count no more."""
        own.numbers = [each for each in own.numbers if each != number]
        if not own.numbers:
            earlier.dependents += own.dependents
            self._rows = tuple(row for row in self._rows if row is not own)

    def defers(self, operation: Operation) -> str | None:
        """Why an operation that a row depends on was deferred; None if there is none."""
        return next(
            (why for earlier, why in self._deferred if depends_on(operation, earlier)), None
        )

    def defer(self, operation: Operation, reason: str) -> None:
        """Have ``defers`` defer the operations that depend on this one."""
        self._deferred.append((operation, reason))

    def same_credentials_failed(self) -> bool:
        """Whether the tracking server refused the credentials of two operations in a row."""
        rows = [
            row
            for row in self._rows
            if row.wants_credentials
            and not isinstance(row.error, StoreUnauthorized)
            and not row.others_succeeded
        ]
        return len(rows) > 1


def lets_others_go_first(operation: Operation) -> bool:
    """Whether other operations of the search can be applied before this one."""
    return not isinstance(operation, (OpenMainRun, TakeOver))


def is_unanswered(error: BaseException) -> bool:
    """Whether an operation failed because its connection broke.

    False for a time-out, which the row itself may cause.
    """
    is_broken = False
    for each in chain(error):
        if isinstance(each, TimeoutError) or "Timeout" in type(each).__name__:
            return False
        # urllib3 keeps the error of the operating system as an argument, not as the cause.
        is_broken |= isinstance(each, _OF_NETWORK) or type(each).__module__.startswith("urllib3.")
    return is_broken
