"""All outboxes of this process as one: its own on disk, memory where the disk fails, and those of
processes that died.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from trackmllib.errors import OutboxError
from trackmllib.events import Event, SearchFailed, SearchFinished
from trackmllib.operations import Operation, Row
from trackmllib.outbox.base import Outbox
from trackmllib.outbox.home import HeldOutbox, Home
from trackmllib.outbox.left_behind import LeftBehind
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.outbox.sqlite import SqliteOutbox

# What a full, broken or forbidden disk raises.
DISK_ERRORS = (sqlite3.Error, OSError, OutboxError)

# A row's number here is its number in its outbox times this, plus the place of the outbox.
_PLACES = 1 << 20


class _Member(NamedTuple):
    outbox: Outbox
    held: HeldOutbox[SqliteOutbox] | None


class ProcessOutbox(Outbox):
    """Keeps the promises of ``SqliteOutbox`` while the disk does, and of ``MemoryOutbox`` after.

    A search whose rows the disk does not take goes on in memory to its end; ``warn`` is told once
    for each reason. Its rows on disk are read first. No file is made before the first ``put``.
    """

    def __init__(self, home: Home, warn: Callable[[str], None]) -> None:
        self.changed = threading.Condition()
        self._home = home
        self._warn = warn
        self._warned: set[str] = set()
        self._memory = MemoryOutbox(self.changed)
        self._own: HeldOutbox[SqliteOutbox] | None = None
        self._members: dict[int, _Member] = {0: _Member(self._memory, None)}
        self._next_place = 1
        self._in_memory: set[str] = set()
        # Searches that the disk takes for open, although they are over.
        self._over: set[str] = set()
        self._adopted: dict[str, Outbox] = {}

    def put(self, operations: Sequence[Operation], event: Event | None = None) -> None:
        if not operations and event is None:
            return
        search_id = operations[0].search_id if event is None else event.search_id
        if search_id not in self._in_memory:
            try:
                with self.changed:
                    self._own_outbox().put(operations, event)
            except DISK_ERRORS as error:
                self._in_memory.add(search_id)
                self._warn_of_disk(error)
            else:
                return
        self._memory.put(operations)
        if isinstance(event, (SearchFinished, SearchFailed)):
            self._close_on_disk(event)

    def adopt(self, held: HeldOutbox[LeftBehind]) -> None:
        """Deliver what a process has left behind, and remove its files when that is done."""
        if held.warning:
            self._warn(held.warning)
        with self.changed:
            self._add(held)
            for search_id in held.outbox.searches():
                self._adopted[search_id] = held.outbox
            self.changed.notify_all()

    def release(self) -> None:
        """At the end of the process: remove the files of which nothing is left."""
        with self.changed:
            for place, member in list(self._members.items()):
                if member.held is not None:
                    del self._members[place]
                    self._release(member.held)
            self._own = None

    def peek(self, limit: int, without: Container[str] = (), *, linger: bool = False) -> list[Row]:
        for place, member in self._in_order():
            skipped = without
            if member.outbox is self._memory:
                # What lies on disk of a search comes before what lies in memory.
                skipped = _Either(without, self._waits_on_disk)
            try:
                rows = member.outbox.peek(limit, skipped, linger=linger)
            except sqlite3.Error as error:
                self._leave_alone(place, error)
                continue
            if rows:
                return [row._replace(number=row.number * _PLACES + place) for row in rows]
        return []

    def sending(self, numbers: Iterable[int]) -> None:
        for outbox, own_numbers in self._apart(numbers):
            outbox.sending(own_numbers)

    def acknowledge(self, numbers: Iterable[int]) -> None:
        for outbox, own_numbers in self._apart(numbers):
            outbox.acknowledge(own_numbers)

    def set_aside(self, numbers: Iterable[int], reason: str) -> None:
        for outbox, own_numbers in self._apart(numbers):
            outbox.set_aside(own_numbers, reason)

    def remember(self, search_id: str, facts: Mapping[str, str], *, on_disk: bool = False) -> None:
        try:
            self._outbox_of(search_id).remember(search_id, facts, on_disk=on_disk)
        except sqlite3.Error:
            self._memory.remember(search_id, facts)

    def recall(self, search_id: str) -> dict[str, str]:
        try:
            on_disk = self._outbox_of(search_id).recall(search_id)
        except sqlite3.Error:
            on_disk = {}
        return {**on_disk, **self._memory.recall(search_id)}

    def waiting(self, search_id: str | None = None) -> int:
        with self.changed:
            return sum(m.outbox.waiting(search_id) for m in self._members.values())

    def wait_for_rows(self, timeout: float | None) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.waiting() > 0, timeout)

    def wait_until_empty(self, search_id: str | None, timeout: float) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.waiting(search_id) == 0, timeout)

    def note_error(self, search_id: str, error: str | None) -> None:
        try:
            self._outbox_of(search_id).note_error(search_id, error)
        except sqlite3.Error:
            return

    def tidy(self) -> None:
        for place, member in self._in_order():
            try:
                member.outbox.tidy()
                with self.changed:
                    if member.held is not None and self._is_done(member.held):
                        del self._members[place]
                        if member.held is self._own:
                            self._own = None
                        self._release(member.held)
            except sqlite3.Error as error:
                self._leave_alone(place, error)

    def _is_done(self, held: HeldOutbox[SqliteOutbox]) -> bool:
        """Whether files are to go now: of a dead process as soon as nothing is left in them, of
        this one at its end, or when they say of a search that it is open, and it is not.
        """
        if held is self._own and not self._over:
            return False
        return held.outbox.is_empty(self._over)

    def is_on_disk(self, search_id: str | None = None) -> bool:
        """Whether what waits, of one search or of all, outlives the process."""
        return self._memory.waiting(search_id) == 0

    def _own_outbox(self) -> Outbox:
        with self.changed:
            if self._own is None:
                self._own = self._home.create(self.changed)
                self._add(self._own)
            return self._own.outbox

    def _outbox_of(self, search_id: str) -> Outbox:
        if search_id in self._adopted:
            return self._adopted[search_id]
        return self._memory if self._own is None else self._own.outbox

    def _add(self, held: HeldOutbox[SqliteOutbox]) -> None:
        self._members[self._next_place] = _Member(held.outbox, held)
        self._next_place += 1

    def _in_order(self) -> list[tuple[int, _Member]]:
        """This process's own first, for somebody waits for it; then what others left behind."""
        with self.changed:
            members = list(self._members.items())
        return sorted(members, key=lambda item: item[1].held is not self._own)

    def _waits_on_disk(self, search_id: str) -> bool:
        return self._own is not None and self._own.outbox.waiting(search_id) > 0

    def _apart(self, numbers: Iterable[int]) -> list[tuple[Outbox, list[int]]]:
        of_place: dict[int, list[int]] = {}
        for number in numbers:
            of_place.setdefault(number % _PLACES, []).append(number // _PLACES)
        with self.changed:
            members = self._members
            return [(members[p].outbox, found) for p, found in of_place.items() if p in members]

    def _close_on_disk(self, event: Event) -> None:
        """The disk may have room again: what is over must not be taken for what died."""
        if self._own is None:
            return
        try:
            self._own.outbox.put([], event)
        except sqlite3.Error:
            self._over.add(event.search_id)

    def _leave_alone(self, place: int, error: Exception) -> None:
        """A file that cannot be read any more: it stays where it is, and is salvaged later."""
        with self.changed:
            member = self._members.pop(place, None)
            if member is not None and member.held is self._own:
                self._own = None
            self.changed.notify_all()
        self._warn_of_disk(error)

    def _release(self, held: HeldOutbox[SqliteOutbox]) -> None:
        try:
            held.release(self._over)
        except DISK_ERRORS as error:
            self._warn_of_disk(error)

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
