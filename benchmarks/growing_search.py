"""Searches of more and more candidates in their own process, tracked or not.

``python -m benchmarks.growing_search SETTINGS`` prints a line of JSON for each size: ``fits``, the
µs of a fit in each fold; ``first`` and ``last``, those of the first and the last candidates of each
fold (a thousand, or a tenth where there are fewer); ``peak_mb``, the peak memory of the process so
far.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measurement import Bench, prepare
from benchmarks.stores import Store, discarding_server
from benchmarks.thread_sampler import Sampler
from support.searches import stub_search
from support.stubs import StubEvaluator

FOLDS = 5
MAX_WINDOW = 1_000
# A search of ten candidates is too short to warm up.
WARM_UPS = 3
MIN_FITS, MAX_REPEATS = 1_500, 5


def main(settings: dict[str, Any]) -> None:
    folder = Path(settings["folder"])
    prepare(folder)
    sampler = Sampler() if settings["profile"] else None
    bench = Bench(folder, sampler=sampler, deadline=time.monotonic() + settings["seconds"])
    try:
        with discarding_server() as store:
            for line in measure(bench, settings["variant"], settings["sizes"], store):
                print(json.dumps(line), flush=True)
    finally:
        bench.close()
    if sampler is not None:
        print(sampler.text(), file=sys.stderr)


def measure(
    bench: Bench, variant: str, sizes: Sequence[int], store: Store
) -> Iterator[dict[str, Any]]:
    """Yield a line for each size, as described above."""
    data = bench.spark.range(10)

    def search(candidates: int) -> list[list[float]]:
        """Return the times of the scores by fold."""
        bench.left()
        times: list[float] = []
        tuner = stub_search(
            xs=range(candidates),
            eva=StubEvaluator(call=lambda _: times.append(time.perf_counter())),
            numFolds=FOLDS,
        )
        bench.take(variant, tuner, data, store, wait=False)
        return [times[fold * candidates : (fold + 1) * candidates] for fold in range(FOLDS)]

    for _ in range(bench.pick(WARM_UPS, 0)):
        search(sizes[0])
    _forget_peak()
    for candidates in sizes:
        repeats = bench.pick(min(MAX_REPEATS, max(1, MIN_FITS // (candidates * FOLDS))), 1)
        folds = [fold for _ in range(repeats) for fold in search(candidates)]
        window = min(MAX_WINDOW, max(2, candidates // 10))
        yield {
            "candidates": candidates,
            "fits": [_microseconds(fold) for fold in folds],
            "first": [_microseconds(fold[:window]) for fold in folds],
            "last": [_microseconds(fold[-window:]) for fold in folds],
            "peak_mb": _peak_mb(),
        }


def _microseconds(times: list[float]) -> float:
    return (times[-1] - times[0]) / (len(times) - 1) * 1e6


def _forget_peak() -> None:
    """Reset the peak memory, which loading modules has raised, if the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_mb() -> float:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
