"""Costs too small for a search to show: one event on Spark's thread, and the import."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

from benchmarks.bench import DELIVERY_SECONDS, Bench
from benchmarks.figures import OURS, PEER, UNTRACKED, Row, Spread, percentile
from benchmarks.stores import Incomplete, Store, taker
from made import FOLDS, events, new_session
from trackmllib.events import CandidateScored, CellScored, CellStarted

CANDIDATES, SMOKE_CANDIDATES = 200, 10
REPEATS, SECONDS = 5, 30.0
# As often as the stub search has events: 200 cells a second.
EVERY_SECONDS = 0.0025
IMPORTS, SMOKE_IMPORTS = 15, 1
IMPORT = """
import time
began = time.perf_counter()
import trackmllib
print(time.perf_counter() - began)
"""


def on_events(bench: Bench) -> Iterator[Row]:
    candidates = bench.pick(CANDIDATES, SMOKE_CANDIDATES)
    rounds = []
    with taker() as store:
        for _, counts in bench.in_turn([OURS], REPEATS, SECONDS):
            took = _events(bench, store, candidates)
            # The warm-up is run as the others are, and thrown away.
            if counts:
                rounds.append(took)
    if bench.sampler is not None:
        return
    how = (
        f"A search of {CANDIDATES} candidates is played to a real session, an event every "
        f"{EVERY_SECONDS * 1e3:g} ms, as often as the stub search has them; outbox on disk, "
        "delivery running, by MLflow's client over HTTP, to what takes everything at once in the "
        "place of a server. Measured is each event of a cell"
    )
    for name, percent, bound, which in (
        ("event", 50, 100.0, "median"),
        ("event-99", 99, 1000.0, "99th percentile"),
    ):
        yield Row(
            name=name,
            question=f"An event on the Spark thread, durable on disk: {which}",
            meaning=f"{how}; the {which} of each round, and of these the median.",
            bound=bound,
            unit="µs",
            value=Spread.of([percentile(found, percent) for found in rounds]),
            rounds=len(rounds),
            without={UNTRACKED: "no events", PEER: "no events: it records after the search"},
        )


def on_import(bench: Bench) -> Iterator[Row]:
    times = []
    for _ in range(bench.pick(IMPORTS, SMOKE_IMPORTS) + 1):
        said = subprocess.run(
            [sys.executable, "-c", IMPORT], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        times.append(float(said) * 1e3)
    yield Row(
        name="import",
        question="`import trackmllib`",
        meaning="In fresh processes of Python.",
        bound=50.0,
        unit="ms",
        value=Spread.of(times[1:]),
        rounds=len(times) - 1,
        without={UNTRACKED: "nothing to import", PEER: "is a part of MLflow"},
    )


def _events(bench: Bench, store: Store, candidates: int) -> list[float]:
    """The microseconds of each event of a cell."""
    experiment = store.new_experiment()
    folder = bench.new_folder("events")
    folder.mkdir()
    session = new_session(folder, store.uri, experiment_id="1")
    took = []
    with bench.profiled(OURS):
        for event in events(str(uuid.uuid4()), candidates):
            began = time.perf_counter()
            session.emit(event)
            seconds = time.perf_counter() - began
            if isinstance(event, (CellStarted, CellScored, CandidateScored)):
                took.append(seconds * 1e6)
            time.sleep(EVERY_SECONDS)
        if not session.flush(min(DELIVERY_SECONDS, bench.left())):
            raise Incomplete("the record was not delivered in time")
    store.check(experiment, candidates + 1, candidates, candidates * FOLDS, "weightedPrecision")
    return took
