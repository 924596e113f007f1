"""Check of outbox files; a damaged file is renamed and kept."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path

from trackmllib.domain.events import Event
from trackmllib.domain.operations import Destination, Operation
from trackmllib.exceptions import OutboxError
from trackmllib.outbox import schema, serialization
from trackmllib.outbox.recovered import RecoveredOutbox

SUFFIX = ".damaged"

# The tables with texts, their columns, and the types of the texts.
_TEXTS: tuple[tuple[str, str, type], ...] = (
    ("searches", "destination", Destination),
    ("events", "body", Event),
    ("operations", "body", Operation),
)


class DamagedOutbox(OutboxError):
    """An outbox file has damaged pages; it was renamed and kept."""


def open_checked(
    path: Path, changed: threading.Condition | None = None
) -> tuple[RecoveredOutbox, str]:
    """Return the outbox, and a warning if texts in it are damaged.

    :raises DamagedOutbox: Pages are damaged, or a text is not UTF-8. Nothing is delivered.
    :raises sqlite3.Error: The file cannot be read now.
    """
    try:
        damaged = _damaged_texts(path)
        outbox = RecoveredOutbox(path, changed)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and not _is_damage(str(error)):
            raise
        kept = _rename(path)
        raise DamagedOutbox(
            f"The outbox {path} is damaged ({error}), and nothing of it is delivered: its runs may "
            f"stay RUNNING in MLflow. The file is kept as {kept}; `trackmllib status` lists it"
        ) from error
    if not damaged:
        return outbox, ""
    return outbox, (
        f"Damaged texts in the outbox {path}: {damaged}. They are kept there, and the rest is "
        "delivered; `trackmllib status` lists what is left"
    )


def _damaged_texts(path: Path) -> int:
    """Number of texts that cannot be parsed, if the pages are sound."""
    connection = sqlite3.connect(path, timeout=5.0)
    try:
        problems = connection.execute("PRAGMA integrity_check").fetchall()
        if problems != [("ok",)]:
            raise sqlite3.DatabaseError(str(problems[0][0]).splitlines()[0])
        if not 0 < schema.version_of(connection) <= schema.VERSION:
            return 0
        schema.create_views(connection)
        return sum(
            not _is_readable(text, kind)
            for table, column, kind in _TEXTS
            for (text,) in connection.execute(f"SELECT {column} FROM {table}")
        )
    finally:
        connection.close()


def _is_readable(text: str, kind: type) -> bool:
    try:
        serialization.from_text(text, kind)
    except (ValueError, TypeError):
        return False
    return True


def _is_damage(message: str) -> bool:
    """Whether an operational error is about the file, not about its use."""
    return "malformed" in message or "not decode" in message


def _rename(path: Path) -> Path:
    """Rename the files of an outbox; return the new path of its database."""
    kept = path.with_name(f"{path.name}.{time.time_ns()}{SUFFIX}")
    for suffix in ("", "-wal", "-shm"):
        if Path(f"{path}{suffix}").exists():
            os.rename(f"{path}{suffix}", f"{kept}{suffix}")
    return kept
