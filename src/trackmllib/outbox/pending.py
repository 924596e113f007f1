"""Unacknowledged batches in the outboxes on this disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

from trackmllib.domain.operations import LogBatch
from trackmllib.exceptions import OutboxError
from trackmllib.outbox import schema, serialization
from trackmllib.outbox.directory import Entry, OutboxDirectory, check


def batches(directory: OutboxDirectory, containing: str) -> Iterator[LogBatch]:
    """Batches of all processes, alive or dead, that contain a text.

    Skips what cannot be read, which recovery reports. Changes no file.
    """
    try:
        entries = list(directory.entries())
    except (OSError, OutboxError):
        return
    for entry in entries:
        if entry.is_of_this_machine and entry.path.exists():
            yield from _of_entry(entry, containing)


def _of_entry(entry: Entry, containing: str) -> Iterator[LogBatch]:
    try:
        check(entry.path)
        with closing(schema.open_read_only(entry.path)) as connection:
            if not 0 < schema.version_of(connection) <= schema.VERSION:
                return
            found = connection.execute(
                "SELECT body FROM operations WHERE instr(body, ?1) UNION ALL "
                "SELECT body FROM rejected WHERE instr(body, ?1)",
                (containing,),
            ).fetchall()
    except (OSError, sqlite3.Error, OutboxError):
        return
    for (body,) in found:
        try:
            operation = serialization.from_text(body, LogBatch)
        except (ValueError, TypeError):
            # Damaged, or another operation.
            continue
        yield operation
