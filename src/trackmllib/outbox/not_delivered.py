"""What outboxes on this disk hold and no server may have yet, read without touching them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote

from trackmllib.errors import OutboxError
from trackmllib.operations import LogBatch
from trackmllib.outbox import schema, wire
from trackmllib.outbox.home import Entry, Home, check


def batches(home: Home, containing: str) -> Iterator[LogBatch]:
    """The batches in which this text stands, of all processes, living or dead. What cannot be read
    is left out: its heir says so.
    """
    try:
        entries = list(home.entries())
    except (OSError, OutboxError):
        return
    for entry in entries:
        if entry.is_of_this_machine and entry.path.exists():
            yield from _of_entry(entry, containing)


def _of_entry(entry: Entry, containing: str) -> Iterator[LogBatch]:
    try:
        check(entry.path)
        where = f"file:{quote(str(entry.path))}?mode=ro"
        with closing(sqlite3.connect(where, uri=True, timeout=5)) as connection:
            if not 0 < schema.version_of(connection) <= schema.VERSION:
                return
            found = connection.execute(
                "SELECT body FROM rows WHERE instr(body, ?1) UNION ALL "
                "SELECT body FROM refused WHERE instr(body, ?1)",
                (containing,),
            ).fetchall()
    except (OSError, sqlite3.Error, OutboxError):
        return
    for (body,) in found:
        try:
            operation = wire.operation(body)
        except (ValueError, TypeError):
            continue
        if isinstance(operation, LogBatch):
            yield operation
