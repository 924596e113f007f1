"""New stores for benchmarks, and checks that their records are complete."""

from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import mlflow

from benchmarks.discarding_server import COUNTS
from support.mlflow_server import free_port, start_server, stop_server

ROUND_TRIP_SECONDS = 0.05
_numbers = itertools.count(1)


class Incomplete(Exception):
    """The record is incomplete or has too much, or a question has no result."""


class Count(NamedTuple):
    """Numbers of runs, finished runs, child runs, and points of a metric on them."""

    runs: int
    finished: int
    children: int
    points: int


@dataclass(frozen=True)
class Store:
    """A tracking server; ``count`` counts the runs of an experiment and a metric's points.

    ``set_delay`` adds seconds to each request to a distant store.
    """

    uri: str
    count: Callable[[str, str], Count]
    files: str | None = None
    set_delay: Callable[[float], None] = lambda _: None

    def new_experiment(self) -> str:
        """Set a new experiment and return its name."""
        name = f"benchmark-{next(_numbers)}"
        mlflow.set_tracking_uri(self.uri)
        mlflow.MlflowClient().create_experiment(name, self.files)
        mlflow.set_experiment(name)
        return name

    def check(self, experiment: str, runs: int, children: int, points: int, metric: str) -> None:
        """Raise Incomplete unless the experiment has these numbers, with all runs finished."""
        found = self.count(experiment, metric)
        if found != Count(runs, runs, children, points):
            raise Incomplete(
                f"{found} instead of {runs} runs, {children} children and {points} points"
            )


def sqlite(folder: Path) -> Store:
    """A SQLite file, opened by MLflow in the process of the search."""
    folder.mkdir()
    file = folder / "mlflow.db"
    return Store(f"sqlite:///{file}", _counting(file), (folder / "artifacts").as_uri())


@contextmanager
def server(folder: Path) -> Iterator[Store]:
    """An ``mlflow server`` in its own process on loopback."""
    folder.mkdir()
    port = free_port()
    process = start_server(folder, port)
    try:
        yield Store(f"http://127.0.0.1:{port}", _counting(folder / "server.db"))
    finally:
        stop_server(process)


@contextmanager
def far_away(near: Store) -> Iterator[Store]:
    """A server with added latency, set by ``set_delay``, from a proxy in its own process."""
    with _started("latency_proxy", near.uri) as (uri, process):

        def set_delay(seconds: float) -> None:
            print(seconds, file=process.stdin, flush=True)
            process.stdout.readline()

        yield Store(uri, near.count, set_delay=set_delay)


@contextmanager
def discarding_server() -> Iterator[Store]:
    """A server that discards everything at once."""

    def count(experiment: str, metric: str) -> Count:
        with urllib.request.urlopen(uri + COUNTS, timeout=60) as answer:
            found = json.load(answer)
        return Count(
            *(found.get(name, 0) for name in ("runs", "ended FINISHED", "children", metric))
        )

    with _started("discarding_server") as (uri, _):
        yield Store(uri, count)


@contextmanager
def _started(module: str, *arguments: str) -> Iterator[tuple[str, Any]]:
    """Run a module of benchmarks that prints its address; yield the address."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip(), process
    finally:
        process.terminate()
        process.wait(30)


def _counting(database: Path) -> Callable[[str, str], Count]:
    """Return a function that counts in the SQLite file of a store."""
    nested = "run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'mlflow.parentRunId')"
    queries = (
        "SELECT count(*) FROM runs WHERE TRUE",
        "SELECT count(*) FROM runs WHERE status = 'FINISHED'",
        f"SELECT count(*) FROM runs WHERE {nested}",
        "SELECT count(*) FROM metrics JOIN runs USING (run_uuid) WHERE key = :metric",
    )
    of_it = " AND experiment_id = (SELECT experiment_id FROM experiments WHERE name = :name)"

    def count(experiment: str, metric: str) -> Count:
        values = {"name": experiment, "metric": metric}
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            found = [connection.execute(query + of_it, values).fetchone()[0] for query in queries]
        return Count(*found)

    return count
