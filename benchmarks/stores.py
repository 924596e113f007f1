"""Fresh stores to record in, and whether what they have is complete."""

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

from benchmarks.taker import COUNTS
from conftest import free_port, start_server, stop_server

ROUND_TRIP_SECONDS = 0.05
_numbers = itertools.count(1)


class Incomplete(Exception):
    """The record lacks something, or has something too much."""


class Count(NamedTuple):
    """How many runs there are, how many of them are finished, how many children, and how many
    points of a metric on all of them.
    """

    runs: int
    finished: int
    children: int
    points: int


@dataclass(frozen=True)
class Store:
    """A tracking server. ``count`` says what an experiment has there, with the points of a metric.

    ``set_delay`` says how many seconds each request takes longer, where the store is far away.
    """

    uri: str
    count: Callable[[str, str], Count]
    files: str | None = None
    set_delay: Callable[[float], None] = lambda _: None

    def new_experiment(self) -> str:
        """Have MLflow record in an experiment that nobody has used; its name."""
        name = f"benchmark-{next(_numbers)}"
        mlflow.set_tracking_uri(self.uri)
        mlflow.MlflowClient().create_experiment(name, self.files)
        mlflow.set_experiment(name)
        return name

    def check(self, experiment: str, runs: int, children: int, points: int, metric: str) -> None:
        """Incomplete unless the experiment has so many runs, all of them finished, of which so many
        are children, and so many points of the metric.
        """
        found = self.count(experiment, metric)
        if found != Count(runs, runs, children, points):
            raise Incomplete(
                f"{found} instead of {runs} runs, {children} children and {points} points"
            )


def sqlite(folder: Path) -> Store:
    """A SQLite file, as MLflow's client opens it in the process of the search."""
    folder.mkdir()
    file = folder / "mlflow.db"
    return Store(f"sqlite:///{file}", _counting(file), (folder / "artifacts").as_uri())


@contextmanager
def server(folder: Path) -> Iterator[Store]:
    """An ``mlflow server`` of its own process on loopback."""
    folder.mkdir()
    port = free_port()
    process = start_server(folder, port)
    try:
        yield Store(f"http://127.0.0.1:{port}", _counting(folder / "server.db"))
    finally:
        stop_server(process)


@contextmanager
def far_away(near: Store) -> Iterator[Store]:
    """A server whose answer to each request takes longer, as ``set_delay`` says. What makes it so
    is a process of its own, and costs the search nothing.
    """
    with _started("far", near.uri) as (uri, process):

        def set_delay(seconds: float) -> None:
            print(seconds, file=process.stdin, flush=True)
            process.stdout.readline()

        yield Store(uri, near.count, set_delay=set_delay)


@contextmanager
def taker() -> Iterator[Store]:
    """What takes everything at once, in the place of a server."""

    def count(experiment: str, metric: str) -> Count:
        with urllib.request.urlopen(uri + COUNTS, timeout=60) as answer:
            found = json.load(answer)
        return Count(
            *(found.get(name, 0) for name in ("runs", "ended FINISHED", "children", metric))
        )

    with _started("taker") as (uri, _):
        yield Store(uri, count)


@contextmanager
def _started(module: str, *arguments: str) -> Iterator[tuple[str, Any]]:
    """A process of one of the modules here that prints its address."""
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
    """Counts in the SQLite file behind a store."""
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
