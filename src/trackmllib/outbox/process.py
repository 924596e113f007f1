"""The outbox of this process: a file of its own, and memory for what the disk does not take."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

from trackmllib.errors import OutboxError
from trackmllib.events import Event, SearchFailed, SearchFinished
from trackmllib.operations import Operation, Row
from trackmllib.outbox.base import Outbox, Undelivered
from trackmllib.outbox.home import HeldOutbox, Home
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.outbox.sqlite import SqliteOutbox

logger = logging.getLogger(__name__)

# What a full, broken or forbidden disk raises.
DISK_ERRORS = (sqlite3.Error, OSError, OutboxError)

# Added to the numbers of rows in memory, so that they come after all rows on disk.
_IN_MEMORY = 1 << 62


class ProcessOutbox(Outbox):
    """Keeps the promises of ``SqliteOutbox`` while the disk does, and of ``MemoryOutbox`` after.

    A search whose rows the disk does not take goes on in memory to its end; ``warn`` is told once
    for each reason. Its rows on disk are read first, unless they are held. No file is made before
    the first ``put``, and none after it: the file stays, whatever becomes of it.
    """

    def __init__(
        self,
        home: Home,
        warn: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(threading.Condition())
        self._home = home
        self._warn = warn
        self._warned: set[str] = set()
        self._monotonic = monotonic
        self._memory = MemoryOutbox(self.changed, monotonic)
        self._own: HeldOutbox[SqliteOutbox] | None = None
        self._readable = True
        self._in_memory: set[str] = set()
        # Searches that the disk takes for open, although they are over.
        self._over: set[str] = set()

    def put(self, operations: Sequence[Operation], event: Event | None = None) -> None:
        if not operations and event is None:
            return
        search_id = operations[0].search_id if event is None else event.search_id
        if search_id not in self._in_memory:
            try:
                with self.changed:
                    self._on_disk().put(operations, event)
            except DISK_ERRORS as error:
                self._in_memory.add(search_id)
                self._warn_of_disk(error)
            else:
                return
        self._memory.put(operations)
        if isinstance(event, (SearchFinished, SearchFailed)):
            self._in_memory.discard(search_id)
            self._close_on_disk(event)

    def release(self) -> None:
        """At the end of the process: remove the file if nothing is left in it."""
        with self.changed:
            own, self._own = self._own, None
        if own is not None:
            try:
                own.release(self._over)
            except DISK_ERRORS as error:
                logger.debug("Not released: %s", error)

    def peek(
        self, limit: int, without: Container[str] = (), *, linger: bool = False, runs: int = 1
    ) -> list[Row]:
        rows: list[Row] = []
        if self._own is not None and self._readable:
            try:
                rows = self._own.outbox.peek(limit, without, linger=linger, runs=runs)
            except sqlite3.Error as error:
                # What is in it is salvaged by whoever takes it over.
                self._readable = False
                self._warn_of_disk(error)
        if rows:
            return rows
        # The rows of a search on disk that are not held come before its rows in memory.
        skipped = _Either(without, self._can_be_read_on_disk)
        found = self._memory.peek(limit, skipped, linger=linger, runs=runs)
        return [row._replace(number=row.number + _IN_MEMORY) for row in found]

    def sending(self, numbers: Iterable[int]) -> None:
        for outbox, found in self._apart(numbers):
            outbox.sending(found)

    def not_sent(self, numbers: Iterable[int]) -> None:
        for outbox, found in self._apart(numbers):
            outbox.not_sent(found)

    def acknowledge(self, numbers: Iterable[int]) -> None:
        for outbox, found in self._apart(numbers):
            outbox.acknowledge(found)

    def hold(self, numbers: Iterable[int]) -> None:
        for outbox, found in self._apart(numbers):
            outbox.hold(found)

    def unhold(self, numbers: Iterable[int]) -> None:
        for outbox, found in self._apart(numbers):
            outbox.unhold(found)

    def defer(self, numbers: Iterable[int], reason: str) -> None:
        for outbox, found in self._apart(numbers):
            outbox.defer(found, reason)

    def reject(self, numbers: Iterable[int], reason: str) -> None:
        for outbox, found in self._apart(numbers):
            outbox.reject(found, reason)

    def remember(self, search_id: str, facts: Mapping[str, str], *, on_disk: bool = False) -> None:
        try:
            self._on_disk().remember(search_id, facts, on_disk=on_disk)
        except DISK_ERRORS:
            self._memory.remember(search_id, facts)

    def recall(self, search_id: str) -> dict[str, str]:
        try:
            on_disk = self._on_disk().recall(search_id)
        except DISK_ERRORS:
            on_disk = {}
        return {**on_disk, **self._memory.recall(search_id)}

    def waiting(self, search_id: str | None = None) -> int:
        with self.changed:
            on_disk = self._own is not None and self._readable
            own = self._own.outbox.waiting(search_id) if self._own and on_disk else 0
            return own + self._memory.waiting(search_id)

    def waits_for_run(self, search_id: str, candidate: int | None) -> bool:
        with self.changed:
            own = self._own if self._readable else None
            on_disk = own is not None and own.outbox.waits_for_run(search_id, candidate)
            return on_disk or self._memory.waits_for_run(search_id, candidate)

    def undelivered(self, search_id: str | None = None) -> Undelivered:
        with self.changed:
            found = self._memory.undelivered(search_id)
            if self._own is None:
                return found
            own = self._own.outbox.undelivered(search_id)
            if not self._readable:
                # The next process reads what it can of it.
                own = Undelivered(0, own.waiting + own.deferred, own.rejected)
            return found.plus(own)

    def note_error(self, search_id: str, error: str | None) -> None:
        try:
            if self._own is not None:
                self._own.outbox.note_error(search_id, error)
        except sqlite3.Error as failure:
            logger.debug("Not noted: %s", failure)

    def tidy(self) -> None:
        """Also removes the file when it says of a search that it is open, and it is over."""
        own = self._own
        if own is None:
            return
        try:
            own.outbox.tidy()
            with self.changed:
                if self._over and own.outbox.is_empty(self._over) and not self._in_memory:
                    self._own = None
                    own.release(self._over)
                    self._over.clear()
        except DISK_ERRORS as error:
            # The log grows on, until there is room.
            logger.debug("Not tidied: %s", error)

    def is_on_disk(self, search_id: str | None = None) -> bool:
        """Whether all that waits or is deferred, of one search or of all, outlives the process."""
        left = self._memory.undelivered(search_id)
        return left.waiting + left.deferred == 0

    def _on_disk(self) -> SqliteOutbox:
        with self.changed:
            if self._own is None:
                self._own = self._home.create(self.changed, self._monotonic)
            return self._own.outbox

    def _can_be_read_on_disk(self, search_id: str) -> bool:
        own = self._own
        return own is not None and self._readable and own.outbox.has_readable(search_id)

    def _apart(self, numbers: Iterable[int]) -> list[tuple[Outbox, list[int]]]:
        numbers = list(numbers)
        in_memory = [number - _IN_MEMORY for number in numbers if number > _IN_MEMORY]
        on_disk = [number for number in numbers if number < _IN_MEMORY]
        found: list[tuple[Outbox, list[int]]] = []
        if in_memory:
            found.append((self._memory, in_memory))
        if on_disk and self._own is not None:
            found.append((self._own.outbox, on_disk))
        return found

    def _close_on_disk(self, event: Event) -> None:
        """The disk may have room again: what is over must not be taken for what died."""
        try:
            if self._own is not None:
                self._own.outbox.put([], event)
        except sqlite3.Error:
            self._over.add(event.search_id)

    def _warn_of_disk(self, error: Exception) -> None:
        reason = str(error)
        if reason not in self._warned:
            self._warned.add(reason)
            self._warn(
                f"The outbox in {self._home.folder} cannot be used: {reason}. The training is not "
                "affected. What is recorded from here on is kept in memory, and is lost if this "
                "process dies before it is delivered"
            )


class _Either(Container[str]):
    """The searches of a container, and those that a function says yes to."""

    def __init__(self, these: Container[str], and_these: Callable[[str], bool]) -> None:
        self._these = these
        self._and_these = and_these

    def __contains__(self, search_id: object) -> bool:
        return search_id in self._these or (
            isinstance(search_id, str) and self._and_these(search_id)
        )
