"""Bytes per child run and durations of MLflow's calls in a large store.

    python -m benchmarks.fleet.store_growth [--children 100000] [--store postgres]

A real session records a search of 200 candidates. Its rows are then copied within the database, as
further searches of the same experiment. The calls are those of trackmllib's delivery and loading,
made by MLflow's store in this process, without a server. Prints medians of seven, at 1,000 children
and at the end. docs/explanation/scale.md has the figures.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from benchmarks.fleet.processes import Store
from support.search_events import numbered_search
from support.search_player import new_session
from trackmllib.tracking.client import find_run

OF_SEARCH = 200
EXPERIMENT = "0"
AVERAGE = "avg_weightedPrecision"
# In the order of their foreign keys.
TABLES = ("runs", "tags", "params", "metrics", "latest_metrics")


def search_of(copy: int) -> str:
    """Return a search id; only the last digits differ."""
    return f"00000000-0000-0000-0000-{copy:012d}"


def record(uri: str, folder: Path) -> None:
    """Record the search that is copied."""
    session = new_session(folder / "home", uri, experiment_id=EXPERIMENT)
    for event in numbered_search(search_of(0), OF_SEARCH):
        session.callbacks.emit(event)
    if not session.flush(600):
        raise TimeoutError("the search that is to be copied is not recorded")


class Copies:
    """Copies of the first search, in its database."""

    def __init__(self, uri: str) -> None:
        self._engine = sqlalchemy.create_engine(uri)
        found = sqlalchemy.inspect(self._engine)
        self._columns = {
            table: [column["name"] for column in found.get_columns(table)] for table in TABLES
        }
        with self._engine.begin() as connection:
            self._runs = [
                run_id
                for (run_id,) in connection.execute(
                    sqlalchemy.text("SELECT run_uuid FROM tags WHERE value = :search_id"),
                    {"search_id": search_of(0)},
                )
            ]

    def add(self, first: int, last: int) -> None:
        """Add the copies from ``first`` to ``last``, exclusive."""
        for copy in range(first, last):
            with self._engine.begin() as connection:
                for table in TABLES:
                    connection.execute(*self._statement(table, copy))

    def _statement(self, table: str, copy: int) -> tuple[sqlalchemy.TextClause, dict[str, object]]:
        # Random ids as in MLflow, since sorted ids would make the index smaller.
        new_id = f"md5(run_uuid || '{copy}')"
        if self._engine.dialect.name == "sqlite":
            new_id = f"copied_id(run_uuid, '{copy}')"
        if table == "tags":
            value = (
                "CASE key WHEN 'trackmllib.search_id' THEN :search_id"
                f" WHEN 'mlflow.parentRunId' THEN {new_id.replace('run_uuid', 'value')}"
                " ELSE value END"
            )
        else:
            value = "value"
        chosen = [
            {"run_uuid": new_id, "value": value}.get(column, column)
            for column in self._columns[table]
        ]
        ids = ", ".join(f"'{run_id}'" for run_id in self._runs)
        columns = ", ".join(f'"{column}"' for column in self._columns[table])
        return sqlalchemy.text(
            f"INSERT INTO {table} ({columns}) SELECT {', '.join(chosen)} FROM {table}"
            f" WHERE run_uuid IN ({ids})"
        ), ({"search_id": search_of(copy)} if table == "tags" else {})

    def analyze(self) -> None:
        """Update the statistics, as a database does by itself after a while."""
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sqlalchemy.text("ANALYZE"))

    def close(self) -> None:
        self._engine.dispose()


def calls(client: MlflowClient, copy: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the calls of delivery and loading by name, for the search with this number."""
    searched = f"tags.`trackmllib.search_id` = '{search_of(copy)}'"
    parent = client.search_runs(
        [EXPERIMENT], searched, order_by=["attributes.start_time ASC"], max_results=1
    )[0]
    nested = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"

    def child() -> None:
        run = client.create_run(
            EXPERIMENT,
            tags={"mlflow.parentRunId": parent.info.run_id, "trackmllib.search_id": "another"},
        )
        now = time.time_ns() // 1_000_000
        names = ("weightedPrecision", "fit_seconds", "evaluate_seconds")
        client.log_batch(
            run.info.run_id,
            params=[Param("maxDepth", "1"), Param("maxBins", "2")],
            metrics=[Metric(name, 0.5, now, fold) for fold in range(3) for name in names],
            tags=[RunTag("trackmllib.candidate", "0")],
        )
        client.set_terminated(run.info.run_id)

    yield "a child is recorded", child
    yield (
        "a child is looked for",
        lambda: find_run(client, EXPERIMENT, search_of(copy), OF_SEARCH // 2),
    )
    yield (
        "the children of one search, best first",
        lambda: client.search_runs(
            [EXPERIMENT], nested, order_by=[f"metrics.{AVERAGE} DESC"], max_results=1000
        ),
    )
    yield (
        "the newest 100 of the experiment",
        lambda: client.search_runs([EXPERIMENT], max_results=100),
    )
    yield (
        "the best 100 of the experiment",
        lambda: client.search_runs(
            [EXPERIMENT], order_by=[f"metrics.{AVERAGE} DESC"], max_results=100
        ),
    )


def measure(client: MlflowClient, copy: int, children: int) -> None:
    for name, call in calls(client, copy):
        took = []
        for _ in range(8):
            began = time.perf_counter()
            call()
            took.append((time.perf_counter() - began) * 1000)
        # The first call warms up.
        print(
            f"  {children:9,} children: {name:38}{statistics.median(took[1:]):9.1f} ms", flush=True
        )


def copied_id(run_id: str, copy: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{run_id}/{copy}").hex


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--children", type=int, default=100_000)
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-") as name:
        folder = Path(name)
        store = Store(given.store, folder)
        try:
            record(store.uri, folder)
            copies = Copies(store.uri)
            if given.store == "sqlite":
                _teach_sqlite(copies)
            print(f"{given.store}:")
            client = MlflowClient(tracking_uri=store.uri)
            few, many = 1000 // OF_SEARCH, given.children // OF_SEARCH
            copies.add(1, few)
            copies.analyze()
            measure(client, few // 2, few * OF_SEARCH)
            before = store.size()
            copies.add(few, many)
            grown = store.size() - before
            print(f"  bytes a child: {grown / ((many - few) * OF_SEARCH):,.0f}", flush=True)
            copies.analyze()
            measure(client, many // 2, many * OF_SEARCH)
            copies.close()
        finally:
            store.close()


def _teach_sqlite(copies: Copies) -> None:
    """Give SQLite a function that derives a random id from another."""

    @sqlalchemy.event.listens_for(copies._engine, "connect")
    def connected(connection: object, _: object) -> None:
        connection.create_function("copied_id", 2, copied_id, deterministic=True)  # type: ignore[attr-defined]

    copies._engine.dispose()


if __name__ == "__main__":
    main()
