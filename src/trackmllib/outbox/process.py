"""Outbox of this process: a file, and memory if the disk fails."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

from trackmllib.domain.events import Event, SearchFailed, SearchFinished
from trackmllib.domain.operations import Operation
from trackmllib.exceptions import OutboxError
from trackmllib.outbox.base import Outbox, Undelivered
from trackmllib.outbox.composite import CompositeOutbox
from trackmllib.outbox.delivery_order import Row
from trackmllib.outbox.directory import LockedOutbox, OutboxDirectory
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.outbox.sqlite import SqliteOutbox

logger = logging.getLogger(__name__)

# What a full, broken or forbidden disk raises.
DISK_ERRORS = (sqlite3.Error, OSError, OutboxError)

# Added to the numbers of rows in memory, so that they come after all rows on disk.
_IN_MEMORY = 1 << 62


class ProcessOutbox(CompositeOutbox):
    """``SqliteOutbox`` until the disk fails, then a ``MemoryOutbox``.

    A search whose rows cannot be written to disk continues in memory to its end; ``warn`` is called
    once for each reason. Its rows on disk are read first, unless they are held. The first
    ``enqueue`` creates the file; a failure of the disk leads to no second file.
    """

    def __init__(
        self,
        directory: OutboxDirectory,
        warn: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(threading.Condition())
        self._directory = directory
        self._warn = warn
        self._warned: set[str] = set()
        self._monotonic = monotonic
        self._memory = MemoryOutbox(self.changed, monotonic)
        self._file: LockedOutbox[SqliteOutbox] | None = None
        self._readable = True
        self._in_memory: set[str] = set()
        # Closed searches that are open on disk, because the disk failed when they were closed.
        self._closed: set[str] = set()

    def enqueue(self, operations: Sequence[Operation], event: Event | None = None) -> None:
        if not operations and event is None:
            return
        search_id = operations[0].search_id if event is None else event.search_id
        if search_id not in self._in_memory:
            try:
                with self.changed:
                    self._on_disk().enqueue(operations, event)
            except DISK_ERRORS as error:
                self._in_memory.add(search_id)
                self._warn_of_disk(error)
            else:
                return
        self._memory.enqueue(operations)
        if isinstance(event, (SearchFinished, SearchFailed)):
            self._in_memory.discard(search_id)
            self._close_on_disk(event)

    def release(self) -> None:
        """Release the file, and delete it if it is empty."""
        with self.changed:
            file, self._file = self._file, None
        if file is not None:
            try:
                file.release(self._closed)
            except DISK_ERRORS as error:
                logger.debug("Not released: %s", error)

    def peek(
        self, limit: int, exclude: Container[str] = (), *, linger: bool = False, runs: int = 1
    ) -> list[Row]:
        rows: list[Row] = []
        if self._file is not None and self._readable:
            try:
                rows = self._file.outbox.peek(limit, exclude, linger=linger, runs=runs)
            except sqlite3.Error as error:
                # Its rows are left to the process that recovers the file.
                self._readable = False
                self._warn_of_disk(error)
        if rows:
            return rows
        # The rows of a search on disk that are not held come before its rows in memory.
        skipped = _Either(exclude, self._is_readable_on_disk)
        found = self._memory.peek(limit, skipped, linger=linger, runs=runs)
        return [row._replace(number=row.number + _IN_MEMORY) for row in found]

    def save_registry(
        self, search_id: str, entries: Mapping[str, str], *, durable: bool = False
    ) -> None:
        try:
            self._on_disk().save_registry(search_id, entries, durable=durable)
        except DISK_ERRORS:
            self._memory.save_registry(search_id, entries)

    def load_registry(self, search_id: str) -> dict[str, str]:
        try:
            on_disk = self._on_disk().load_registry(search_id)
        except DISK_ERRORS:
            on_disk = {}
        return {**on_disk, **self._memory.load_registry(search_id)}

    def waiting(self, search_id: str | None = None) -> int:
        with self.changed:
            file = self._file if self._readable else None
            on_disk = 0 if file is None else file.outbox.waiting(search_id)
            return on_disk + self._memory.waiting(search_id)

    def has_waiting_rows(self, search_id: str, candidate: int | None) -> bool:
        with self.changed:
            file = self._file if self._readable else None
            on_disk = file is not None and file.outbox.has_waiting_rows(search_id, candidate)
            return on_disk or self._memory.has_waiting_rows(search_id, candidate)

    def undelivered(self, search_id: str | None = None) -> Undelivered:
        with self.changed:
            in_memory = self._memory.undelivered(search_id)
            if self._file is None:
                return in_memory
            on_disk = self._file.outbox.undelivered(search_id)
            if not self._readable:
                on_disk = Undelivered(0, on_disk.waiting + on_disk.deferred, on_disk.rejected)
            return in_memory.plus(on_disk)

    def record_error(self, search_id: str, error: str | None) -> None:
        try:
            if self._file is not None:
                self._file.outbox.record_error(search_id, error)
        except sqlite3.Error as failure:
            logger.debug("Not written: %s", failure)

    def maintain(self) -> None:
        """Also delete the file if only closed searches are left."""
        file = self._file
        if file is None:
            return
        try:
            file.outbox.maintain()
            with self.changed:
                if self._closed and file.outbox.is_empty(self._closed) and not self._in_memory:
                    self._file = None
                    file.release(self._closed)
                    self._closed.clear()
        except DISK_ERRORS as error:
            # The write-ahead log grows until there is room.
            logger.debug("No maintenance: %s", error)

    def is_on_disk(self, search_id: str | None = None) -> bool:
        """Whether all undelivered rows, of one search or all, are on disk."""
        in_memory = self._memory.undelivered(search_id)
        return in_memory.waiting + in_memory.deferred == 0

    def _on_disk(self) -> SqliteOutbox:
        with self.changed:
            if self._file is None:
                self._file = self._directory.create(self.changed, self._monotonic)
            return self._file.outbox

    def _is_readable_on_disk(self, search_id: str) -> bool:
        file = self._file
        return file is not None and self._readable and file.outbox.has_readable_rows(search_id)

    def _by_outbox(self, numbers: Iterable[int]) -> list[tuple[Outbox, list[int]]]:
        numbers = list(numbers)
        in_memory = [number - _IN_MEMORY for number in numbers if number > _IN_MEMORY]
        on_disk = [number for number in numbers if number < _IN_MEMORY]
        found: list[tuple[Outbox, list[int]]] = []
        if in_memory:
            found.append((self._memory, in_memory))
        if on_disk and self._file is not None:
            found.append((self._file.outbox, on_disk))
        return found

    def _close_on_disk(self, event: Event) -> None:
        """Try to close a search on disk, so that no process recovers it."""
        try:
            if self._file is not None:
                self._file.outbox.enqueue([], event)
        except sqlite3.Error:
            self._closed.add(event.search_id)

    def _warn_of_disk(self, error: Exception) -> None:
        reason = str(error)
        if reason not in self._warned:
            self._warned.add(reason)
            self._warn(
                f"The outbox in {self._directory.path} cannot be used. The training is not "
                "affected. New records stay in memory, and are lost if this process dies before "
                f"they are delivered. Reason: {reason}"
            )


class _Either(Container[str]):
    """The searches of a container, and those that a predicate accepts."""

    def __init__(self, searches: Container[str], predicate: Callable[[str], bool]) -> None:
        self._searches = searches
        self._predicate = predicate

    def __contains__(self, search_id: object) -> bool:
        return search_id in self._searches or (
            isinstance(search_id, str) and self._predicate(search_id)
        )
