"""Starts, ends and measures the processes of a fleet, by their ids."""

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

from support.deployments import Postgres
from support.mlflow_server import free_port, start_server, stop_server


class Store:
    """The store of the server: ``sqlite`` or ``postgres``."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._file = folder / "server.db"
        self._postgres = Postgres(free_port(), ("mlflow",)) if kind == "postgres" else None
        self.uri = (
            f"sqlite:///{self._file}" if self._postgres is None else self._postgres.uri("mlflow")
        )

    def size(self) -> int:
        """Return the bytes on disk with indexes; for PostgreSQL, those of the tables."""
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
        """Return the CPU seconds of its own processes; SQLite runs in the server."""
        if self._postgres is None or self._postgres._process is None:
            return 0.0
        return cpu_seconds_of_group(self._postgres._process.pid)

    def close(self) -> None:
        if self._postgres is not None:
            self._postgres.close()


class Server:
    """A real ``mlflow server`` that can be restarted."""

    def __init__(self, folder: Path, store_uri: str, workers: int) -> None:
        self.port = free_port()
        self._folder = folder
        self._store_uri = store_uri
        self._options = ("--workers", str(workers))
        self._process: subprocess.Popen[bytes] | None = None
        self._at_start = 0.0
        # CPU seconds of its requests, without those of its start.
        self.cpu_seconds = 0.0

    def start(self) -> None:
        """Start it and wait until it answers."""
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
    """Run a module in its own process group, which ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", name, *map(str, arguments)], start_new_session=True
    )
    try:
        yield process
    finally:
        stop_server(process)


def cpu_seconds_of_group(group: int) -> float:
    """Return the CPU seconds of a group's processes and their ended children; 0 if unknown."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")
