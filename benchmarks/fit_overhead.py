"""Overhead of a stub search, whose fits only sleep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.measurement import Bench, Measurement
from benchmarks.ratios import OURS, PEER, UNTRACKED, Row, Spread, compared, difference, ratio
from benchmarks.stores import Store, far_away, sqlite
from support.searches import stub_search
from support.stubs import StubEstimator

FOLDS, FIT_SECONDS, PARALLELISM = 3, 0.02, 4
# MLflow's own autologging takes up to 23 times as long, so it is measured on fewer candidates.
CANDIDATES, PEER_CANDIDATES, SMOKE_CANDIDATES, PEER_SMOKE_CANDIDATES = 200, 20, 4, 2
REPEATS, PEER_REPEATS = 5, 2
SECONDS, PEER_SECONDS = 45.0, 20.0

STUB = (
    f"{CANDIDATES} candidates x {FOLDS} folds of a stub whose fit sleeps for 20 ms, parallelism "
    f"{PARALLELISM}"
)
PEERS = f"the peer on {PEER_CANDIDATES} candidates, against untracked on as many"


def tuner(candidates: int) -> Any:
    return stub_search(
        xs=range(candidates),
        est=StubEstimator(fitSeconds=FIT_SECONDS),
        numFolds=FOLDS,
        parallelism=PARALLELISM,
    )


def seconds(taken: dict[str, list[Measurement]]) -> dict[str, list[float]]:
    return {variant: [one.seconds for one in found] for variant, found in taken.items()}


def measure(bench: Bench, store: Store, **options: Any) -> dict[str, list[Measurement]]:
    candidates = bench.pick(CANDIDATES, SMOKE_CANDIDATES)
    return bench.compare(
        lambda: tuner(candidates), _data(bench), store, REPEATS, SECONDS, **options
    )


def peer(bench: Bench, store: Store) -> Spread | None:
    """Return the ratio of MLflow's own autologging to untracked."""
    if bench.sampler is not None:
        return None
    candidates = bench.pick(PEER_CANDIDATES, PEER_SMOKE_CANDIDATES)
    taken = seconds(
        bench.compare(
            lambda: tuner(candidates),
            _data(bench),
            store,
            PEER_REPEATS,
            PEER_SECONDS,
            (UNTRACKED, PEER),
        )
    )
    return ratio(taken[PEER], taken[UNTRACKED])


def on_sqlite(bench: Bench) -> Iterator[Row]:
    store = sqlite(bench.new_folder("sqlite"))
    taken = measure(bench, store, report=True)
    if bench.sampler is not None:
        return
    yield compared(
        seconds(taken),
        name="stub-sqlite",
        question="Stub, SQLite",
        meaning=f"{STUB}; recorded in SQLite, with `fit()` waiting for its record; {PEERS}.",
        bound=1.15,
        peer=peer(bench, store),
    )
    cpu = {variant: [one.cpu_seconds for one in found] for variant, found in taken.items()}
    yield Row(
        name="cpu",
        question="CPU seconds of the process, over untracked",
        meaning="The same searches: CPU seconds of all threads of the Python process, from the "
        "start of `fit()` until the record and the report are delivered. The process that draws "
        "the report is not in it.",
        bound=1.0,
        unit="s",
        value=difference(cpu[OURS], cpu[UNTRACKED]),
        rounds=len(cpu[OURS]),
        measured={variant: Spread.of(values) for variant, values in cpu.items()},
        measured_unit="CPU s",
        without={PEER: "not bounded: it is in the time of `fit()`, above"},
    )


def on_server(bench: Bench) -> Iterator[Row]:
    with bench.server() as store:
        taken = measure(bench, store, wait=False)
        if bench.sampler is not None:
            return
        yield compared(
            seconds(taken),
            name="stub-server",
            question="Stub, loopback server, `wait=False`",
            meaning=f"The same, recorded on an `mlflow server` on loopback, with `wait=False`; "
            f"{PEERS}.",
            bound=1.10,
            peer=peer(bench, store),
        )


def on_far_server(bench: Bench) -> Iterator[Row]:
    with bench.server() as near, far_away(near) as store:
        taken = measure(bench, store, wait=False)
        if bench.sampler is not None:
            return
        yield compared(
            seconds(taken),
            name="stub-far",
            question="Stub, server at 50 ms round trip, `wait=False`",
            meaning="The same; each request takes 50 ms longer, by a proxy in a process of "
            "its own. What is left of the record at the end of `fit()` is sent without the delay; "
            f"{PEERS}.",
            bound=1.10,
            peer=peer(bench, store),
        )


def _data(bench: Bench) -> Any:
    return bench.spark.range(10)
