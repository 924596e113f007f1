"""Tables of an outbox file, version by version.

Version 1 (trackmllib 0.2):

* ``searches``: each search that is open or has rows left
* ``events``: the events of open searches, from which recovery can end a search
* ``rows``: operations that wait, by number
* ``refused``: operations that a server has rejected, with the reason
* ``facts``: run ids, settled names and the like

Version 2 adds:

* ``deferred``: why operations are left to the next process, by their number

Version 3 renames ``rows`` to ``operations``, ``refused`` to ``rejected`` and ``facts`` to
``run_registry``. The names in the texts changed too: see ``renames``.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from trackmllib.exceptions import OutboxError

VERSION = 3
APPLICATION_ID = 0x74726B6D  # "trkm"

# The step from each version to the next. Never change a released one.
_STEPS = {
    0: """
        CREATE TABLE searches (
            search_id TEXT PRIMARY KEY,
            destination TEXT NOT NULL,
            name TEXT NOT NULL,
            started_ms INTEGER NOT NULL,
            closed INTEGER NOT NULL DEFAULT 0,
            error TEXT
        ) WITHOUT ROWID;
        CREATE TABLE events (
            number INTEGER PRIMARY KEY,
            search_id TEXT NOT NULL,
            body TEXT NOT NULL
        );
        CREATE TABLE rows (
            number INTEGER PRIMARY KEY,
            search_id TEXT NOT NULL,
            candidate INTEGER, -- null is the parent run
            put_ms INTEGER NOT NULL,
            batch INTEGER NOT NULL,
            sent INTEGER NOT NULL DEFAULT 0,
            body TEXT NOT NULL
        );
        CREATE TABLE refused (
            number INTEGER PRIMARY KEY,
            search_id TEXT NOT NULL,
            candidate INTEGER,
            put_ms INTEGER NOT NULL,
            batch INTEGER NOT NULL,
            sent INTEGER NOT NULL,
            body TEXT NOT NULL,
            reason TEXT NOT NULL
        );
        CREATE TABLE facts (
            search_id TEXT NOT NULL,
            name TEXT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (search_id, name)
        ) WITHOUT ROWID;
    """,
    1: """
        CREATE TABLE deferred (
            number INTEGER PRIMARY KEY,
            search_id TEXT NOT NULL,
            reason TEXT NOT NULL
        );
    """,
    # Copies, because SQLite renames columns only since 3.25.
    2: """
        CREATE TABLE operations (
            number INTEGER PRIMARY KEY,
            search_id TEXT NOT NULL,
            candidate INTEGER, -- null is the parent run
            enqueued_ms INTEGER NOT NULL,
            batch INTEGER NOT NULL,
            sent INTEGER NOT NULL DEFAULT 0,
            body TEXT NOT NULL
        );
        INSERT INTO operations
            SELECT number, search_id, candidate, put_ms, batch, sent, body FROM rows;
        DROP TABLE rows;
        CREATE TABLE rejected (
            number INTEGER PRIMARY KEY,
            search_id TEXT NOT NULL,
            candidate INTEGER,
            enqueued_ms INTEGER NOT NULL,
            batch INTEGER NOT NULL,
            sent INTEGER NOT NULL,
            body TEXT NOT NULL,
            reason TEXT NOT NULL
        );
        INSERT INTO rejected
            SELECT number, search_id, candidate, put_ms, batch, sent, body, reason FROM refused;
        DROP TABLE refused;
        ALTER TABLE facts RENAME TO run_registry;
    """,
}

# The tables of an older version under their current names, for ``create_views``.
_RENAMED_VIEWS = """
    CREATE TEMP VIEW operations AS SELECT *, put_ms AS enqueued_ms FROM rows;
    CREATE TEMP VIEW rejected AS SELECT *, put_ms AS enqueued_ms FROM refused;
    CREATE TEMP VIEW run_registry AS SELECT * FROM facts;
"""
_VIEWS = {
    1: f"""
        {_RENAMED_VIEWS}
        CREATE TEMP VIEW deferred AS
            SELECT 0 AS number, '' AS search_id, '' AS reason WHERE 0;
    """,
    2: _RENAMED_VIEWS,
}

INSERT_OPERATION = (
    "INSERT INTO operations (number, search_id, candidate, enqueued_ms, batch, body)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)
INSERT_EVENT = "INSERT INTO events (search_id, body) VALUES (?, ?)"

# A view of the connection, not of the file. A row inserted into ``arrivals`` becomes an operation,
# or an event if it has no number.
ARRIVALS = """
    PRAGMA temp_store = MEMORY;
    CREATE TEMP VIEW arrivals AS
        SELECT number, search_id, candidate, enqueued_ms, batch, body FROM operations;
    CREATE TEMP TRIGGER operation_arrived INSTEAD OF INSERT ON arrivals WHEN NEW.number IS NOT NULL
    BEGIN
        INSERT INTO operations (number, search_id, candidate, enqueued_ms, batch, body) VALUES
            (NEW.number, NEW.search_id, NEW.candidate, NEW.enqueued_ms, NEW.batch, NEW.body);
    END;
    CREATE TEMP TRIGGER event_arrived INSTEAD OF INSERT ON arrivals WHEN NEW.number IS NULL
    BEGIN
        INSERT INTO events (search_id, body) VALUES (NEW.search_id, NEW.body);
    END;
"""


def check_version(connection: sqlite3.Connection) -> None:
    """Raise OutboxError for a file of a newer version."""
    version = version_of(connection)
    if version > VERSION:
        raise OutboxError(
            f"it was written by a newer trackmllib (schema {version}, this one reads {VERSION}), "
            "and is left as it is. Fix: update trackmllib"
        )


def migrate(connection: sqlite3.Connection) -> None:
    """Create or update the tables, with one transaction per version."""
    for version in range(version_of(connection), VERSION):
        connection.executescript(
            f"BEGIN IMMEDIATE; {_STEPS[version]}; PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {version + 1}; COMMIT;"
        )


def version_of(connection: sqlite3.Connection) -> int:
    """The schema version of a file; 0 before its tables are created."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def open_read_only(path: Path) -> sqlite3.Connection:
    """Connect to a file without changing it, and call ``create_views``."""
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=5)
    try:
        create_views(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def create_views(connection: sqlite3.Connection) -> None:
    """Give older tables their current names, for this connection only."""
    connection.executescript(_VIEWS.get(version_of(connection), ""))
