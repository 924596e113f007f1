"""Driver processes of a fleet, each with its own session, outbox and relay thread.

    python -m benchmarks.fleet.driver DRIVERS FOLDER URI CANDIDATES FIT_SECONDS BOUND

One process imports MLflow and the library, and forks the drivers, which share what was imported.
Driver 7 has its TRACKMLLIB_HOME in FOLDER/driver-7, is ``driver-7`` to the gateway, plays the
events of a search, and ends after their delivery. It writes its figures to FOLDER/driver-7.json.
The system ends a driver after BOUND seconds.
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

from support.search_descriptions import FOLDS, describe
from trackmllib.config.settings import Settings
from trackmllib.domain.events import (
    CandidateScored,
    Event,
    FitScored,
    FitStarted,
    RefitStarted,
    SearchFinished,
    SearchStarted,
)
from trackmllib.domain.operations import Destination
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.runtime.session import Session
from trackmllib.support.clock import SystemClock

FIT_SECONDS, EVALUATE_SECONDS = 0.123456789, 0.0123456789


def experiment(driver: int) -> str:
    """Return the name of the driver's own experiment."""
    return f"fleet-{driver}"


def score(driver: int, candidate: int, fold: int) -> float:
    """Return a score with 17 digits, different for each fit of the fleet."""
    return ((driver * 1009 + candidate) * 31 + fold) * 0.618033988749895 % 1.0


def average(driver: int, candidate: int) -> float:
    return sum(score(driver, candidate, fold) for fold in range(FOLDS)) / FOLDS


def search(driver: int, candidates: int, fit_seconds: float) -> Iterator[Event]:
    """The events of a driver's search; a fit takes ``fit_seconds``."""
    now_ms = SystemClock().now_ms
    search_id = str(uuid.UUID(int=driver + 1))
    averages = tuple(average(driver, index) for index in range(candidates))
    best = averages.index(max(averages))
    yield SearchStarted(search_id=search_id, time_ms=now_ms(), description=describe(candidates))
    for fold in range(FOLDS):
        for index in range(candidates):
            yield FitStarted(search_id=search_id, time_ms=now_ms(), candidate=index, fold=fold)
            time.sleep(fit_seconds)
            yield FitScored(
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


def drive(driver: int, folder: Path, uri: str, candidates: int, fit_seconds: float) -> None:
    """Play one search until it is delivered."""
    own = folder / f"driver-{driver}"
    own.mkdir()
    os.environ.update(
        TRACKMLLIB_HOME=str(own),
        MLFLOW_TRACKING_USERNAME=own.name,
        MLFLOW_TRACKING_PASSWORD="of the fleet",
    )
    session = Session(
        # Another process creates the report, which is no part of delivery.
        Settings(wait=False, silent=True, flush_timeout=0.0, report=False, progress=False),
        directory=OutboxDirectory(own / "outbox"),
        destination=lambda: Destination(tracking_uri=uri, experiment_name=experiment(driver)),
    )
    began = time.monotonic()
    for event in search(driver, candidates, fit_seconds):
        session.callbacks.emit(event)
    played = time.monotonic()
    delivered = session.flush(None)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    summary = {
        "driver": driver,
        "began": began,
        "played": played,
        "ended": time.monotonic(),
        "delivered": delivered,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "own_bytes": _own_bytes(),
    }
    (folder / f"driver-{driver}.json").write_text(json.dumps(summary))


def _own_bytes() -> int:
    """Return the memory that only this process uses; 0 if unknown."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) * 1024


def main(drivers: str, folder: str, uri: str, candidates: str, pause: str, bound: str) -> None:
    # Objects that the collector never visits stay in shared memory.
    gc.collect()
    gc.freeze()
    children = []
    for driver in range(int(drivers)):
        child = os.fork()
        if child == 0:
            signal.alarm(int(bound))
            try:
                drive(driver, Path(folder), uri, int(candidates), float(pause))
            except BaseException:  # noqa: BLE001 - the process exits
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.exit(1 if any(codes) else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
