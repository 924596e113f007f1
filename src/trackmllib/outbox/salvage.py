"""Opens the outbox of a process that died; of a damaged file, all that can still be read.

A damaged file is set aside under another name and never deleted.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trackmllib import plural
from trackmllib.outbox import schema
from trackmllib.outbox.left_behind import READABLE, LeftBehind

# A row takes more bytes than this, so a file has no more rows than its size tells.
_LEAST_BYTES_OF_A_ROW = 20
_NUMBERED = ("events", "rows", "refused")
_NAMED = ("searches", "facts")


def open_or_salvage(
    path: Path, changed: threading.Condition | None = None
) -> tuple[LeftBehind, str]:
    """The outbox of a file, and a warning if the file was damaged."""
    try:
        damaged = _damaged_texts(path)
        return LeftBehind(path, changed), damaged and (
            f"Damaged texts in the outbox {path}: {damaged}. They are kept there, and the rest is "
            "delivered; `trackmllib status` says what is left"
        )
    except sqlite3.DatabaseError as error:
        is_other = not any(words in str(error) for words in ("malformed", "not decode"))
        if isinstance(error, sqlite3.OperationalError) and is_other:
            raise
        reason = str(error)
    aside = path.with_name(f"{path.name}.{time.time_ns()}.damaged")
    for suffix in ("", "-wal", "-shm"):
        if Path(f"{path}{suffix}").exists():
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    found = _readable(aside)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600))
    outbox = LeftBehind(path, changed)
    rows = outbox.fill(found)
    # How far its delivery was may have been on the page that is lost.
    outbox.create_child_runs_again()
    outbox.open_main_runs_again()
    outbox.mark_all_as_sent()
    read = plural.count(rows, "operation could be read and is", "operations could be read and are")
    return outbox, (
        f"The outbox {path} is damaged ({reason}). {read} delivered; the file is kept as {aside}"
    )


def _damaged_texts(path: Path) -> str:
    """How many texts of a file are damaged whose pages SQLite takes for whole, or nothing;
    DatabaseError where the pages are damaged, or what is in them is no text at all.
    """
    connection = sqlite3.connect(path, timeout=5.0)
    try:
        problems = connection.execute("PRAGMA integrity_check").fetchall()
        if problems != [("ok",)]:
            raise sqlite3.DatabaseError(str(problems[0][0]).splitlines()[0])
        if schema.version_of(connection) != schema.VERSION:
            return ""
        damaged = sum(
            not READABLE[table](row)
            for table in ("searches", "events", "rows")
            for row in connection.execute(f"SELECT * FROM {table}")
        )
        return str(damaged or "")
    finally:
        connection.close()


def _readable(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of each table that can be read, one by one: a bad page hides its own rows only."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    connection = sqlite3.connect(path)
    try:
        # Without this SQLite reads nothing of a file that is shorter than it says of itself.
        connection.execute("PRAGMA writable_schema = ON")
        if not 0 < schema.version_of(connection) <= schema.VERSION:
            return found
        for table in _NAMED:
            found[table] = list(_until_unreadable(connection, f"SELECT * FROM {table}"))
        for table in _NUMBERED:
            found[table] = list(_numbered(connection, table, path.stat().st_size))
    except sqlite3.DatabaseError:
        pass
    finally:
        connection.close()
    return found


def _until_unreadable(connection: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    try:
        yield from connection.execute(query)
    except sqlite3.DatabaseError:
        return


def _numbered(connection: sqlite3.Connection, table: str, size: int) -> Iterator[tuple[Any, ...]]:
    first = next(_until_unreadable(connection, f"SELECT min(number) FROM {table}"), (None,))[0]
    last = (first or 1) - 1
    for row in _until_unreadable(connection, f"SELECT * FROM {table} ORDER BY number"):
        last = row[0]
        yield row
    highest = next(_until_unreadable(connection, f"SELECT max(number) FROM {table}"), (None,))[0]
    if highest is None:
        highest = last + size // _LEAST_BYTES_OF_A_ROW
    for number in range(last + 1, highest + 1):
        yield from _until_unreadable(connection, f"SELECT * FROM {table} WHERE number = {number}")
