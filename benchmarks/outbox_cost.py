"""Cost of durability: rows and bytes on disk, time per event on Spark's thread, and a sync.

    python benchmarks/outbox_cost.py

A real session records the events of a search, without Spark. The figures are in
docs/explanation/durability.md.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.mlflow_server import free_port, start_server, stop_server
from support.orphaned_search import create_orphaned_outbox
from support.search_descriptions import FOLDS
from support.search_events import numbered_search
from support.search_player import UnreachableTarget, new_session
from trackmllib.domain.events import CandidateScored, FitScored, FitStarted
from trackmllib.runtime.session import Session


def emit_all(session: Session, candidates: int, pause: float = 0.0) -> list[float]:
    """Return the microseconds of each event of a fit on this thread."""
    took = []
    for event in numbered_search(str(uuid.uuid4()), candidates):
        began = time.perf_counter()
        session.callbacks.emit(event)
        seconds = time.perf_counter() - began
        if isinstance(event, (FitStarted, FitScored, CandidateScored)):
            took.append(seconds * 1e6)
        if pause:
            time.sleep(pause)
    return took


def quantiles(name: str, took: list[float]) -> None:
    ordered = sorted(took)
    print(
        f"{name}: {len(took)} events, median {statistics.median(took):.0f} µs, "
        f"99th percentile {ordered[len(ordered) * 99 // 100]:.0f} µs, "
        f"longest {ordered[-1] / 1000:.1f} ms",
        flush=True,
    )


def size(folder: Path) -> float:
    return sum(path.stat().st_size for path in (folder / "outbox").iterdir()) / 2**20


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        session = new_session(folder / "a", "http://127.0.0.1:1", UnreachableTarget())
        (folder / "a").mkdir()
        took = emit_all(session, 10_000 // FOLDS + 1)
        quantiles("server away", took)
        rows = session.outbox.waiting()
        print(f"{10_000 // FOLDS * FOLDS + FOLDS} fits: {rows} rows, {size(folder / 'a'):.1f} MiB")

        port = free_port()
        (folder / "server").mkdir()
        server = start_server(folder / "server", port)
        uri = f"http://127.0.0.1:{port}"
        try:
            session = new_session(folder / "b", uri)
            quantiles("server there, an event each 5 ms", emit_all(session, 200, pause=0.005))
            session.flush(None)
            for _ in range(3):
                home = Path(tempfile.mkdtemp(dir=folder))
                create_orphaned_outbox(home, uri, 1000)
                began = time.monotonic()
                subprocess.run(
                    [sys.executable, "-c", "from trackmllib.cli import main; exit(main())", "sync"],
                    env={**os.environ, "TRACKMLLIB_HOME": str(home)},
                    check=True,
                )
                print(f"sync of 1,000 children: {time.monotonic() - began:.1f} s", flush=True)
        finally:
            stop_server(server)


if __name__ == "__main__":
    main()
