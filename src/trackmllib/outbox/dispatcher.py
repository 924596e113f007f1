"""Dispatcher that sends rows and handles their errors."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Iterator
from itertools import takewhile
from typing import NamedTuple

from trackmllib.domain.operations import Operation
from trackmllib.exceptions import (
    Blocked,
    DeliveryError,
    RateLimited,
    Rejected,
    Unauthorized,
    Unavailable,
)
from trackmllib.outbox.backoff import Backoff
from trackmllib.outbox.base import Outbox
from trackmllib.outbox.deferral import HeldRows, lets_others_go_first
from trackmllib.outbox.delivery_order import Delivery, Row, coalesce
from trackmllib.outbox.target import Target, TransactionalTarget

logger = logging.getLogger(__name__)

MOST_ROWS = 1000


class Dispatcher:
    """Sender of rows of many searches; an outage delays only its own server.

    If a server is unavailable or limits the rate, its searches pause. A row that fails lets the
    other rows of its search go first, which tells a bad row from an outage, and a quota of one row
    from a rate limit of the server. After FAILURES failures between which others succeeded, the row
    and its dependents are deferred to the next process, except for artifacts and for rows refused
    by a rate limit: this process retries them as long as it lives.

    ``dispatch`` is for one thread at a time; any thread may read the errors and counts.
    ``stopped`` is called between two requests.
    """

    def __init__(
        self,
        outbox: Outbox,
        target: Target,
        on_failure: Callable[[Operation, Exception], None],
        new_backoff: Callable[[], Backoff],
        exclude: Collection[str],
        transactional: TransactionalTarget | None,
        stopped: Callable[[], bool],
    ) -> None:
        self._outbox = outbox
        self._target = target
        self._on_failure = on_failure
        self._new_backoff = new_backoff
        self._exclude = frozenset(exclude)
        self._transactional = transactional
        self._stopped = stopped
        self._paused: dict[str, _Pause] = {}
        self._held: dict[str, HeldRows] = {}

    def last_error(self, search_id: str | None = None) -> Unavailable | None:
        """The error that blocks all rows of a search, or of any search."""
        if search_id is None:
            errors = [pause.error for pause in dict(self._paused).values()]
            errors += map(self._error_of_held, list(self._held))
            return next(filter(None, errors), None)
        pause = self._paused.get(search_id)
        if pause is not None and pause.error is not None:
            return pause.error
        return self._error_of_held(search_id)

    def pending_error(self, search_id: str) -> Unavailable | None:
        """The error of a waiting row, even if others are delivered."""
        held = self._held.get(search_id)
        return self.last_error(search_id) or (None if held is None else held.error)

    def blocked_count(self, search_id: str | None = None) -> int:
        """Number of rows that waits skip, of one search or of all.

        They need other credentials, or are stuck.
        """
        paused = self._unauthorized(search_id)
        held = {
            search: rows.blocked
            for search, rows in dict(self._held).items()
            if search_id in (None, search) and search not in paused
        }
        return sum(map(self._outbox.waiting, paused)) + sum(held.values())

    def retry_unauthorized(self) -> None:
        """Retry rows that need other credentials; a new search may have some."""
        for search_id in self._unauthorized(None):
            self._paused.pop(search_id, None)
        for held in dict(self._held).values():
            self._outbox.unhold(held.waiting_for_credentials())

    def retry_stuck(self, search_id: str | None) -> None:
        """Retry the stuck rows of one search, or of all, once, now."""
        for search, held in dict(self._held).items():
            if search_id in (None, search):
                held.retry_stuck()

    def runs_per_transaction(self) -> int:
        """Maximum number of runs in one transaction; 1 without transactions."""
        return 1 if self._transactional is None else self._transactional.runs_per_transaction()

    def dispatch(self, *, linger: bool) -> bool:
        """Send the ready rows; False if all are paused, held or lingering."""
        now = time.monotonic()
        paused = {search_id for search_id, pause in self._paused.items() if pause.until > now}
        rows = self._next_rows(self._exclude | paused, linger)
        separate = {number for held in self._held.values() for number in held.separate}
        for delivery in self._single_deliveries(coalesce(rows, separate)):
            if self._stopped() or not self._send(delivery):
                break
        return bool(rows)

    def _error_of_held(self, search_id: str) -> Unavailable | None:
        """The error of the held rows of a search, if no other rows wait."""
        held = self._held.get(search_id)
        if held is None or self._outbox.waiting(search_id) > held.count:
            return None
        return held.error

    def _unauthorized(self, search_id: str | None) -> list[str]:
        """The searches that are paused until the process has other credentials."""
        return [
            paused
            for paused, pause in dict(self._paused).items()
            if isinstance(pause.error, Unauthorized) and search_id in (None, paused)
        ]

    def _next_rows(self, exclude: Collection[str], linger: bool) -> list[Row]:
        """The ready rows; if there are none, the held rows."""
        for search_id, held in self._held.items():
            if search_id not in exclude and self._outbox.waiting(search_id) <= held.count:
                # Only held rows of the search are left, and need not wait for other searches.
                self._outbox.unhold(held.release())
        rows = self._peek(exclude, linger)
        if not rows:
            for search_id, held in self._held.items():
                if search_id not in exclude:
                    self._outbox.unhold(held.release())
            rows = self._peek(exclude, linger)
        return rows

    def _peek(self, exclude: Collection[str], linger: bool) -> list[Row]:
        """The rows that are ready and depend on no failed row."""
        while True:
            runs = self.runs_per_transaction()
            rows = self._outbox.peek(MOST_ROWS, exclude, linger=linger, runs=runs)
            # A list, not a generator: each dependent row must be held or deferred.
            independent = [self._is_independent(row) for row in rows]
            if all(independent):
                return rows

    def _is_independent(self, row: Row) -> bool:
        """Whether a row depends on no failed row; otherwise hold or defer it."""
        held = self._held.get(row.operation.search_id)
        if held is None:
            return True
        reason = held.defers(row.operation)
        if reason is not None:
            self._defer([row.number], row.operation, reason)
            return False
        if held.holds(row.number, row.operation):
            self._outbox.hold([row.number])
            return False
        return True

    def _single_deliveries(self, deliveries: list[Delivery]) -> Iterator[Delivery]:
        """Yield deliveries to send singly; send the others in transactions."""
        while deliveries and not self._stopped():
            size = self._transaction_size(deliveries)
            if size < 2:
                size = 1
                yield deliveries[0]
            elif not self._send_in_transaction(deliveries[:size]):
                # The store may not have rolled back everything, so these count as redelivered.
                yield from (each._replace(redelivered=True) for each in deliveries[:size])
            deliveries = deliveries[size:]

    def _transaction_size(self, deliveries: list[Delivery]) -> int:
        """Number of first deliveries that fit one transaction."""
        new = takewhile(lambda delivery: not delivery.redelivered, deliveries)
        operations = [delivery.operation for delivery in new]
        if self._transactional is None or len(operations) < 2:
            return 0
        return self._transactional.transaction_size(operations)

    def _send_in_transaction(self, deliveries: list[Delivery]) -> bool:
        assert self._transactional is not None
        numbers = [number for delivery in deliveries for number in delivery.numbers]
        self._outbox.mark_sent(numbers)
        done = self._transactional.apply_in_transaction([each.operation for each in deliveries])
        if done:
            self._outbox.acknowledge(numbers)
            self._on_answer(deliveries[0].operation.search_id, numbers)
        return done

    def _send(self, delivery: Delivery) -> bool:
        """Send one operation; return whether to continue with its search."""
        numbers, operation, redelivered = delivery
        self._outbox.mark_sent(numbers)
        try:
            self._target.apply(operation, redelivered)
        except Rejected as error:
            self._on_failure(operation, error)
            self._outbox.reject(numbers, str(error))
        except RateLimited as error:
            logger.debug("Delivery pauses: %s", error)
            if not redelivered:
                self._outbox.unmark_sent(numbers)
            self._on_rate_limited(delivery, error)
            return False
        except Exception as error:  # noqa: BLE001 - any error may be temporary
            self._on_error(delivery, _as_unavailable(error))
            return False
        else:
            self._outbox.acknowledge(numbers)
        return self._on_answer(operation.search_id, numbers)

    def _on_rate_limited(self, delivery: Delivery, error: RateLimited) -> None:
        """Hold a rate-limited row; pause its search, unless others are accepted."""
        operation = delivery.operation
        if not lets_others_go_first(operation):
            self._pause(operation.search_id, error)
            return
        held = self._held.setdefault(operation.search_id, HeldRows(self._new_backoff))
        is_limited_alone = held.is_limited_alone(operation)
        held.failed(delivery, error)
        self._outbox.hold(delivery.numbers)
        if not is_limited_alone:
            self._pause(operation.search_id, error)

    def _on_error(self, delivery: Delivery, error: Unavailable) -> None:
        """Hold a failed operation, defer it, or pause its search."""
        logger.debug("Delivery pauses: %s", error, exc_info=True)
        operation = delivery.operation
        search_id = operation.search_id
        if not (lets_others_go_first(operation) or isinstance(error, Blocked)):
            self._pause(search_id, error)
            return
        held = self._held.setdefault(search_id, HeldRows(self._new_backoff))
        if isinstance(error, Blocked):
            held.defer(operation, str(error))
            self._defer(delivery.numbers, operation, str(error))
            return
        given_up = held.failed(delivery, error)
        if given_up is not None:
            self._defer([*given_up.numbers, *given_up.dependents], operation, str(error))
        else:
            self._outbox.hold(delivery.numbers)
            if held.is_stuck(delivery.numbers):
                self._outbox.record_error(search_id, str(error))
                return
            is_last = self._outbox.waiting(search_id) <= held.count
            may_be_bad = held.failed_again(delivery.numbers)
            if is_last and may_be_bad and self._target.answers(search_id):
                # No other operation waits that could tell a bad row from an outage.
                held.server_answered(delivery.numbers)
                # The server is reachable, so the pause starts over, as after any other success.
                self._paused.pop(search_id, None)
        if not isinstance(error, Unauthorized) or held.same_credentials_failed():
            self._pause(search_id, error)
        else:
            self._outbox.record_error(search_id, str(error))

    def _defer(self, numbers: list[int], operation: Operation, reason: str) -> None:
        self._outbox.defer(numbers, reason)
        self._on_failure(
            operation,
            Unavailable(
                f"{reason}. Other operations succeeded, so this one is deferred: the next process "
                "or `trackmllib sync` sends it again, if it is on disk"
            ),
        )

    def _on_answer(self, search_id: str, numbers: Collection[int]) -> bool:
        """Record that the server answers; return whether to continue."""
        held = self._held.get(search_id)
        error = None if held is None else held.error
        free = [] if held is None else held.succeeded(numbers)
        self._outbox.unhold(free)
        before = self._paused.pop(search_id, None)
        if before is None:
            if held is not None and error is not None and held.error is None:
                self._outbox.record_error(search_id, None)
            return not free
        if before.error is not None:
            self._outbox.record_error(search_id, None)
        delay = before.backoff.on_success()
        if delay and self._outbox.waiting(search_id):
            self._paused[search_id] = _Pause(time.monotonic() + delay, before.backoff, None)
            return False
        return not free

    def _pause(self, search_id: str, error: Unavailable) -> None:
        before = self._paused.get(search_id)
        backoff = self._new_backoff() if before is None else before.backoff
        until = math.inf
        if isinstance(error, RateLimited):
            until = time.monotonic() + backoff.on_rate_limited()
        elif not isinstance(error, Unauthorized):
            until = time.monotonic() + backoff.on_unavailable()
        self._paused[search_id] = _Pause(until, backoff, error)
        if before is None or str(before.error) != str(error):
            self._outbox.record_error(search_id, str(error))


class _Pause(NamedTuple):
    """When a search continues; without ``error``, only its rate is limited."""

    until: float
    backoff: Backoff
    error: Unavailable | None


def _as_unavailable(error: Exception) -> Unavailable:
    """An error of the target, other than Rejected, as Unavailable."""
    if isinstance(error, Unavailable):
        return error
    text = str(error).strip().partition("\n")[0]
    if isinstance(error, DeliveryError):
        return Unavailable(text)
    return Unavailable(f"{type(error).__name__}: {text}" if text else type(error).__name__)
