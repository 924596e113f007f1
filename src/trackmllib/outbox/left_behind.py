"""What a process has left behind that died, or that ended before its server had everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from trackmllib.events import Event
from trackmllib.operations import CreateChildRun, Destination, OpenMainRun, child_run_tags
from trackmllib.outbox import wire
from trackmllib.outbox.sqlite import SqliteOutbox


def _readable(read: Callable[[str], object], column: int) -> Callable[[tuple[Any, ...]], bool]:
    def is_readable(row: tuple[Any, ...]) -> bool:
        try:
            read(row[column])
        except (ValueError, TypeError):
            return False
        return True

    return is_readable


# Whether the text in a row of a table is whole, by the place of its column in outbox/schema.py.
READABLE: dict[str, Callable[[tuple[Any, ...]], bool]] = {
    "searches": _readable(wire.destination, 1),
    "events": _readable(wire.event, 2),
    "rows": _readable(wire.operation, 6),
    "refused": _readable(wire.operation, 6),
    "facts": lambda _: True,
}


class LeftBehind(SqliteOutbox):
    """An outbox that its heir reads, mends and empties; nobody else puts anything into it."""

    def searches(self) -> list[str]:
        """The searches of which there is something here."""
        with self.changed:
            found = self._connection.execute(
                "SELECT search_id FROM searches UNION SELECT search_id FROM rows"
            ).fetchall()
        return [search_id for (search_id,) in found]

    def events(self, search_id: str) -> list[Event]:
        """The facts of a search that is not closed, in order, without those not readable."""
        with self.changed:
            found = self._connection.execute(
                "SELECT body FROM events WHERE search_id = ? ORDER BY number", (search_id,)
            ).fetchall()
        events = []
        for (body,) in found:
            with suppress(ValueError):
                events.append(wire.event(body))
        return events

    def destination(self, search_id: str) -> Destination | None:
        """Where a search goes; None if there is nothing of it here."""
        with self.changed:
            found = self._connection.execute(
                "SELECT destination FROM searches WHERE search_id = ?", (search_id,)
            ).fetchone()
        return None if found is None else wire.destination(found[0])

    def mark_all_as_sent(self) -> None:
        """After a crash of the machine: what had been noted last may be missing here."""
        with self._transaction() as connection:
            connection.execute("UPDATE rows SET sent = 1")

    def take_back_rejected(self) -> None:
        """Put what was set aside into the order again: the server may have changed its mind."""
        columns = "number, search_id, candidate, put_ms, batch, body"
        with self.changed:
            with self._transaction() as connection:
                connection.execute(
                    f"INSERT OR IGNORE INTO rows ({columns}, sent) SELECT {columns}, 1 FROM refused"
                )
                connection.execute("DELETE FROM refused")
            self._load()
            self.changed.notify_all()

    def candidates(self, search_id: str) -> set[int]:
        """The candidates of a search that have a run on the server, or rows here."""
        with self.changed:
            found = self._connection.execute(
                "SELECT candidate FROM rows WHERE search_id = ?1 AND candidate NOT NULL UNION"
                " SELECT CAST(substr(name, 7) AS INTEGER) FROM facts"
                " WHERE search_id = ?1 AND name LIKE 'child/%'",
                (search_id,),
            ).fetchall()
        return {candidate for (candidate,) in found}

    def last_ms(self, search_id: str) -> int:
        """When the last row of a search was put, or else when it began, in milliseconds since the
        epoch; 0 if that is not known.
        """
        with self.changed:
            found = self._connection.execute(
                "SELECT ifnull(max(put_ms), (SELECT started_ms FROM searches WHERE search_id = ?1))"
                " FROM rows WHERE search_id = ?1",
                (search_id,),
            ).fetchone()
        return int(found[0] or 0)

    def fill(self, tables: Mapping[str, Sequence[tuple[Any, ...]]]) -> int:
        """Take in rows of another file, as they lay there, less those whose text is damaged; how
        many operations were among them.
        """
        with self.changed:
            with self._transaction() as connection:
                for table, rows in tables.items():
                    for row in filter(READABLE[table], rows):
                        marks = ", ".join("?" * len(row))
                        connection.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)
                self._know_searches_again()
                # The end of a search may be among what could not be read.
                connection.execute("UPDATE searches SET closed = 0")
            self._load()
            self.changed.notify_all()
            return len(self._order)

    def _know_searches_again(self) -> None:
        """Where the row of a search was lost, make it from its first operation, or from what is
        known of its runs.
        """
        for (body,) in self._connection.execute("SELECT body FROM rows ORDER BY number").fetchall():
            operation = wire.operation(body)
            if isinstance(operation, OpenMainRun):
                self._insert_search(operation.search_id, operation.destination, operation.name)
        for (search_id,) in self._connection.execute(
            "SELECT DISTINCT search_id FROM facts WHERE name = 'run'"
        ).fetchall():
            facts = self.recall(search_id)
            destination = Destination(
                tracking_uri=facts.get("server", ""),
                run_id=facts["run"],
                experiment_id=facts.get("experiment"),
                owned=bool(facts.get("made")),
            )
            self._insert_search(search_id, destination, "")

    def _insert_search(self, search_id: str, destination: Destination, name: str) -> None:
        self._connection.execute(
            "INSERT OR IGNORE INTO searches (search_id, destination, name, started_ms)"
            " SELECT ?1, ?2, ?3, ifnull(min(put_ms), 0) FROM rows WHERE search_id = ?1",
            (search_id, wire.to_text(destination), name),
        )

    def create_child_runs_again(self) -> None:
        """Have the child run looked for, or made, of each candidate of which just that is lost."""
        with self.changed:
            with self._transaction() as connection:
                taken = {number for (number,) in connection.execute("SELECT number FROM rows")}
                lost = connection.execute(
                    "SELECT search_id, candidate, min(number), min(put_ms) FROM rows"
                    " WHERE candidate NOT NULL AND NOT EXISTS"
                    " (SELECT 1 FROM facts WHERE facts.search_id = rows.search_id"
                    "  AND facts.name = 'child/' || rows.candidate)"
                    " GROUP BY search_id, candidate"
                    ' HAVING NOT max(body LIKE \'%"$":"CreateChildRun"%\') ORDER BY 3'
                ).fetchall()
                for search_id, candidate, first, put_ms in lost:
                    # The number of what was lost is free, before the first one that was not.
                    number = next(free for free in count(first - 1, -1) if free not in taken)
                    taken.add(number)
                    operation = CreateChildRun(
                        search_id=search_id,
                        candidate=candidate,
                        name=f"candidate {candidate}",
                        start_ms=put_ms,
                        tags=child_run_tags(search_id, candidate),
                    )
                    connection.execute(
                        "INSERT INTO rows (number, search_id, candidate, put_ms, batch, sent, body)"
                        " VALUES (?, ?, ?, ?, 0, 1, ?)",
                        (number, search_id, candidate, put_ms, wire.to_text(operation)),
                    )
            self._load()
            self.changed.notify_all()

    def open_main_runs_again(self) -> None:
        """Have the main run looked for of each search of which it is not known any more."""
        with self.changed:
            with self._transaction() as connection:
                lost = connection.execute(
                    "SELECT search_id, destination, name, started_ms FROM searches WHERE NOT EXISTS"
                    " (SELECT 1 FROM facts WHERE facts.search_id = searches.search_id"
                    "  AND facts.name = 'run') AND NOT EXISTS"
                    " (SELECT 1 FROM rows WHERE rows.search_id = searches.search_id"
                    '  AND body LIKE \'%"$":"OpenMainRun"%\')'
                ).fetchall()
                for search_id, destination, name, started_ms in lost:
                    operation = OpenMainRun(
                        search_id=search_id,
                        destination=wire.destination(destination),
                        name=name,
                        start_ms=started_ms,
                    )
                    connection.execute(
                        "INSERT INTO rows (number, search_id, put_ms, batch, sent, body)"
                        " SELECT min(0, ifnull(min(number), 0)) - 1, ?, ?, 0, 1, ? FROM rows",
                        (search_id, started_ms, wire.to_text(operation)),
                    )
            self._load()
            self.changed.notify_all()

    def drop(self, search_id: str) -> None:
        """Remove all there is of a search."""
        with self.changed:
            with self._transaction() as connection:
                for table in ("rows", "refused", "deferred", "events", "facts", "searches"):
                    connection.execute(f"DELETE FROM {table} WHERE search_id = ?", (search_id,))
            self._order.remove_search(search_id)
            self.changed.notify_all()
