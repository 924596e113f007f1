"""An outbox in memory."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import count, islice

from trackmllib.events import Event
from trackmllib.operations import CloseSearch, LogBatch, Operation, Row, ready, waits_for_all
from trackmllib.outbox.base import LINGER_SECONDS, Outbox


class MemoryOutbox(Outbox):
    """Rows survive an exception and a server that is away, but not the end of the process.

    Keeps neither facts nor what is set aside: nobody could read them.
    """

    def __init__(self, changed: threading.Condition | None = None) -> None:
        self._rows: dict[int, Operation] = {}
        self._runs: defaultdict[tuple[str, int | None], dict[int, Operation]] = defaultdict(dict)
        self._due: dict[int, float] = {}
        self._sent: set[int] = set()
        self._waiting: Counter[str] = Counter()
        self._facts: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._numbers = count(1)
        self._changed = changed or threading.Condition()

    def put(self, operations: Sequence[Operation], event: Event | None = None) -> None:
        later = time.monotonic() + LINGER_SECONDS
        with self._changed:
            for operation in operations:
                number = next(self._numbers)
                self._rows[number] = operation
                self._runs[operation.run][number] = operation
                self._due[number] = later if isinstance(operation, LogBatch) else 0.0
                self._waiting[operation.search_id] += 1
            self._changed.notify_all()

    def peek(self, limit: int, without: Container[str] = (), *, linger: bool = False) -> list[Row]:
        with self._changed:
            first = self._oldest(without)
            if first is not None and linger:
                first = self._first_due(first, without)
            if first is None:
                return []
            run = self._runs[self._rows[first].run].items()
            rows = (Row(number, operation, number in self._sent) for number, operation in run)
            return list(ready(islice(rows, limit)))

    def sending(self, numbers: Iterable[int]) -> None:
        with self._changed:
            self._sent.update(number for number in numbers if number in self._rows)

    def acknowledge(self, numbers: Iterable[int]) -> None:
        with self._changed:
            for number in numbers:
                self._remove(number)
            self._changed.notify_all()

    def set_aside(self, numbers: Iterable[int], reason: str) -> None:
        self.acknowledge(numbers)

    def remember(self, search_id: str, facts: Mapping[str, str]) -> None:
        with self._changed:
            self._facts[search_id].update(facts)

    def recall(self, search_id: str) -> dict[str, str]:
        with self._changed:
            return dict(self._facts.get(search_id, {}))

    def waiting(self, search_id: str | None = None) -> int:
        with self._changed:
            return self._count(search_id)

    def wait_for_rows(self, timeout: float | None) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._rows), timeout)

    def wait_until_empty(self, search_id: str | None, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._count(search_id) == 0, timeout)

    def note_error(self, search_id: str, error: str | None) -> None:
        """Nobody can look from outside."""

    def tidy(self) -> None:
        """There is nothing to tidy."""

    def _oldest(self, without: Container[str]) -> int | None:
        return next((n for n, o in self._rows.items() if o.search_id not in without), None)

    def _first_due(self, oldest: int, without: Container[str]) -> int | None:
        now = time.monotonic()
        for number, operation in self._rows.items():
            if self._due[number] <= now and operation.search_id not in without:
                return oldest if waits_for_all(operation) else number
        return None

    def _count(self, search_id: str | None) -> int:
        return len(self._rows) if search_id is None else self._waiting[search_id]

    def _remove(self, number: int) -> None:
        operation = self._rows.pop(number, None)
        if operation is None:
            return
        if isinstance(operation, CloseSearch):
            self._facts.pop(operation.search_id, None)
        del self._due[number]
        self._sent.discard(number)
        del self._runs[operation.run][number]
        if not self._runs[operation.run]:
            del self._runs[operation.run]
        self._waiting[operation.search_id] -= 1
        if not self._waiting[operation.search_id]:
            del self._waiting[operation.search_id]
