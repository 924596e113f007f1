"""Searches in the outboxes of all processes, read without changing a file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trackmllib.domain.operations import Destination
from trackmllib.exceptions import OutboxError
from trackmllib.outbox import schema, serialization
from trackmllib.outbox.directory import Entry, OutboxDirectory

# All columns but the first two are named as in SearchOnDisk.
_QUERY = """
    SELECT destination, closed, search_id, name, started_ms, error,
        (SELECT count(*) FROM operations AS o WHERE o.search_id = s.search_id)
            - (SELECT count(*) FROM deferred AS d WHERE d.search_id = s.search_id) AS waiting,
        (SELECT min(enqueued_ms) FROM operations AS o WHERE o.search_id = s.search_id) AS oldest_ms,
        (SELECT count(*) FROM rejected AS r WHERE r.search_id = s.search_id) AS rejected,
        (SELECT max(reason) FROM rejected AS r WHERE r.search_id = s.search_id) AS reason,
        (SELECT count(*) FROM deferred AS d WHERE d.search_id = s.search_id) AS deferred,
        (SELECT max(reason) FROM deferred AS d WHERE d.search_id = s.search_id) AS deferred_reason
    FROM searches AS s ORDER BY started_ms
"""


@dataclass(frozen=True, kw_only=True)
class SearchOnDisk:
    """A search with data on disk.

    ``owner_alive``: its process may be alive, and then delivers the search itself. Times are in
    milliseconds since the epoch; ``oldest_ms`` is that of the oldest row. ``error`` is the last
    delivery error. ``deferred`` rows wait for another process because of ``deferred_reason``;
    a server has rejected ``rejected`` rows because of ``reason``.
    """

    search_id: str
    name: str
    tracking_uri: str
    workspace: str | None = None
    state: str
    owner_alive: bool
    host: str
    pid: int | None
    started_ms: int = 0
    waiting: int = 0
    oldest_ms: int | None = None
    deferred: int = 0
    deferred_reason: str | None = None
    rejected: int = 0
    reason: str | None = None
    error: str | None = None
    entry: Entry


@dataclass(frozen=True, kw_only=True)
class LeftOnDisk:
    """Everything left in the outboxes of all processes; false if empty.

    ``searches`` are ordered by outbox, oldest first. ``damaged`` files may have data of any server.
    """

    searches: list[SearchOnDisk]
    damaged: list[Path]

    def __bool__(self) -> bool:
        return bool(self.searches or self.damaged)


def left_on_disk(directory: OutboxDirectory) -> LeftOnDisk:
    """Everything in a directory that is not delivered."""
    return LeftOnDisk(
        searches=[search for entry in directory.entries() for search in _searches(entry)],
        damaged=directory.damaged(),
    )


def _searches(entry: Entry) -> Iterator[SearchOnDisk]:
    if not entry.is_of_this_machine and not entry.doubt:
        # Other machines cannot read its write-ahead log.
        host = entry.owner.host if entry.owner else ""
        yield _unknown(
            entry,
            f"left by the machine {host}: run trackmllib sync there. If that machine is gone: "
            f"trackmllib sync --host {host}",
        )
        return
    if not entry.path.exists():
        return
    try:
        entry.check()
    except OutboxError as refusal:
        yield _unknown(entry, str(refusal))
        return
    try:
        with closing(schema.open_read_only(entry.path)) as connection:
            version = schema.version_of(connection)
            if version == 0:
                return
            if version > schema.VERSION:
                yield _unknown(entry, "written by a newer trackmllib")
                return
            connection.row_factory = sqlite3.Row
            found = connection.execute(_QUERY).fetchall()
    except sqlite3.DatabaseError as damage:
        # A file that is being created or deleted holds nothing.
        if entry.path.exists() and not entry.owner_alive:
            yield _unknown(
                entry,
                f"not readable ({damage}); trackmllib sync delivers it, or keeps it as damaged",
            )
        return
    for row in found:
        yield _search(entry, **row)


def _search(entry: Entry, destination: str, closed: bool, **columns: Any) -> SearchOnDisk:
    if entry.owner_alive:
        pid = entry.owner.pid if entry.owner else None
        state = f"{'ended' if closed else 'running'} in process {pid}, which delivers it"
    else:
        state = "ended" if closed else "died with its process"
    return SearchOnDisk(**columns, **_server(destination), **_owner(entry), state=state)


def _unknown(entry: Entry, state: str) -> SearchOnDisk:
    name = str(entry.path)
    return SearchOnDisk(search_id="?", name=name, tracking_uri="", state=state, **_owner(entry))


def _server(text: str) -> dict[str, Any]:
    try:
        destination = serialization.from_text(text, Destination)
    except ValueError:
        return {"tracking_uri": ""}
    return {"tracking_uri": destination.tracking_uri, "workspace": destination.workspace}


def _owner(entry: Entry) -> dict[str, Any]:
    return {
        "entry": entry,
        "owner_alive": entry.owner_alive,
        "host": entry.owner.host if entry.owner else "",
        "pid": entry.owner.pid if entry.owner else None,
    }
