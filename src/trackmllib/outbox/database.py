"""Connection to the SQLite file of an outbox."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from trackmllib.outbox import schema

BUSY_SECONDS = 5.0
# A checkpoint delays writes, so it waits for a quiet moment or a long write-ahead log.
CHECKPOINT_SECONDS = 5.0
MOST_CHANGES = 5_000
QUIET_SECONDS = 0.5


class Database:
    """Connection for all threads, with checkpoints of its write-ahead log.

    With ``synchronous=NORMAL``, a commit hands the transaction to the operating system. A write
    never waits for the disk, only for a lock that other threads hold for microseconds. ``lock``
    guards the connection. All methods raise ``sqlite3.Error`` if the disk fails.
    """

    def __init__(self, path: Path, lock: threading.Condition) -> None:
        self.path = path
        self._lock = lock
        self._changes = 0
        self._last_write = self._last_checkpoint = time.monotonic()
        self.connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            schema.check_version(self.connection)
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = NORMAL")
            self.connection.execute("PRAGMA wal_autocheckpoint = 0")
            schema.migrate(self.connection)
            self.connection.executescript(schema.ARRIVALS)
        except BaseException:
            self.connection.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit all statements of the block, or none."""
        with self._lock:
            self._changes += 1
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def insert_arrivals(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert operations and events with one statement.

        Each statement releases the GIL, and may wait 5 ms to get it back.
        """
        self._changes += 1
        if rows:
            self.connection.execute(
                f"INSERT INTO arrivals VALUES {', '.join(['(?, ?, ?, ?, ?, ?)'] * len(rows))}",
                list(chain.from_iterable(rows)),
            )

    def note_enqueued(self) -> None:
        """Record the time of an ``enqueue``, so that checkpoints avoid it."""
        self._last_write = time.monotonic()

    def checkpoint_if_due(self) -> None:
        """Checkpoint in a quiet moment, or if the write-ahead log is long."""
        now = time.monotonic()
        is_quiet = self._changes and now - self._last_write > QUIET_SECONDS
        is_due = is_quiet and now - self._last_checkpoint > CHECKPOINT_SECONDS
        if not is_due and self._changes < MOST_CHANGES:
            return
        self._changes, self._last_checkpoint = 0, now
        self.checkpoint()
        with self._lock:
            # The log starts over only after a checkpoint of the last few changes, too.
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def checkpoint(self) -> None:
        """Write the log to the disk without blocking other threads."""
        other = sqlite3.connect(self.path, timeout=BUSY_SECONDS)
        try:
            other.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            other.close()
