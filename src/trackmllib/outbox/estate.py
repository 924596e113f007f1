"""The outboxes that dead processes have left behind, as one."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

from trackmllib.events import Event
from trackmllib.operations import Operation, Row
from trackmllib.outbox.base import Outbox, Undelivered
from trackmllib.outbox.home import HeldOutbox
from trackmllib.outbox.left_behind import LeftBehind

# A row's number here is its number in its outbox times this, plus the place of the outbox.
_PLACES = 1 << 20


class Estate(Outbox):
    """Each file goes as soon as nothing is left in it. One that cannot be read any more is given
    back as it is, and ``warn`` is told.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        super().__init__(threading.Condition())
        self._warn = warn
        self._members: dict[int, HeldOutbox[LeftBehind]] = {}
        self._next_place = 0

    def adopt(self, held: HeldOutbox[LeftBehind]) -> None:
        """Deliver what is in it. It must have been opened with ``changed`` of this estate."""
        if held.warning:
            self._warn(held.warning)
        with self.changed:
            self._members[self._next_place] = held
            self._next_place += 1
            self.changed.notify_all()

    def release(self) -> None:
        """Give all back; what is left in them stays on disk."""
        for place in list(self._members):
            self._give_back(place)

    def put(self, operations: Sequence[Operation], event: Event | None = None) -> None:
        raise TypeError("nothing is added to what was left behind, but by takeover.py")

    def peek(
        self, limit: int, without: Container[str] = (), *, linger: bool = False, runs: int = 1
    ) -> list[Row]:
        for place, held in list(self._members.items()):
            try:
                rows = held.outbox.peek(limit, without, linger=linger, runs=runs)
            except sqlite3.Error as error:
                self._warn(
                    f"{held.outbox.path} cannot be read any more, and is left alone: {error}"
                )
                self._give_back(place)
                continue
            if rows:
                return [row._replace(number=row.number * _PLACES + place) for row in rows]
        return []

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
        for outbox in self._with(search_id):
            outbox.remember(search_id, facts, on_disk=on_disk)

    def recall(self, search_id: str) -> dict[str, str]:
        return {
            name: value
            for outbox in self._with(search_id)
            for name, value in outbox.recall(search_id).items()
        }

    def waiting(self, search_id: str | None = None) -> int:
        with self.changed:
            return sum(held.outbox.waiting(search_id) for held in self._members.values())

    def waits_for_run(self, search_id: str, candidate: int | None) -> bool:
        with self.changed:
            members = self._members.values()
            return any(held.outbox.waits_for_run(search_id, candidate) for held in members)

    def undelivered(self, search_id: str | None = None) -> Undelivered:
        with self.changed:
            found = Undelivered()
            for held in self._members.values():
                found = found.plus(held.outbox.undelivered(search_id))
            return found

    def note_error(self, search_id: str, error: str | None) -> None:
        for outbox in self._with(search_id):
            outbox.note_error(search_id, error)

    def tidy(self) -> None:
        for place, held in list(self._members.items()):
            try:
                held.outbox.tidy()
                done = held.outbox.is_empty()
            except sqlite3.Error:
                continue
            if done:
                self._give_back(place)

    def _with(self, search_id: str) -> list[LeftBehind]:
        with self.changed:
            held = [h.outbox for h in self._members.values() if h.outbox.waiting(search_id)]
        return held

    def _apart(self, numbers: Iterable[int]) -> list[tuple[LeftBehind, list[int]]]:
        of_place: dict[int, list[int]] = {}
        for number in numbers:
            of_place.setdefault(number % _PLACES, []).append(number // _PLACES)
        with self.changed:
            members = self._members
            return [(members[p].outbox, found) for p, found in of_place.items() if p in members]

    def _give_back(self, place: int) -> None:
        with self.changed:
            held = self._members.pop(place, None)
            self.changed.notify_all()
        if held is not None:
            try:
                held.release()
            except (sqlite3.Error, OSError) as error:
                self._warn(f"{held.outbox.path} stays where it is: {error}")
