"""Outbox in memory."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from itertools import count

from trackmllib.domain.events import Event
from trackmllib.domain.operations import CloseSearch, LogBatch, Operation
from trackmllib.outbox.base import Outbox, Undelivered, count_of
from trackmllib.outbox.delivery_order import Row, select_deliverable
from trackmllib.outbox.scheduler import Scheduler


class MemoryOutbox(Outbox):
    """Outbox in memory; survives server outages, but not the process.

    Keeps neither events nor rejected rows, because no other process could read them.
    """

    def __init__(
        self,
        changed: threading.Condition | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(changed)
        self._rows: dict[int, Operation] = {}
        self._scheduler = Scheduler(monotonic)
        self._sent: set[int] = set()
        self._registry: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._numbers = count(1)
        self._deferred: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()

    def enqueue(self, operations: Sequence[Operation], event: Event | None = None) -> None:
        with self.changed:
            for operation in operations:
                number = next(self._numbers)
                self._rows[number] = operation
                self._scheduler.add(number, operation.run, batch=isinstance(operation, LogBatch))
            self.changed.notify_all()

    def peek(
        self, limit: int, exclude: Container[str] = (), *, linger: bool = False, runs: int = 1
    ) -> list[Row]:
        with self.changed:
            numbers = self._scheduler.next_rows(limit, exclude, linger, runs)
            return list(select_deliverable(Row(n, self._rows[n], n in self._sent) for n in numbers))

    def mark_sent(self, numbers: Iterable[int]) -> None:
        with self.changed:
            self._sent.update(number for number in numbers if number in self._rows)

    def unmark_sent(self, numbers: Iterable[int]) -> None:
        with self.changed:
            self._sent.difference_update(numbers)

    def acknowledge(self, numbers: Iterable[int]) -> None:
        with self.changed:
            for number in numbers:
                self._sent.discard(number)
                operation = self._rows.pop(number, None)
                self._scheduler.remove(number)
                if isinstance(operation, CloseSearch):
                    self._registry.pop(operation.search_id, None)
            self.changed.notify_all()

    def hold(self, numbers: Iterable[int]) -> None:
        with self.changed:
            self._scheduler.hold(numbers)

    def unhold(self, numbers: Iterable[int]) -> None:
        with self.changed:
            self._scheduler.unhold(numbers)

    def defer(self, numbers: Iterable[int], reason: str) -> None:
        with self.changed:
            self._deferred.update(filter(None, map(self._scheduler.remove, numbers)))
            self.changed.notify_all()

    def reject(self, numbers: Iterable[int], reason: str) -> None:
        with self.changed:
            known = [number for number in numbers if number in self._rows]
            self._rejected.update(self._rows[number].search_id for number in known)
            self.acknowledge(known)

    def save_registry(
        self, search_id: str, entries: Mapping[str, str], *, durable: bool = False
    ) -> None:
        with self.changed:
            self._registry[search_id].update(entries)

    def load_registry(self, search_id: str) -> dict[str, str]:
        with self.changed:
            return dict(self._registry.get(search_id, {}))

    def waiting(self, search_id: str | None = None) -> int:
        with self.changed:
            return self._scheduler.waiting(search_id)

    def has_waiting_rows(self, search_id: str, candidate: int | None) -> bool:
        with self.changed:
            return self._scheduler.has_waiting_rows((search_id, candidate))

    def undelivered(self, search_id: str | None = None) -> Undelivered:
        with self.changed:
            return Undelivered(
                self.waiting(search_id),
                count_of(self._deferred, search_id),
                count_of(self._rejected, search_id),
            )

    def record_error(self, search_id: str, error: str | None) -> None:
        """Do nothing: no other process could read the error."""

    def maintain(self) -> None:
        """Do nothing."""
