"""The orphaned outboxes that this process recovers, as one outbox."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

from trackmllib.domain.events import Event
from trackmllib.domain.operations import Operation
from trackmllib.outbox.base import Outbox, Undelivered
from trackmllib.outbox.composite import CompositeOutbox
from trackmllib.outbox.delivery_order import Row
from trackmllib.outbox.directory import LockedOutbox
from trackmllib.outbox.recovered import RecoveredOutbox

# A row number is the number in the member times this, plus the index of the member.
_MOST_OUTBOXES = 1 << 20


class OrphanedOutbox(CompositeOutbox):
    """Outboxes of dead processes, which ``runtime.recovery`` adds.

    Each file is deleted as soon as it is empty. If a file becomes unreadable, it is released
    unchanged, and ``warn`` is called.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        super().__init__(threading.Condition())
        self._warn = warn
        self._members: dict[int, LockedOutbox[RecoveredOutbox]] = {}
        self._next_index = 0

    def add(self, member: LockedOutbox[RecoveredOutbox]) -> None:
        """Add an outbox that was claimed with the ``changed`` of this one."""
        if member.warning:
            self._warn(member.warning)
        with self.changed:
            self._members[self._next_index] = member
            self._next_index += 1
            self.changed.notify_all()

    def release(self) -> None:
        """Release all outboxes; what is left in them stays on disk."""
        for index in list(self._members):
            self._release(index)

    def enqueue(self, operations: Sequence[Operation], event: Event | None = None) -> None:
        raise TypeError("operations are enqueued in the single outboxes, by runtime.recovery")

    def peek(
        self, limit: int, exclude: Container[str] = (), *, linger: bool = False, runs: int = 1
    ) -> list[Row]:
        for index, member in list(self._members.items()):
            try:
                rows = member.outbox.peek(limit, exclude, linger=linger, runs=runs)
            except sqlite3.Error as error:
                self._warn(
                    f"{member.outbox.path} can no longer be read, and stays on disk: {error}"
                )
                self._release(index)
                continue
            if rows:
                return [row._replace(number=row.number * _MOST_OUTBOXES + index) for row in rows]
        return []

    def save_registry(
        self, search_id: str, entries: Mapping[str, str], *, durable: bool = False
    ) -> None:
        for outbox in self._outboxes_of(search_id):
            outbox.save_registry(search_id, entries, durable=durable)

    def load_registry(self, search_id: str) -> dict[str, str]:
        return {
            name: value
            for outbox in self._outboxes_of(search_id)
            for name, value in outbox.load_registry(search_id).items()
        }

    def waiting(self, search_id: str | None = None) -> int:
        with self.changed:
            return sum(member.outbox.waiting(search_id) for member in self._members.values())

    def has_waiting_rows(self, search_id: str, candidate: int | None) -> bool:
        with self.changed:
            members = self._members.values()
            return any(each.outbox.has_waiting_rows(search_id, candidate) for each in members)

    def undelivered(self, search_id: str | None = None) -> Undelivered:
        with self.changed:
            found = Undelivered()
            for member in self._members.values():
                found = found.plus(member.outbox.undelivered(search_id))
            return found

    def record_error(self, search_id: str, error: str | None) -> None:
        for outbox in self._outboxes_of(search_id):
            outbox.record_error(search_id, error)

    def maintain(self) -> None:
        for index, member in list(self._members.items()):
            try:
                member.outbox.maintain()
                is_empty = member.outbox.is_empty()
            except sqlite3.Error:
                continue
            if is_empty:
                self._release(index)

    def _outboxes_of(self, search_id: str) -> list[RecoveredOutbox]:
        with self.changed:
            outboxes = [member.outbox for member in self._members.values()]
            return [outbox for outbox in outboxes if outbox.waiting(search_id)]

    def _by_outbox(self, numbers: Iterable[int]) -> list[tuple[Outbox, list[int]]]:
        by_index: dict[int, list[int]] = {}
        for number in numbers:
            by_index.setdefault(number % _MOST_OUTBOXES, []).append(number // _MOST_OUTBOXES)
        with self.changed:
            members = self._members
            return [(members[i].outbox, own) for i, own in by_index.items() if i in members]

    def _release(self, index: int) -> None:
        with self.changed:
            member = self._members.pop(index, None)
            self.changed.notify_all()
        if member is not None:
            try:
                member.release()
            except (sqlite3.Error, OSError) as error:
                self._warn(f"{member.outbox.path} could not be closed, and stays on disk: {error}")
