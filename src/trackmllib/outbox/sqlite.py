"""Outbox in a SQLite file, which only the holder of its lock opens."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from trackmllib.domain.events import Event, SearchFailed, SearchFinished
from trackmllib.domain.operations import LogBatch, OpenParentRun, Operation
from trackmllib.outbox import schema, serialization
from trackmllib.outbox.base import Outbox, Undelivered, count_of
from trackmllib.outbox.database import Database
from trackmllib.outbox.delivery_order import Row, select_deliverable
from trackmllib.outbox.scheduler import Scheduler

logger = logging.getLogger(__name__)

# Older SQLite takes 999 values at a time.
ROWS_PER_STATEMENT = 100
# The mode of a file that may lack marks of sent rows. Setting it needs no room on a full disk.
UNTRUSTED_MODE = 0o700


class SqliteOutbox(Outbox):
    """Outbox whose rows survive any end of the process.

    All methods raise ``sqlite3.Error`` if the disk fails, except those that record the progress of
    delivery: delivery continues, and after a crash, rows are sent again.
    """

    def __init__(
        self,
        path: Path,
        changed: threading.Condition | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(changed)
        self.path = path
        self._monotonic = monotonic
        # The searches of rows that have left but are still in the file, because the disk failed.
        self._gone: dict[int, str] = {}
        self._sent: set[int] = set()
        self._deferred: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._next = 1
        self.database = Database(path, self.changed)
        self._connection = self.database.connection
        self._transaction = self.database.transaction
        try:
            self._load()
        except BaseException:
            self._connection.close()
            raise

    def enqueue(self, operations: Sequence[Operation], event: Event | None = None) -> None:
        now_ms = time.time_ns() // 1_000_000
        texts = [serialization.to_text(operation) for operation in operations]
        ends = event.search_id if isinstance(event, (SearchFinished, SearchFailed)) else None
        events = [] if event is None or ends else [(event.search_id, serialization.to_text(event))]
        with self.changed:
            # First, so that no number is used twice, whatever interrupts this method.
            numbers = range(self._next, self._next + len(operations))
            self._next = numbers.stop
            rows: list[tuple[Any, ...]] = [
                (number, *operation.run, now_ms, isinstance(operation, LogBatch), text)
                for number, operation, text in zip(numbers, operations, texts, strict=True)
            ]
            opened = [each for each in operations if isinstance(each, OpenParentRun)]
            if opened or ends or len(rows) > ROWS_PER_STATEMENT:
                with self._transaction():
                    for each in opened:
                        self._insert_search(each)
                    # Not through the view, which would copy the files among the rows.
                    self._connection.executemany(schema.INSERT_OPERATION, rows)
                    self._connection.executemany(schema.INSERT_EVENT, events)
                    if ends:
                        self._close_search(ends)
            else:
                self.database.insert_arrivals(
                    rows + [(None, each, None, now_ms, None, text) for each, text in events]
                )
            for number, operation in zip(numbers, operations, strict=True):
                self._scheduler.add(number, operation.run, batch=isinstance(operation, LogBatch))
            self.database.note_enqueued()
            self.changed.notify_all()

    def peek(
        self, limit: int, exclude: Container[str] = (), *, linger: bool = False, runs: int = 1
    ) -> list[Row]:
        with self.changed:
            numbers = list(self._scheduler.next_rows(limit, exclude, linger, runs))
            found = self._connection.execute(
                f"SELECT number, body, sent FROM operations WHERE number IN ({_list(numbers)})"
            ).fetchall()
        place = {number: place for place, number in enumerate(numbers)}
        found.sort(key=lambda row: place[row[0]])
        rows = []
        for number, body, sent in found:
            try:
                operation = serialization.from_text(body, Operation)
            except ValueError as error:
                self.reject([number], str(error))
            else:
                rows.append(Row(number, operation, bool(sent) or number in self._sent))
        if found and not rows:
            return self.peek(limit, exclude, linger=linger, runs=runs)
        return list(select_deliverable(rows))

    def mark_sent(self, numbers: Iterable[int]) -> None:
        def mark(connection: sqlite3.Connection) -> None:
            connection.execute(f"UPDATE operations SET sent = 1 WHERE number IN ({_list(new)})")

        with self.changed:
            new = [number for number in numbers if number not in self._sent]
            self._sent.update(new)
            if new and not self._try_to_write(mark):
                with suppress(OSError):
                    os.chmod(self.path, UNTRUSTED_MODE)

    def unmark_sent(self, numbers: Iterable[int]) -> None:
        def unmark(connection: sqlite3.Connection) -> None:
            connection.execute(f"UPDATE operations SET sent = 0 WHERE number IN ({_list(rows)})")

        with self.changed:
            rows = list(numbers)
            # If the disk fails, the next try looks for these rows on the server, and finds none.
            if self._try_to_write(unmark):
                self._sent.difference_update(rows)

    def acknowledge(self, numbers: Iterable[int]) -> None:
        def remove(connection: sqlite3.Connection) -> None:
            connection.execute(f"DELETE FROM operations WHERE number IN ({_list(self._gone)})")
            self._delete_finished_searches(set(self._gone.values()))

        with self.changed:
            self._remove_from_schedule(numbers)
            if self._try_to_write(remove):
                self._gone.clear()

    def hold(self, numbers: Iterable[int]) -> None:
        with self.changed:
            self._scheduler.hold(numbers)

    def unhold(self, numbers: Iterable[int]) -> None:
        with self.changed:
            self._scheduler.unhold(numbers)

    def defer(self, numbers: Iterable[int], reason: str) -> None:
        def keep_reason(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT OR REPLACE INTO deferred (number, search_id, reason) VALUES (?, ?, ?)",
                [(number, search_id, reason) for number, search_id in found],
            )

        with self.changed:
            found = [(n, s) for n in numbers if (s := self._scheduler.remove(n)) is not None]
            self._deferred.update(search_id for _, search_id in found)
            self._try_to_write(keep_reason)
            self.changed.notify_all()

    def reject(self, numbers: Iterable[int], reason: str) -> None:
        def move(connection: sqlite3.Connection) -> None:
            which = f"FROM operations WHERE number IN ({_list(removed)})"
            connection.execute(f"INSERT OR REPLACE INTO rejected SELECT *, ? {which}", (reason,))
            connection.execute(f"DELETE {which}")

        with self.changed:
            removed = self._remove_from_schedule(numbers)
            # If the disk fails, the rows stay as they are, for the process that recovers the file.
            self._try_to_write(move)
            for number in removed:
                self._rejected[self._gone.pop(number)] += 1

    def save_registry(
        self, search_id: str, entries: Mapping[str, str], *, durable: bool = False
    ) -> None:
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO run_registry (search_id, name, value) VALUES (?, ?, ?)",
                [(search_id, name, value) for name, value in entries.items()],
            )
        if durable:
            self.database.checkpoint()

    def load_registry(self, search_id: str) -> dict[str, str]:
        with self.changed:
            return dict(
                self._connection.execute(
                    "SELECT name, value FROM run_registry WHERE search_id = ?", (search_id,)
                ).fetchall()
            )

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
        with self._transaction() as connection:
            connection.execute(
                "UPDATE searches SET error = ? WHERE search_id = ?", (error, search_id)
            )

    def maintain(self) -> None:
        self.database.checkpoint_if_due()

    def has_readable_rows(self, search_id: str) -> bool:
        """Whether a search has waiting rows that are not held."""
        with self.changed:
            return self._scheduler.has_readable_rows(search_id)

    def open_searches(self) -> list[str]:
        """The searches that have not been closed, oldest first."""
        with self.changed:
            found = self._connection.execute(
                "SELECT search_id FROM searches WHERE closed = 0 ORDER BY started_ms"
            ).fetchall()
        return [search_id for (search_id,) in found]

    def is_empty(self, closed: Collection[str] = ()) -> bool:
        """Whether nothing is left of any search.

        ``closed``: searches that are closed, although the disk failed to record it.
        """
        with self.changed:
            (left,) = self._connection.execute(
                "SELECT (SELECT count(*) FROM operations) + (SELECT count(*) FROM rejected)"
            ).fetchone()
            return left <= len(self._gone) and set(self.open_searches()) <= set(closed)

    def close(self) -> None:
        """Close the file. Call no other method after it."""
        with self.changed:
            self._connection.close()

    def _insert_search(self, operation: OpenParentRun) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO searches (search_id, destination, name, started_ms)"
            " VALUES (?, ?, ?, ?)",
            (
                operation.search_id,
                serialization.to_text(operation.destination),
                operation.name,
                operation.start_ms,
            ),
        )

    def _close_search(self, search_id: str) -> None:
        self._connection.execute("UPDATE searches SET closed = 1 WHERE search_id = ?", (search_id,))
        self._connection.execute("DELETE FROM events WHERE search_id = ?", (search_id,))
        self._delete_finished_searches([search_id])

    def _delete_finished_searches(self, search_ids: Collection[str]) -> None:
        """Delete closed searches that have no rows left, and their registries."""
        for search_id in search_ids:
            deleted = self._connection.execute(
                "DELETE FROM searches WHERE search_id = ?1 AND closed = 1"
                " AND NOT EXISTS (SELECT 1 FROM operations WHERE search_id = ?1)"
                " AND NOT EXISTS (SELECT 1 FROM rejected WHERE search_id = ?1)",
                (search_id,),
            )
            if deleted.rowcount:
                self._connection.execute(
                    "DELETE FROM run_registry WHERE search_id = ?", (search_id,)
                )

    def _load(self) -> None:
        """Schedule the rows of the file, including those deferred before."""
        self._scheduler = Scheduler(self._monotonic)
        self._deferred.clear()
        self._rejected.clear()
        self._connection.execute("DELETE FROM deferred")
        found = self._connection.execute(
            "SELECT number, search_id, candidate, batch FROM operations ORDER BY number"
        )
        for number, search_id, candidate, batch in found.fetchall():
            self._scheduler.add(number, (search_id, candidate), batch=bool(batch), linger=False)
        (highest,) = self._connection.execute(
            "SELECT max((SELECT ifnull(max(number), 0) FROM operations),"
            " (SELECT ifnull(max(number), 0) FROM rejected))"
        ).fetchone()
        self._next = highest + 1

    def _remove_from_schedule(self, numbers: Iterable[int]) -> list[int]:
        """Count rows as gone; return those that were waiting."""
        removed = []
        for number in numbers:
            self._sent.discard(number)
            search_id = self._scheduler.remove(number)
            if search_id is not None:
                self._gone[number] = search_id
                removed.append(number)
        self.changed.notify_all()
        return removed

    def _try_to_write(self, change: Callable[[sqlite3.Connection], None]) -> bool:
        """Record the progress of delivery; False if the disk fails."""
        try:
            with self._transaction() as connection:
                change(connection)
        except sqlite3.Error as error:
            logger.debug("Not written to %s: %s", self.path, error)
            return False
        return True


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
