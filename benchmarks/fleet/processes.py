"""The server, its store and other processes of a fleet: started, ended by their ids, measured."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import free_port, start_server, stop_server
from stores import Postgres


class Store:
    """What the server writes to: ``sqlite`` or ``postgres``."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._file = folder / "server.db"
        self._postgres = Postgres(free_port(), ("mlflow",)) if kind == "postgres" else None
        self.uri = (
            f"sqlite:///{self._file}" if self._postgres is None else self._postgres.uri("mlflow")
        )

    def size(self) -> int:
        """Bytes that it takes on disk, with its indexes; of PostgreSQL the tables alone."""
        if self._postgres is None:
            with sqlite3.connect(self._file) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()
            return self._file.stat().st_size
        from psycopg2 import connect

        with connect(self.uri.replace("+psycopg2", "")) as database, database.cursor() as cursor:
            cursor.execute("SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables")
            (size,) = cursor.fetchone()
        database.close()
        return int(size)

    def cpu_seconds(self) -> float:
        """Of the processes of its own; SQLite is a part of the server."""
        if self._postgres is None or self._postgres._process is None:
            return 0.0
        return cpu_seconds_of_group(self._postgres._process.pid)

    def close(self) -> None:
        if self._postgres is not None:
            self._postgres.close()


class Server:
    """A real ``mlflow server`` on a port of its own, that can be ended and started again."""

    def __init__(self, folder: Path, store_uri: str, workers: int) -> None:
        self.port = free_port()
        self._folder = folder
        self._store_uri = store_uri
        self._options = ("--workers", str(workers))
        self._process: subprocess.Popen[bytes] | None = None
        self._at_start = 0.0
        # What its requests have cost, without what a start costs.
        self.cpu_seconds = 0.0

    def start(self) -> None:
        """Returns when it answers."""
        self._process = start_server(
            self._folder, self.port, backend=self._store_uri, options=self._options
        )
        self._at_start = cpu_seconds_of_group(self._process.pid)

    def stop(self, number: int = signal.SIGTERM) -> None:
        process, self._process = self._process, None
        if process is not None:
            self.cpu_seconds += cpu_seconds_of_group(process.pid) - self._at_start
            stop_server(process, number)


@contextmanager
def program(name: str, *arguments: object) -> Iterator[subprocess.Popen[Any]]:
    """A module in a process and a group of its own, which is ended when the block is."""
    process = subprocess.Popen(
        [sys.executable, "-m", name, *map(str, arguments)], start_new_session=True
    )
    try:
        yield process
    finally:
        stop_server(process)


def cpu_seconds_of_group(group: int) -> float:
    """Of all processes of a group that live, and of those that they have waited for; 0 where the
    system does not say.
    """
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")
