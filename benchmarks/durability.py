"""What durability costs: rows and bytes on disk, time of an event on the Spark thread, a sync.

    python benchmarks/durability.py

Without Spark: the events of a search are given to a real session as the seam would give them. The
figures of docs/durability.md are from here.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from conftest import free_port, start_server, stop_server
from trackmllib.errors import Unavailable
from trackmllib.events import (
    Candidate,
    CandidateScored,
    CellScored,
    CellStarted,
    Component,
    GridSetting,
    SearchDescription,
    SearchFinished,
    SearchStarted,
    Value,
)
from trackmllib.operations import Destination
from trackmllib.outbox.home import Home
from trackmllib.session import Session
from trackmllib.settings import Settings

FOLDS = 3


def description(candidates: int) -> SearchDescription:
    def component(name: str) -> Component:
        return Component(class_name=name, module="pyspark.ml", uid=f"{name}_1")

    def setting(name: str, number: int) -> GridSetting:
        return GridSetting(
            name=name,
            owner="DecisionTreeClassifier_1",
            owner_class="DecisionTreeClassifier",
            owner_position="1",
            value=Value(text=str(number), data=number),
        )

    return SearchDescription(
        tuner=component("CrossValidator"),
        estimator=component("Pipeline"),
        evaluator=component("MulticlassClassificationEvaluator"),
        metric="weightedPrecision",
        larger_is_better=True,
        averaged=True,
        folds=FOLDS,
        candidates=tuple(
            Candidate(index=i, settings=(setting("maxDepth", i), setting("maxBins", i % 32)))
            for i in range(candidates)
        ),
        schema=(("features", "vector"), ("label", "double")),
        versions=(("version", "0"),),
        application_id=None,
    )


def events(search_id: str, candidates: int):
    """The events of a search, in the order in which Spark's loop makes them."""

    def now() -> int:
        return time.time_ns() // 1_000_000

    yield SearchStarted(search_id=search_id, time_ms=now(), description=description(candidates))
    scores = [(i * 7919 % candidates) / candidates for i in range(candidates)]
    for fold in range(FOLDS):
        for i in range(candidates):
            where = {"search_id": search_id, "candidate": i}
            yield CellStarted(**where, time_ms=now(), fold=fold)
            yield CellScored(
                **where,
                time_ms=now(),
                fold=fold,
                score=scores[i],
                fit_seconds=0.123456789,
                evaluate_seconds=0.0123456789,
            )
            if fold == FOLDS - 1:
                yield CandidateScored(**where, time_ms=now(), average=scores[i], deviation=0.0)
    yield SearchFinished(
        search_id=search_id,
        time_ms=now(),
        refit_seconds=1.0,
        averages=tuple(scores),
        deviations=(0.0,) * candidates,
        best=scores.index(max(scores)),
    )


class Away:
    """A server that never answers well."""

    def apply(self, operation, again=False) -> None:
        raise Unavailable("away")

    def forget(self, search_id: str) -> None: ...


def emit_all(session: Session, candidates: int, pause: float = 0.0) -> list[float]:
    """Microseconds that each event of a cell took on this thread."""
    took = []
    for event in events("00000000-0000-0000-0000-000000000001", candidates):
        began = time.perf_counter()
        session.emit(event)
        seconds = time.perf_counter() - began
        if isinstance(event, (CellStarted, CellScored, CandidateScored)):
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


def new_session(folder: Path, uri: str, target=None) -> Session:
    return Session(
        Settings(wait=False, silent=True, flush_timeout=0.0),
        home=Home(folder / "outbox"),
        target=target,
        destination=lambda: Destination(tracking_uri=uri, experiment_id="0"),
    )


def size(folder: Path) -> float:
    return sum(path.stat().st_size for path in (folder / "outbox").iterdir()) / 2**20


def backlog(folder: Path, candidates: int, uri: str = "http://127.0.0.1:1") -> None:
    """A search that no server has seen, by a process that has ended."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from pathlib import Path; import durability as d, os\n"
        "s = d.new_session(Path(sys.argv[3]), sys.argv[4], d.Away())\n"
        "d.emit_all(s, int(sys.argv[5])); os._exit(0)"
    )
    here = Path(__file__).resolve().parent
    arguments = [str(here), str(here.parent / "tests"), str(folder), uri, str(candidates)]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        session = new_session(folder / "a", "http://127.0.0.1:1", Away())
        (folder / "a").mkdir()
        took = emit_all(session, 10_000 // FOLDS + 1)
        quantiles("server away", took)
        rows = session._outbox.waiting()
        print(f"{10_000 // FOLDS * FOLDS + FOLDS} cells: {rows} rows, {size(folder / 'a'):.1f} MiB")

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
                backlog(home, 1000, uri)
                began = time.monotonic()
                subprocess.run(
                    [sys.executable, "-c", "from trackmllib.cli import main; exit(main())", "sync"],
                    env={**os.environ, "TRACKMLLIB_HOME": str(home)},
                    check=True,
                )
                print(f"sync of 1,000 children: {time.monotonic() - began:.1f} s", flush=True)
                # The same search id again would be found; a fresh server each time.
                stop_server(server)
                (folder / "server" / "server.db").unlink()
                server = start_server(folder / "server", port)
        finally:
            stop_server(server)


if __name__ == "__main__":
    main()
