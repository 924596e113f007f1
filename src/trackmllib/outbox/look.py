"""Looks at the outboxes of all processes from outside, without touching them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from trackmllib.errors import OutboxError
from trackmllib.outbox import schema, wire
from trackmllib.outbox.home import Entry, Home


@dataclass(frozen=True, kw_only=True)
class SearchOnDisk:
    """A search of which something is on disk. Times are milliseconds since the epoch.

    ``lives``: its process is alive, and delivers it by itself. ``workspace`` is MLflow's, None if
    none was set. ``oldest_ms`` is the time of the row that has waited longest. ``error`` is why
    rows could not be sent the last time. ``deferred`` rows wait for another process, because of
    ``deferred_reason``; a server has rejected ``rejected`` rows, because of ``reason``.
    """

    search_id: str
    name: str
    tracking_uri: str
    workspace: str | None = None
    state: str
    lives: bool
    host: str
    pid: int | None
    started_ms: int
    waiting: int
    oldest_ms: int | None
    deferred: int
    deferred_reason: str | None
    rejected: int
    reason: str | None
    error: str | None
    entry: Entry


def look_at(home: Home) -> list[SearchOnDisk]:
    """Every search in a home, the oldest outbox first."""
    return [search for entry in home.entries() for search in _searches(entry)]


def _searches(entry: Entry) -> Iterator[SearchOnDisk]:
    host = entry.owner.host if entry.owner else ""
    pid = entry.owner.pid if entry.owner else None
    if not entry.is_of_this_machine and not entry.doubt:
        # Its write-ahead log is not for readers on other machines.
        state = (
            f"left by the machine {host}: look at it and sync it there. If that machine is gone: "
            f"trackmllib sync --host {host}"
        )
        yield _unknown(entry, state, host)
        return
    if not entry.path.exists():
        return
    try:
        entry.check()
    except OutboxError as refusal:
        yield _unknown(entry, str(refusal), host)
        return
    try:
        connection = sqlite3.connect(f"file:{quote(str(entry.path))}?mode=ro", uri=True, timeout=5)
        try:
            if schema.version_of(connection) == 0:
                return
            if schema.version_of(connection) > schema.VERSION:
                yield _unknown(entry, "written by a newer trackmllib", host)
                return
            # A file that is still of version 1 has no deferred rows.
            query = _QUERY if schema.version_of(connection) > 1 else _QUERY_OF_VERSION_1
            found = connection.execute(query).fetchall()
        finally:
            connection.close()
    except sqlite3.DatabaseError as damage:
        # A file that comes or goes at this moment holds nothing yet, or nothing any more.
        if entry.path.exists() and not entry.lives:
            state = f"not readable as it is ({damage}); sync takes what can be read"
            yield _unknown(entry, state, host)
        return
    for search_id, destination, name, started, closed, error, rows, oldest, *counts in found:
        rejected, reason, deferred, deferred_reason = counts
        if entry.lives:
            state = f"{'ended' if closed else 'running'} in process {pid}, which delivers it"
        else:
            state = "ended" if closed else "died with its process"
        yield SearchOnDisk(
            search_id=search_id,
            name=name,
            **_place(destination),
            state=state,
            lives=entry.lives,
            host=host,
            pid=pid,
            started_ms=started,
            waiting=rows - deferred,
            oldest_ms=oldest,
            deferred=deferred,
            deferred_reason=deferred_reason,
            rejected=rejected,
            reason=reason,
            error=error,
            entry=entry,
        )


def _place(text: str) -> dict[str, Any]:
    try:
        destination = wire.destination(text)
    except ValueError:
        return {"tracking_uri": ""}
    return {"tracking_uri": destination.tracking_uri, "workspace": destination.workspace}


def _unknown(entry: Entry, state: str, host: str) -> SearchOnDisk:
    return SearchOnDisk(
        search_id="?",
        name=str(entry.path),
        tracking_uri="",
        state=state,
        lives=entry.lives,
        host=host,
        pid=entry.owner.pid if entry.owner else None,
        started_ms=0,
        waiting=0,
        oldest_ms=None,
        deferred=0,
        deferred_reason=None,
        rejected=0,
        reason=None,
        error=None,
        entry=entry,
    )


_QUERY = """
    SELECT search_id, destination, name, started_ms, closed, error,
        (SELECT count(*) FROM rows WHERE rows.search_id = searches.search_id),
        (SELECT min(put_ms) FROM rows WHERE rows.search_id = searches.search_id),
        (SELECT count(*) FROM refused WHERE refused.search_id = searches.search_id),
        (SELECT max(reason) FROM refused WHERE refused.search_id = searches.search_id),
        (SELECT count(*) FROM deferred WHERE deferred.search_id = searches.search_id),
        (SELECT max(reason) FROM deferred WHERE deferred.search_id = searches.search_id)
    FROM searches ORDER BY started_ms
"""
_QUERY_OF_VERSION_1 = re.sub(
    r"\(SELECT (count|max)\S+ FROM deferred .*\)",
    lambda found: "0" if found[1] == "count" else "NULL",
    _QUERY,
)
