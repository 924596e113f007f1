"""Driver processes of a fleet: each with a session, an outbox and a delivery thread of its own.

    python -m benchmarks.fleet.driver DRIVERS FOLDER URI CANDIDATES CELL_SECONDS BOUND

One process imports MLflow and the library, and forks the drivers, which share what was imported.
Driver 7 has its TRACKMLLIB_HOME in FOLDER/driver-7, calls itself ``driver-7`` to the gateway, plays
a search as the seam would, and ends when it is delivered; what it has to say of itself is then in
FOLDER/driver-7.json. After BOUND seconds a driver is ended by the system, whatever it is doing.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import time
import traceback
import uuid
from collections.abc import Iterator
from pathlib import Path

from made import FOLDS, description
from trackmllib.clock import SystemClock
from trackmllib.events import (
    CandidateScored,
    CellScored,
    CellStarted,
    Event,
    RefitStarted,
    SearchFinished,
    SearchStarted,
)
from trackmllib.operations import Destination
from trackmllib.outbox.home import Home
from trackmllib.session import Session
from trackmllib.settings import Settings

FIT_SECONDS, EVALUATE_SECONDS = 0.123456789, 0.0123456789


def experiment(driver: int) -> str:
    """Each driver has an experiment of its own, as teams have."""
    return f"fleet-{driver}"


def score(driver: int, candidate: int, fold: int) -> float:
    """A number with all its digits, another one for each cell of the fleet."""
    return ((driver * 1009 + candidate) * 31 + fold) * 0.618033988749895 % 1.0


def average(driver: int, candidate: int) -> float:
    return sum(score(driver, candidate, fold) for fold in range(FOLDS)) / FOLDS


def search(driver: int, candidates: int, cell_seconds: float) -> Iterator[Event]:
    """The events of a driver's search; a cell takes ``cell_seconds``."""
    now_ms = SystemClock().now_ms
    search_id = str(uuid.UUID(int=driver + 1))
    averages = tuple(average(driver, index) for index in range(candidates))
    best = averages.index(max(averages))
    yield SearchStarted(search_id=search_id, time_ms=now_ms(), description=description(candidates))
    for fold in range(FOLDS):
        for index in range(candidates):
            yield CellStarted(search_id=search_id, time_ms=now_ms(), candidate=index, fold=fold)
            time.sleep(cell_seconds)
            yield CellScored(
                search_id=search_id,
                time_ms=now_ms(),
                candidate=index,
                fold=fold,
                score=score(driver, index, fold),
                fit_seconds=FIT_SECONDS,
                evaluate_seconds=EVALUATE_SECONDS,
            )
            if fold == FOLDS - 1:
                yield CandidateScored(
                    search_id=search_id,
                    time_ms=now_ms(),
                    candidate=index,
                    average=averages[index],
                    deviation=0.0,
                )
    yield RefitStarted(search_id=search_id, time_ms=now_ms(), best=best)
    yield SearchFinished(
        search_id=search_id,
        time_ms=now_ms(),
        refit_seconds=1.0,
        averages=averages,
        deviations=(0.0,) * candidates,
        best=best,
    )


def drive(driver: int, folder: Path, uri: str, candidates: int, cell_seconds: float) -> None:
    """One search, until all of it is delivered."""
    own = folder / f"driver-{driver}"
    own.mkdir()
    os.environ.update(
        TRACKMLLIB_HOME=str(own),
        MLFLOW_TRACKING_USERNAME=own.name,
        MLFLOW_TRACKING_PASSWORD="of the fleet",
    )
    session = Session(
        # The report is drawn by a process of its own, which is no part of the delivery.
        Settings(wait=False, silent=True, flush_timeout=0.0, report=False, progress=False),
        home=Home(own / "outbox"),
        destination=lambda: Destination(tracking_uri=uri, experiment_name=experiment(driver)),
    )
    began = time.monotonic()
    for event in search(driver, candidates, cell_seconds):
        session.emit(event)
    played = time.monotonic()
    delivered = session.flush(None)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    said = {
        "driver": driver,
        "began": began,
        "played": played,
        "ended": time.monotonic(),
        "delivered": delivered,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "own_bytes": _own_bytes(),
    }
    (folder / f"driver-{driver}.json").write_text(json.dumps(said))


def _own_bytes() -> int:
    """Memory that this process shares with no other; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) * 1024


def main(drivers: str, folder: str, uri: str, candidates: str, pause: str, bound: str) -> None:
    # What is here already is never looked at again, and so stays shared.
    gc.collect()
    gc.freeze()
    children = []
    for driver in range(int(drivers)):
        child = os.fork()
        if child == 0:
            signal.alarm(int(bound))
            try:
                drive(driver, Path(folder), uri, int(candidates), float(pause))
            except BaseException:  # noqa: BLE001 - the end of a process
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.exit(1 if any(codes) else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
