"""The tables of an outbox on disk, version by version.

Version 1 (trackmllib 0.2):

* ``searches``  a row for each search that is not over, or of which something is left
* ``events``    the facts of the searches that are not closed, from which they can be ended
* ``rows``      operations that wait, by number
* ``refused``   operations that a server has rejected, with the reason
* ``facts``     what was learnt of a search while its rows were applied

Version 2 adds:

* ``deferred``  why some of the ``rows`` are left to the next process, by their number
"""

from __future__ import annotations

import sqlite3

from trackmllib.errors import OutboxError

VERSION = 2
APPLICATION_ID = 0x74726B6D  # "trkm"

# What leads from one version to the next; a released one is never changed.
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
            candidate INTEGER, -- null is the main run
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
}

INSERT_ROW = (
    "INSERT INTO rows (number, search_id, candidate, put_ms, batch, body) VALUES (?, ?, ?, ?, ?, ?)"
)
INSERT_FACT = "INSERT INTO events (search_id, body) VALUES (?, ?)"

# Of one connection, and not in the file: what is inserted here is a row, or with no number a fact.
ARRIVALS = """
    PRAGMA temp_store = MEMORY;
    CREATE TEMP VIEW arrivals AS
        SELECT number, search_id, candidate, put_ms, batch, body FROM rows;
    CREATE TEMP TRIGGER arrival_of_row INSTEAD OF INSERT ON arrivals WHEN NEW.number IS NOT NULL
    BEGIN
        INSERT INTO rows (number, search_id, candidate, put_ms, batch, body) VALUES
            (NEW.number, NEW.search_id, NEW.candidate, NEW.put_ms, NEW.batch, NEW.body);
    END;
    CREATE TEMP TRIGGER arrival_of_fact INSTEAD OF INSERT ON arrivals WHEN NEW.number IS NULL
    BEGIN
        INSERT INTO events (search_id, body) VALUES (NEW.search_id, NEW.body);
    END;
"""


def check_version(connection: sqlite3.Connection) -> None:
    """Raise OutboxError for the file of a newer version; it is not changed."""
    version = version_of(connection)
    if version > VERSION:
        raise OutboxError(
            f"it was written by a newer trackmllib (schema {version}, this one knows {VERSION}); "
            "it is left as it is. Update trackmllib to have it delivered."
        )


def bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Make the tables, or those of an older version into ours; all of it or nothing."""
    for version in range(version_of(connection), VERSION):
        connection.executescript(
            f"BEGIN IMMEDIATE; {_STEPS[version]}; PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {version + 1}; COMMIT;"
        )


def version_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
