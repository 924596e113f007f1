"""An outbox in memory."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from itertools import count

from trackmllib.events import Event
from trackmllib.operations import CloseSearch, LogBatch, Operation, Row, ready
from trackmllib.outbox.base import Outbox, Undelivered, counted
from trackmllib.outbox.order import Order


class MemoryOutbox(Outbox):
    """Rows survive an exception and a server that is away, but not the end of the process.

    Keeps neither facts nor rejected rows, because no other process could read them.
    """

    def __init__(
        self,
        changed: threading.Condition | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rows: dict[int, Operation] = {}
        self._order = Order(monotonic)
        self._sent: set[int] = set()
        self._facts: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._numbers = count(1)
        self._deferred: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        super().__init__(changed)

    def put(self, operations: Sequence[Operation], event: Event | None = None) -> None:
        with self.changed:
            for operation in operations:
                number = next(self._numbers)
                self._rows[number] = operation
                self._order.add(number, operation.run, batch=isinstance(operation, LogBatch))
            self.changed.notify_all()

    def peek(
        self, limit: int, without: Container[str] = (), *, linger: bool = False, runs: int = 1
    ) -> list[Row]:
        with self.changed:
            numbers = self._order.rows_to_read(limit, without, linger, runs)
            return list(ready(Row(n, self._rows[n], n in self._sent) for n in numbers))

    def sending(self, numbers: Iterable[int]) -> None:
        with self.changed:
            self._sent.update(number for number in numbers if number in self._rows)

    def not_sent(self, numbers: Iterable[int]) -> None:
        with self.changed:
            self._sent.difference_update(numbers)

    def acknowledge(self, numbers: Iterable[int]) -> None:
        with self.changed:
            for number in numbers:
                self._sent.discard(number)
                operation = self._rows.pop(number, None)
                self._order.remove(number)
                if isinstance(operation, CloseSearch):
                    self._facts.pop(operation.search_id, None)
            self.changed.notify_all()

    def hold(self, numbers: Iterable[int]) -> None:
        with self.changed:
            self._order.hold(numbers)

    def unhold(self, numbers: Iterable[int]) -> None:
        with self.changed:
            self._order.unhold(numbers)

    def defer(self, numbers: Iterable[int], reason: str) -> None:
        with self.changed:
            self._deferred.update(filter(None, map(self._order.remove, numbers)))
            self.changed.notify_all()

    def reject(self, numbers: Iterable[int], reason: str) -> None:
        with self.changed:
            taken = [number for number in numbers if number in self._rows]
            self._rejected.update(self._rows[number].search_id for number in taken)
            self.acknowledge(taken)

    def remember(self, search_id: str, facts: Mapping[str, str], *, on_disk: bool = False) -> None:
        with self.changed:
            self._facts[search_id].update(facts)

    def recall(self, search_id: str) -> dict[str, str]:
        with self.changed:
            return dict(self._facts.get(search_id, {}))

    def waiting(self, search_id: str | None = None) -> int:
        with self.changed:
            return len(self._order) if search_id is None else self._order.waiting(search_id)

    def waits_for_run(self, search_id: str, candidate: int | None) -> bool:
        with self.changed:
            return self._order.waits_for_run((search_id, candidate))

    def undelivered(self, search_id: str | None = None) -> Undelivered:
        with self.changed:
            return Undelivered(
                self.waiting(search_id),
                counted(self._deferred, search_id),
                counted(self._rejected, search_id),
            )

    def note_error(self, search_id: str, error: str | None) -> None:
        """Nobody can look from outside."""

    def tidy(self) -> None:
        """There is nothing to tidy."""
