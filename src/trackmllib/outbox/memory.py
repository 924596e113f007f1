"""An outbox in memory."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from itertools import count, islice

from trackmllib.operations import Operation, Row, ready
from trackmllib.outbox.base import Outbox


class MemoryOutbox(Outbox):
    """Rows survive an exception and a server that is away, but not the end of the process."""

    def __init__(self) -> None:
        self._rows: dict[int, Operation] = {}
        self._runs: defaultdict[tuple[str, int | None], dict[int, Operation]] = defaultdict(dict)
        self._waiting: Counter[str] = Counter()
        self._numbers = count(1)
        self._changed = threading.Condition()

    def put(self, operations: Sequence[Operation]) -> None:
        with self._changed:
            for operation in operations:
                number = next(self._numbers)
                self._rows[number] = operation
                self._runs[operation.run][number] = operation
                self._waiting[operation.search_id] += 1
            self._changed.notify_all()

    def peek(self, limit: int, without: Container[str] = ()) -> list[Row]:
        with self._changed:
            for oldest in self._rows.values():
                if oldest.search_id not in without:
                    rows = (Row(*item) for item in self._runs[oldest.run].items())
                    return list(ready(islice(rows, limit)))
            return []

    def acknowledge(self, numbers: Iterable[int]) -> None:
        with self._changed:
            for number in numbers:
                self._remove(number)
            self._changed.notify_all()

    def set_aside(self, numbers: Iterable[int], reason: str) -> None:
        self.acknowledge(numbers)

    def waiting(self, search_id: str | None = None) -> int:
        with self._changed:
            return self._count(search_id)

    def wait_for_rows(self, timeout: float | None) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._rows), timeout)

    def wait_until_empty(self, search_id: str | None, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._count(search_id) == 0, timeout)

    def _count(self, search_id: str | None) -> int:
        return len(self._rows) if search_id is None else self._waiting[search_id]

    def _remove(self, number: int) -> None:
        operation = self._rows.pop(number, None)
        if operation is None:
            return
        del self._runs[operation.run][number]
        if not self._runs[operation.run]:
            del self._runs[operation.run]
        self._waiting[operation.search_id] -= 1
        if not self._waiting[operation.search_id]:
            del self._waiting[operation.search_id]
