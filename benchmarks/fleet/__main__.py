"""A fleet of drivers on one server with a limited request rate.

    python -m benchmarks.fleet [--drivers 50] [--rate 40] [--candidates 16] [--store postgres]

The drivers (driver.py) run without Spark, with the real recorder, outbox, relay and MLflow client.
A gateway (gateway.py) in front of a real ``mlflow server`` either delays early requests or refuses
them with 429. The server is killed and restarted halfway. The record is then read back from the
store and compared with the played searches (record_check.py). The exit code is 1 if a bound is
missed. docs/explanation/scale.md has the figures.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.fleet.gateway import AT_ONCE, read_log
from benchmarks.fleet.log_figures import Outage, figures_of
from benchmarks.fleet.processes import Server, Store, program
from benchmarks.fleet.record_check import differences, rejected_operations
from support.mlflow_server import free_port

# Approximate requests of a search besides three per child, to find the middle of the run.
PARENT_RUN_REQUESTS = 14
# Maximum number of early requests; in mode "delay", there is room for all drivers.
QUEUES = {"delay": 1000, "refuse": 10}
FIT_SECONDS = 0.03


class Bound(NamedTuple):
    """The maximum of a figure."""

    figure: str
    most: float
    what: str


def bounds(drivers: int, rate: float, restart: bool) -> list[Bound]:
    """Return the bounds of each run.

    If all drivers share the server evenly, each has a turn every ``drivers / rate`` seconds.
    """
    patience = max(5.0, 15 * drivers / rate)
    always = [
        Bound("time_ratio", 1.2, "seconds over requests / rate, without the server's absence"),
        Bound("lost", 0, "missing, doubled or changed of what was played"),
        Bound("undelivered", 0, "drivers that did not end by themselves, with all delivered"),
        Bound("longest_gap_seconds", patience, "in which a driver got no answer"),
        Bound("last_over_median", 1.5, "time of the last driver to end, over the median"),
    ]
    if not restart:
        return always
    return [
        *always,
        Bound("herd", max(4.0, drivers / 5), "drivers that came back in the same 100 ms"),
        Bound("late_seconds", patience, "as much longer a driver was away than the server"),
    ]


def run(
    drivers: int = 50,
    rate: float = 40.0,
    candidates: int = 16,
    *,
    modes: Sequence[str] = ("delay", "refuse"),
    store: str = "sqlite",
    workers: int = 1,
    restart: bool = True,
    keep: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the figures of each mode, with the names of the ``missed`` bounds.

    ``keep`` is a folder for the gateways' logs.
    """
    found = {}
    for mode in modes:
        with tempfile.TemporaryDirectory(prefix="fleet-") as name:
            folder = Path(name)
            fleet = _Fleet(folder, drivers, rate, candidates, mode)
            figures = fleet.run(store, workers, restart)
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{mode}.log").write_text((folder / "gateway.log").read_text())
        figures["missed"] = [
            bound.figure
            for bound in bounds(drivers, rate, restart)
            if figures[bound.figure] > bound.most
        ]
        found[mode] = figures
    return found


class _Fleet:
    """One run, whose processes have their files in one folder."""

    def __init__(self, folder: Path, drivers: int, rate: float, candidates: int, mode: str) -> None:
        self._folder = folder
        self._drivers, self._rate, self._candidates = drivers, rate, candidates
        self._mode = mode
        # How long the requests of all drivers take at this rate.
        self._seconds = drivers * (3 * candidates + PARENT_RUN_REQUESTS) / rate
        self._patience = int(3 * self._seconds + 120)

    def run(self, store: str, workers: int, restart: bool) -> dict[str, Any]:
        place = Store(store, self._folder)
        server = Server(self._folder, place.uri, workers)
        try:
            server.start()
            bytes_before, cpu_before = place.size(), place.cpu_seconds()
            away, undelivered = self._drive(server, restart)
            server.stop()
            grown, cpu = place.size() - bytes_before, place.cpu_seconds() - cpu_before
            figures = figures_of(read_log(self._folder / "gateway.log"), self._rate, away)
            figures |= self._of_drivers()
            figures |= {"undelivered": undelivered, **self._compared(place.uri)}
        finally:
            server.stop()
            place.close()
        children = self._drivers * self._candidates
        return figures | {
            "requests_a_child": figures["requests"] / children,
            "bytes_a_child": grown / children,
            "server_ms_a_request": server.cpu_seconds / figures["requests"] * 1000,
            "store_ms_a_request": cpu / figures["requests"] * 1000,
        }

    def _drive(self, server: Any, restart: bool) -> tuple[Outage | None, int]:
        """Run all drivers; return the outage and the number of undelivered searches."""
        way_in, log = free_port(), self._folder / "gateway.log"
        gateway = (way_in, server.port, self._rate, QUEUES[self._mode], self._mode, log)
        uri = f"http://127.0.0.1:{way_in}"
        how = (self._candidates, FIT_SECONDS, self._patience)
        search = (self._drivers, self._folder, uri, *how)
        away = None
        with (
            program("benchmarks.fleet.gateway", *gateway),
            program("benchmarks.fleet.driver", *search) as drivers,
        ):
            if restart:
                time.sleep(self._seconds * 0.4)
                killed = time.monotonic()
                server.stop(signal.SIGKILL)
                server.start()
                away = Outage(killed, time.monotonic())
            try:
                drivers.wait(self._patience + 30)
            except subprocess.TimeoutExpired:
                print("Drivers are not done, and are ended", file=sys.stderr)
        summaries = [json.loads(path.read_text()) for path in self._folder.glob("driver-*.json")]
        return away, self._drivers - sum(driver["delivered"] for driver in summaries)

    def _of_drivers(self) -> dict[str, float]:
        summaries = [json.loads(path.read_text()) for path in self._folder.glob("driver-*.json")]
        return {
            "driver_cpu_seconds": statistics.median(driver["cpu_seconds"] for driver in summaries),
            "driver_own_mib": statistics.median(driver["own_bytes"] for driver in summaries)
            / 2**20,
        }

    def _compared(self, store_uri: str) -> dict[str, int]:
        files = self._folder / "artifacts"
        lines = differences(store_uri, files, self._drivers, self._candidates)
        aside = [
            reason
            for home in self._folder.glob("driver-*/")
            for reason in rejected_operations(home)
        ]
        for line in [*lines[:10], *aside[:10]]:
            print(line, file=sys.stderr)
        return {"lost": len(lines), "set_aside": len(aside)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--drivers", type=int, default=50)
    parser.add_argument("--rate", type=float, default=40.0, help="requests a second")
    parser.add_argument("--candidates", type=int, default=16, help="of each driver's search")
    parser.add_argument("--mode", choices=[*QUEUES, "both"], default="both")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--workers", type=int, default=1, help="of the server")
    parser.add_argument("--no-restart", dest="restart", action="store_false")
    parser.add_argument("--keep", type=Path, help="a folder for the gateways' logs")
    given = vars(parser.parse_args())
    mode = given.pop("mode")
    found = run(**given, modes=list(QUEUES) if mode == "both" else [mode])
    limits = {
        bound.figure: bound for bound in bounds(given["drivers"], given["rate"], given["restart"])
    }
    for name, figures in found.items():
        print(f"{name}: {given['drivers']} drivers, {given['rate']:g} requests a second")
        for figure, value in figures.items():
            if figure == "missed":
                continue
            bound = limits.get(figure)
            says = "" if bound is None else f"  at most {bound.most:g}: {bound.what}"
            mark = "  MISSED" if figure in figures["missed"] else ""
            print(f"  {figure:21}{value:12.2f}{says}{mark}")
        if figures["missed"] and figures["at_server"] > min(AT_ONCE, given["drivers"]) / 2:
            print("  The server was slower than the rate: this machine bears a lower --rate.")
    return 1 if any(figures["missed"] for figures in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
