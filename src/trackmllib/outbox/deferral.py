"""Failed rows of a search, and when they are deferred."""

from __future__ import annotations

import http.client
import math
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from trackmllib.domain.operations import LogArtifact, OpenParentRun, Operation, Recover
from trackmllib.exceptions import RateLimited, StoreUnauthorized, Unauthorized, Unavailable
from trackmllib.outbox.backoff import Backoff
from trackmllib.outbox.delivery_order import Delivery, depends_on
from trackmllib.support.error_chain import error_chain

# A row is deferred after this many failures between which other operations of its search succeed.
FAILURES = 5
# The network causes most broken connections, not the row, so this many count as one failure.
UNANSWERED = 10

_OF_NETWORK = (ConnectionError, http.client.HTTPException, socket.gaierror)


@dataclass
class HeldRow:
    """A failed operation, its rows, and the rows that depend on it.

    ``failures`` counts only failures between which another operation of the search succeeded: an
    outage may have caused the others. A broken connection adds ``1 / UNANSWERED``; a rate limit
    adds nothing, but delays the row until ``until``. ``stuck``: the row would be deferred, but is
    an artifact. Its store may be unavailable while the server answers, and no run waits for it, so
    this process retries it at its own pace, and waits skip it.
    """

    numbers: list[int]
    operation: Operation
    error: Unavailable
    failures: float = 1
    others_succeeded: bool = False
    tries: int = 1
    dependents: list[int] = field(default_factory=list)
    pace: Backoff | None = None
    until: float = -math.inf
    stuck: bool = False

    @property
    def wants_credentials(self) -> bool:
        return isinstance(self.error, Unauthorized)


class HeldRows:
    """Failed rows of one search, which let its other rows go first.

    Only the relay thread changes them; any thread may read them.
    """

    def __init__(self, new_backoff: Callable[[], Backoff] = Backoff) -> None:
        self._new_backoff = new_backoff
        self._rows: tuple[HeldRow, ...] = ()
        self._deferred: list[tuple[Operation, str]] = []
        # Dependents of a batch that was split; they may depend on any of its rows.
        self._loose: list[int] = []

    @property
    def error(self) -> Unavailable | None:
        """Error of the first held row, if any."""
        return self._rows[0].error if self._rows else None

    @property
    def count(self) -> int:
        """Number of held rows, including dependents."""
        held = sum(len(row.numbers) + len(row.dependents) for row in self._rows)
        return held + len(self._loose)

    @property
    def blocked(self) -> int:
        """Number of rows that waits skip, including dependents.

        They need other credentials, or are stuck.
        """
        rows = [row for row in self._rows if row.wants_credentials or row.stuck]
        return sum(len(row.numbers) + len(row.dependents) for row in rows)

    @property
    def separate(self) -> list[int]:
        """Single rows that failed repeatedly, to be sent in separate requests."""
        single = [row for row in self._rows if len(row.numbers) == 1 and row.failures > 1]
        return [number for row in single for number in row.numbers]

    def release(self) -> list[int]:
        """Return the rows to retry now with the same credentials, and loose rows.

        Stuck rows come last, so that they delay no others.
        """
        now = time.monotonic()
        due = [row for row in self._rows if not row.wants_credentials and row.until <= now]
        rows = [row for row in due if not row.stuck] or due
        loose, self._loose = self._loose, []
        return [*(number for row in rows for number in row.numbers), *loose]

    def waiting_for_credentials(self) -> list[int]:
        """The rows to retry with other credentials."""
        rows = [row for row in self._rows if row.wants_credentials]
        return [number for row in rows for number in row.numbers]

    def failed(self, delivery: Delivery, error: Unavailable) -> HeldRow | None:
        """Count a failure; return the row if it must be deferred."""
        before = [row for row in self._rows if not set(row.numbers).isdisjoint(delivery.numbers)]
        row = HeldRow(list(delivery.numbers), delivery.operation, error)
        weight = 1 / UNANSWERED if is_unanswered(error) else 1.0
        if isinstance(error, RateLimited):
            row.failures = weight = 0.0
        for one in before:
            row.pace = row.pace or one.pace
            row.failures = max(row.failures, one.failures + one.others_succeeded * weight)
            row.tries = max(row.tries, one.tries + 1)
            row.dependents += one.dependents
        if isinstance(error, RateLimited):
            row.pace = row.pace or self._new_backoff()
            row.until = time.monotonic() + row.pace.on_rate_limited()
        others = tuple(one for one in self._rows if one not in before)
        if row.failures < FAILURES or row.wants_credentials:
            self._rows = (*others, row)
            return None
        if len(row.numbers) > 1:
            # One row of the batch may be bad: send each singly once more to find it.
            singly = [HeldRow([n], row.operation, error, FAILURES - 1) for n in row.numbers]
            self._loose += row.dependents
            self._rows = (*others, *singly)
            return None
        if isinstance(row.operation, LogArtifact):
            row.stuck = True
            row.pace = row.pace or self._new_backoff()
            row.until = time.monotonic() + row.pace.on_unavailable()
            self._rows = (*others, row)
            return None
        self._rows = others
        self._deferred.append((row.operation, str(error)))
        return row

    def is_stuck(self, numbers: Collection[int]) -> bool:
        """Whether these rows of one operation are stuck."""
        return any(row.stuck and row.numbers[0] in numbers for row in self._rows)

    def retry_stuck(self) -> None:
        """Retry stuck rows once, now; waits include this retry. Thread-safe."""
        for row in self._rows:
            if row.stuck:
                row.until = -math.inf
                row.stuck = False

    def is_limited_alone(self, operation: Operation) -> bool:
        """Whether the rate limit applies only to this operation or its run.

        The server has then refused an operation of the run, and accepted others since.
        """
        return any(
            row.others_succeeded
            and isinstance(row.error, RateLimited)
            and row.operation.run == operation.run
            for row in self._rows
        )

    def succeeded(self, numbers: Collection[int]) -> list[int]:
        """Forget rows that the server has answered; return the rows to unhold."""
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
        """Whether these rows failed more than once.

        For broken connections, True only at every tenth failure: the caller then sends a request
        to the server, which delays the next try.
        """
        return any(
            row.tries > 1
            and row.numbers[0] in numbers
            and (row.tries % UNANSWERED == 0 or not is_unanswered(row.error))
            for row in self._rows
        )

    def server_answered(self, numbers: Collection[int]) -> None:
        """Record that the server answers although rows have ``failed_again``."""
        for row in self._rows:
            if row.numbers[0] in numbers and is_unanswered(row.error):
                # With the next broken connection, these count as one failure.
                row.failures += 1 - 1 / UNANSWERED
        self.others_answered()

    def others_answered(self) -> None:
        """Record that the server has answered another operation of the search."""
        for row in self._rows:
            row.others_succeeded = True

    def holds(self, number: int, operation: Operation) -> bool:
        """Add a row to the held row it depends on; False if there is none."""
        own = next((row for row in self._rows if number in row.numbers), None)
        if own is not None and len(own.numbers) == 1:
            # A row that was split off a batch had the operation of the whole batch.
            own.operation = operation
        for row in self._rows:
            is_older = row is not own and number > row.numbers[0]
            if is_older and depends_on(operation, row.operation):
                if own is not None:
                    self._make_dependent(own, number, row)
                row.dependents.append(number)
                return True
        return False

    def _make_dependent(self, own: HeldRow, number: int, older: HeldRow) -> None:
        """Stop counting failures of a row that depends on another failed row."""
        own.numbers = [each for each in own.numbers if each != number]
        if not own.numbers:
            older.dependents += own.dependents
            self._rows = tuple(row for row in self._rows if row is not own)

    def defers(self, operation: Operation) -> str | None:
        """Reason why an operation that this one depends on was deferred, or None."""
        return next(
            (reason for older, reason in self._deferred if depends_on(operation, older)), None
        )

    def defer(self, operation: Operation, reason: str) -> None:
        """Record a deferred operation, for ``defers``."""
        self._deferred.append((operation, reason))

    def same_credentials_failed(self) -> bool:
        """Whether the tracking server refused the credentials twice in a row."""
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
    return not isinstance(operation, (OpenParentRun, Recover))


def is_unanswered(error: BaseException) -> bool:
    """Whether an operation failed because its connection broke.

    False for a timeout, which the row itself may cause.
    """
    is_broken = False
    for each in error_chain(error):
        if isinstance(each, TimeoutError) or "Timeout" in type(each).__name__:
            return False
        # urllib3 keeps the system's error as an argument, not as the cause.
        is_broken |= isinstance(each, _OF_NETWORK) or type(each).__module__.startswith("urllib3.")
    return is_broken
