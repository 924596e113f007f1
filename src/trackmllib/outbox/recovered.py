"""Outbox of a dead process."""

from __future__ import annotations

from contextlib import suppress

from trackmllib.domain.events import Event
from trackmllib.domain.operations import Destination
from trackmllib.outbox import serialization
from trackmllib.outbox.sqlite import SqliteOutbox


class RecoveredOutbox(SqliteOutbox):
    """Outbox of a dead process, with what recovery reads and changes in it."""

    def events(self, search_id: str) -> list[Event]:
        """The events of an open search, in order, without damaged ones."""
        with self.changed:
            found = self._connection.execute(
                "SELECT body FROM events WHERE search_id = ? ORDER BY number", (search_id,)
            ).fetchall()
        events = []
        for (body,) in found:
            with suppress(ValueError):
                events.append(serialization.from_text(body, Event))
        return events

    def destination(self, search_id: str) -> Destination | None:
        """The destination of a search; None for an unknown search.

        :raises ValueError: The text is damaged.
        """
        with self.changed:
            found = self._connection.execute(
                "SELECT destination FROM searches WHERE search_id = ?", (search_id,)
            ).fetchone()
        return None if found is None else serialization.from_text(found[0], Destination)

    def candidates(self, search_id: str) -> set[int]:
        """The candidates of a search with a run on the server or rows on disk."""
        with self.changed:
            found = self._connection.execute(
                "SELECT candidate FROM operations WHERE search_id = ?1 AND candidate NOT NULL UNION"
                " SELECT CAST(substr(name, 7) AS INTEGER) FROM run_registry"
                " WHERE search_id = ?1 AND name LIKE 'child/%'",
                (search_id,),
            ).fetchall()
        return {candidate for (candidate,) in found}

    def last_ms(self, search_id: str) -> int:
        """Time of the last enqueued row of a search, or of its start.

        In milliseconds since the epoch; 0 if neither is known.
        """
        with self.changed:
            found = self._connection.execute(
                "SELECT ifnull(max(enqueued_ms),"
                " (SELECT started_ms FROM searches WHERE search_id = ?1))"
                " FROM operations WHERE search_id = ?1",
                (search_id,),
            ).fetchone()
        return int(found[0] or 0)

    def mark_all_sent(self) -> None:
        """Mark all rows as sent; a machine crash may have lost the last marks."""
        with self._transaction() as connection:
            connection.execute("UPDATE operations SET sent = 1")

    def requeue_rejected(self) -> None:
        """Let rejected rows wait again, because the server may accept them now."""
        columns = "number, search_id, candidate, enqueued_ms, batch, body"
        with self.changed:
            with self._transaction() as connection:
                connection.execute(
                    f"INSERT OR IGNORE INTO operations ({columns}, sent)"
                    f" SELECT {columns}, 1 FROM rejected"
                )
                connection.execute("DELETE FROM rejected")
            self._load()
            self.changed.notify_all()

    def drop(self, search_id: str) -> None:
        """Delete all that is left of a search."""
        tables = ("operations", "rejected", "deferred", "events", "run_registry", "searches")
        with self.changed:
            with self._transaction() as connection:
                for table in tables:
                    connection.execute(f"DELETE FROM {table} WHERE search_id = ?", (search_id,))
            self._scheduler.remove_search(search_id)
            self.changed.notify_all()
