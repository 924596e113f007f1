"""An outbox in a SQLite file. Only the process that holds the file's lock opens it."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

from trackmllib.events import Event, SearchFailed, SearchFinished
from trackmllib.operations import LogBatch, OpenMainRun, Operation, Row, ready
from trackmllib.outbox import schema, wire
from trackmllib.outbox.base import Outbox, Undelivered, counted
from trackmllib.outbox.order import Order

logger = logging.getLogger(__name__)

BUSY_SECONDS = 5.0
# A write waits while the disk takes older ones, so that is left for quiet moments, or for when very
# many changes lie in the write-ahead log.
CHECKPOINT_SECONDS = 5.0
MOST_CHANGES = 5_000
QUIET_SECONDS = 0.5
# Older SQLite takes 999 values at a time.
ROWS_A_STATEMENT = 100
# The mode of a file whose marks of what was sent cannot be trusted. Takes no room on a full disk.
DOUBTFUL_MODE = 0o700


class SqliteOutbox(Outbox):
    """Rows survive the end of the process, whatever ends it.

    Write-ahead log, ``synchronous=NORMAL``: a transaction that has returned is with the operating
    system. A put waits for no disk, only for a lock that others hold for microseconds. There is one
    connection for all threads. All methods raise ``sqlite3.Error`` where the disk fails.
    """

    def __init__(
        self,
        path: Path,
        changed: threading.Condition | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._monotonic = monotonic
        super().__init__(changed)
        self._connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        # Rows that have left and whose removal the disk has not taken yet, with their search.
        self._gone: dict[int, str] = {}
        self._sent: set[int] = set()
        self._deferred: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._next = 1
        self._changes = 0
        self._last_put = self._last_checkpoint = time.monotonic()
        try:
            schema.check_version(self._connection)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("PRAGMA wal_autocheckpoint = 0")
            schema.bring_up_to_date(self._connection)
            self._connection.executescript(schema.ARRIVALS)
            self._load()
        except BaseException:
            self._connection.close()
            raise

    # Promises of the Outbox.

    def put(self, operations: Sequence[Operation], event: Event | None = None) -> None:
        now_ms = time.time_ns() // 1_000_000
        texts = [wire.to_text(operation) for operation in operations]
        ends = event.search_id if isinstance(event, (SearchFinished, SearchFailed)) else None
        facts = [] if event is None or ends else [(event.search_id, wire.to_text(event))]
        with self.changed:
            # First, so that a number is never given twice, whatever interrupts us here.
            numbers = range(self._next, self._next + len(operations))
            self._next = numbers.stop
            rows: list[tuple[Any, ...]] = [
                (number, *operation.run, now_ms, isinstance(operation, LogBatch), text)
                for number, operation, text in zip(numbers, operations, texts, strict=True)
            ]
            opened = [each for each in operations if isinstance(each, OpenMainRun)]
            if opened or ends or len(rows) > ROWS_A_STATEMENT:
                with self._transaction():
                    for each in opened:
                        self._open(each)
                    # The view would make copies of the files that are among them.
                    self._connection.executemany(schema.INSERT_ROW, rows)
                    self._connection.executemany(schema.INSERT_FACT, facts)
                    if ends:
                        self._close_search(ends)
            else:
                self._changes += 1
                self._arrive(
                    rows + [(None, each, None, now_ms, None, text) for each, text in facts]
                )
            for number, operation in zip(numbers, operations, strict=True):
                self._order.add(number, operation.run, batch=isinstance(operation, LogBatch))
            self._last_put = time.monotonic()
            self.changed.notify_all()

    def peek(
        self, limit: int, without: Container[str] = (), *, linger: bool = False, runs: int = 1
    ) -> list[Row]:
        with self.changed:
            numbers = list(self._order.rows_to_read(limit, without, linger, runs))
            found = self._connection.execute(
                f"SELECT number, body, sent FROM rows WHERE number IN ({_list(numbers)})"
            ).fetchall()
        place = {number: place for place, number in enumerate(numbers)}
        found.sort(key=lambda row: place[row[0]])
        rows = []
        for number, body, sent in found:
            try:
                operation = wire.operation(body)
            except ValueError as error:
                self.reject([number], str(error))
            else:
                rows.append(Row(number, operation, bool(sent) or number in self._sent))
        if found and not rows:
            return self.peek(limit, without, linger=linger, runs=runs)
        return list(ready(rows))

    def sending(self, numbers: Iterable[int]) -> None:
        def mark(connection: sqlite3.Connection) -> None:
            connection.execute(f"UPDATE rows SET sent = 1 WHERE number IN ({_list(new)})")

        with self.changed:
            new = [number for number in numbers if number not in self._sent]
            self._sent.update(new)
            if new and not self._note(mark):
                with suppress(OSError):
                    os.chmod(self.path, DOUBTFUL_MODE)

    def not_sent(self, numbers: Iterable[int]) -> None:
        def take_back(connection: sqlite3.Connection) -> None:
            connection.execute(f"UPDATE rows SET sent = 0 WHERE number IN ({_list(rows)})")

        with self.changed:
            rows = list(numbers)
            # Where the disk does not take it, whoever sends them looks first, and finds nothing.
            if self._note(take_back):
                self._sent.difference_update(rows)

    def acknowledge(self, numbers: Iterable[int]) -> None:
        def remove(connection: sqlite3.Connection) -> None:
            connection.execute(f"DELETE FROM rows WHERE number IN ({_list(self._gone)})")
            self._forget_those_over(set(self._gone.values()))

        with self.changed:
            self._take_out(numbers)
            if self._note(remove):
                self._gone.clear()

    def hold(self, numbers: Iterable[int]) -> None:
        with self.changed:
            self._order.hold(numbers)

    def unhold(self, numbers: Iterable[int]) -> None:
        with self.changed:
            self._order.unhold(numbers)

    def defer(self, numbers: Iterable[int], reason: str) -> None:
        def keep_reason(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT OR REPLACE INTO deferred (number, search_id, reason) VALUES (?, ?, ?)",
                [(number, search_id, reason) for number, search_id in found],
            )

        with self.changed:
            found = [(n, search) for n in numbers if (search := self._order.remove(n)) is not None]
            self._deferred.update(search_id for _, search_id in found)
            self._note(keep_reason)
            self.changed.notify_all()

    def reject(self, numbers: Iterable[int], reason: str) -> None:
        def move(connection: sqlite3.Connection) -> None:
            which = f"FROM rows WHERE number IN ({_list(taken)})"
            connection.execute(f"INSERT OR REPLACE INTO refused SELECT *, ? {which}", (reason,))
            connection.execute(f"DELETE {which}")

        with self.changed:
            taken = self._take_out(numbers)
            # Where the disk does not take it, the rows stay on it as they are, for the heir.
            self._note(move)
            for number in taken:
                self._rejected[self._gone.pop(number)] += 1

    def remember(self, search_id: str, facts: Mapping[str, str], *, on_disk: bool = False) -> None:
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO facts (search_id, name, value) VALUES (?, ?, ?)",
                [(search_id, name, value) for name, value in facts.items()],
            )
        if on_disk:
            self._checkpoint()

    def recall(self, search_id: str) -> dict[str, str]:
        with self.changed:
            return dict(
                self._connection.execute(
                    "SELECT name, value FROM facts WHERE search_id = ?", (search_id,)
                ).fetchall()
            )

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

    # What only an outbox on disk has.

    def has_readable(self, search_id: str) -> bool:
        """Whether a row of a search waits that is not held."""
        with self.changed:
            return self._order.has_readable(search_id)

    def open_searches(self) -> list[str]:
        """The searches that have not been closed, oldest first."""
        with self.changed:
            found = self._connection.execute(
                "SELECT search_id FROM searches WHERE closed = 0 ORDER BY started_ms"
            ).fetchall()
        return [search_id for (search_id,) in found]

    def note_error(self, search_id: str, error: str | None) -> None:
        """Keep why the rows of a search could not be sent the last time, for ``status``."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE searches SET error = ? WHERE search_id = ?", (error, search_id)
            )

    def is_empty(self, over: Collection[str] = ()) -> bool:
        """Whether nothing is left here of any search. ``over``: searches of which somebody knows
        that they are closed, although the disk did not take it.
        """
        with self.changed:
            (left,) = self._connection.execute(
                "SELECT (SELECT count(*) FROM rows) + (SELECT count(*) FROM refused)"
            ).fetchone()
            return left <= len(self._gone) and set(self.open_searches()) <= set(over)

    def tidy(self) -> None:
        """Move the write-ahead log into the file, in a quiet moment or when it is very long.

        On no Spark thread: it waits for the disk.
        """
        now = time.monotonic()
        is_quiet = self._changes and now - self._last_put > QUIET_SECONDS
        is_time = is_quiet and now - self._last_checkpoint > CHECKPOINT_SECONDS
        if not is_time and self._changes < MOST_CHANGES:
            return
        self._changes, self._last_checkpoint = 0, now
        self._checkpoint()
        with self.changed:
            # The little that has come meanwhile; only then the log can begin anew.
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _checkpoint(self) -> None:
        """Have the disk take what lies in the log, while others go on to write there."""
        other = sqlite3.connect(self.path, timeout=BUSY_SECONDS)
        try:
            other.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            other.close()

    def close(self) -> None:
        """Close the file. Nothing else may be called afterwards."""
        with self.changed:
            self._connection.close()

    def _arrive(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows, and the facts among them, by one statement: each gives Python's lock away,
        and may wait 5 ms to have it again.
        """
        if rows:
            self._connection.execute(
                f"INSERT INTO arrivals VALUES {', '.join(['(?, ?, ?, ?, ?, ?)'] * len(rows))}",
                list(chain.from_iterable(rows)),
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self.changed:
            self._changes += 1
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _open(self, operation: OpenMainRun) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO searches (search_id, destination, name, started_ms)"
            " VALUES (?, ?, ?, ?)",
            (
                operation.search_id,
                wire.to_text(operation.destination),
                operation.name,
                operation.start_ms,
            ),
        )

    def _close_search(self, search_id: str) -> None:
        self._connection.execute("UPDATE searches SET closed = 1 WHERE search_id = ?", (search_id,))
        self._connection.execute("DELETE FROM events WHERE search_id = ?", (search_id,))
        self._forget_those_over([search_id])

    def _forget_those_over(self, search_ids: Collection[str]) -> None:
        """Nothing is kept of a search that is closed and of which no row is left."""
        for search_id in search_ids:
            deleted = self._connection.execute(
                "DELETE FROM searches WHERE search_id = ?1 AND closed = 1"
                " AND NOT EXISTS (SELECT 1 FROM rows WHERE search_id = ?1)"
                " AND NOT EXISTS (SELECT 1 FROM refused WHERE search_id = ?1)",
                (search_id,),
            )
            if deleted.rowcount:
                self._connection.execute("DELETE FROM facts WHERE search_id = ?", (search_id,))

    def _load(self) -> None:
        """Read which rows there are. Those that another process has deferred wait again."""
        self._order = Order(self._monotonic)
        self._deferred.clear()
        self._rejected.clear()
        self._connection.execute("DELETE FROM deferred")
        found = self._connection.execute(
            "SELECT number, search_id, candidate, batch FROM rows ORDER BY number"
        )
        for number, search_id, candidate, batch in found.fetchall():
            self._order.add(number, (search_id, candidate), batch=bool(batch), linger=False)
        (highest,) = self._connection.execute(
            "SELECT max((SELECT ifnull(max(number), 0) FROM rows),"
            " (SELECT ifnull(max(number), 0) FROM refused))"
        ).fetchone()
        self._next = highest + 1

    def _take_out(self, numbers: Iterable[int]) -> list[int]:
        """Count rows as gone; those that were here."""
        taken = []
        for number in numbers:
            self._sent.discard(number)
            search_id = self._order.remove(number)
            if search_id is not None:
                self._gone[number] = search_id
                taken.append(number)
        self.changed.notify_all()
        return taken

    def _note(self, change: Callable[[sqlite3.Connection], None]) -> bool:
        """Write down how far delivery is; False if the disk does not take it.

        Delivery goes on then. It is written with the next note, and where the process dies before,
        rows are sent once more.
        """
        try:
            with self._transaction() as connection:
                change(connection)
        except sqlite3.Error as error:
            logger.debug("Not noted in %s: %s", self.path, error)
            return False
        return True


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
