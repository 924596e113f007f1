"""Fresh stores to record in, and whether what they have is complete."""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow

from conftest import free_port, start_server, stop_server

ROUND_TRIP_SECONDS = 0.05
_numbers = itertools.count(1)


class Incomplete(Exception):
    """The record lacks something, or has something too much."""


@dataclass(frozen=True)
class Store:
    """A tracking server. ``database`` is the SQLite file behind it.

    ``set_delay`` says how many seconds each request takes longer, where the store is far away.
    """

    uri: str
    database: Path
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
        are children, and so many points of the metric on the children.
        """
        found = self._one("SELECT count(*) FROM runs WHERE {}", experiment)
        ended = self._one("SELECT count(*) FROM runs WHERE status = 'FINISHED' AND {}", experiment)
        nested = "SELECT run_uuid FROM tags WHERE key = 'mlflow.parentRunId'"
        inner = self._one(
            f"SELECT count(*) FROM runs WHERE run_uuid IN ({nested}) AND {{}}", experiment
        )
        scored = self._one(
            f"SELECT count(*) FROM metrics JOIN runs USING (run_uuid) WHERE key = '{metric}'"
            f" AND run_uuid IN ({nested}) AND {{}}",
            experiment,
        )
        if (found, ended, inner, scored) != (runs, runs, children, points):
            raise Incomplete(
                f"{found} runs of {runs}, {ended} of them finished, {inner} children of "
                f"{children}, {scored} points of {points}"
            )

    def _one(self, query: str, experiment: str) -> int:
        of_it = "experiment_id = (SELECT experiment_id FROM experiments WHERE name = ?)"
        with closing(sqlite3.connect(self.database, timeout=60)) as connection:
            (number,) = connection.execute(query.format(of_it), (experiment,)).fetchone()
        return int(number)


def sqlite(folder: Path) -> Store:
    """A SQLite file, as MLflow's client opens it in the process of the search."""
    folder.mkdir()
    file = folder / "mlflow.db"
    return Store(f"sqlite:///{file}", file, (folder / "artifacts").as_uri())


@contextmanager
def server(folder: Path) -> Iterator[Store]:
    """An ``mlflow server`` of its own process on loopback."""
    folder.mkdir()
    port = free_port()
    process = start_server(folder, port)
    try:
        yield Store(f"http://127.0.0.1:{port}", folder / "server.db")
    finally:
        stop_server(process)


@contextmanager
def far_server(folder: Path) -> Iterator[Store]:
    """A server whose answer to each request takes a round trip of 50 ms longer. What makes it so is
    a process of its own, and costs the search nothing.
    """
    with server(folder) as near:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.far", near.uri],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None

        def set_delay(seconds: float) -> None:
            print(seconds, file=process.stdin, flush=True)
            process.stdout.readline()

        try:
            uri = process.stdout.readline().strip()
            yield Store(uri, near.database, set_delay=set_delay)
        finally:
            process.stdin.close()
            process.wait(30)
