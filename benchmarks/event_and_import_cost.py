"""Costs too small to measure in a search: an event on Spark's thread, and the import."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

from benchmarks.measurement import DELIVERY_SECONDS, Bench
from benchmarks.ratios import OURS, PEER, UNTRACKED, Row, Spread, percentile
from benchmarks.stores import Incomplete, Store, discarding_server
from support.search_descriptions import FOLDS
from support.search_events import numbered_search
from support.search_player import new_session
from trackmllib.domain.events import CandidateScored, FitScored, FitStarted

CANDIDATES, SMOKE_CANDIDATES = 200, 10
REPEATS, SECONDS = 5, 30.0
# The rate of the stub search: 200 fits a second.
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
    with discarding_server() as store:
        for _, counts in bench.in_turn([OURS], REPEATS, SECONDS):
            took = _events(bench, store, candidates)
            # The warm-up is discarded.
            if counts:
                rounds.append(took)
    if bench.sampler is not None:
        return
    how = (
        f"A search of {CANDIDATES} candidates is played to a real session, an event every "
        f"{EVERY_SECONDS * 1e3:g} ms, as often as the stub search has them; outbox on disk, "
        "delivery running, by MLflow's client over HTTP, to a process that discards everything, in "
        "the place of a server. Measured is each event of a fit"
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
        output = subprocess.run(
            [sys.executable, "-c", IMPORT], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        times.append(float(output) * 1e3)
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
    """Return the microseconds of each event of a fit."""
    experiment = store.new_experiment()
    folder = bench.new_folder("events")
    folder.mkdir()
    session = new_session(folder, store.uri, experiment_id="1")
    took = []
    with bench.profiled(OURS):
        for event in numbered_search(str(uuid.uuid4()), candidates):
            began = time.perf_counter()
            session.callbacks.emit(event)
            seconds = time.perf_counter() - began
            if isinstance(event, (FitStarted, FitScored, CandidateScored)):
                took.append(seconds * 1e6)
            time.sleep(EVERY_SECONDS)
        if not session.flush(min(DELIVERY_SECONDS, bench.left())):
            raise Incomplete("the record was not delivered in time")
    store.check(experiment, candidates + 1, candidates, candidates * FOLDS, "weightedPrecision")
    return took
