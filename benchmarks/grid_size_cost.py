"""Cost of a fit as the search grows, and memory of a large search."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import growing_search
from benchmarks.measurement import Bench
from benchmarks.ratios import OURS, PEER, UNTRACKED, Row, Spread
from benchmarks.stores import Incomplete, discarding_server

SIZES, SMOKE_SIZES = (10, 100, 1_000, 10_000), (4,)
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "growth.svg"
WHAT = (
    "10,000 candidates x 5 folds of a stub that takes no time, parallelism 1, `wait=False`; each "
    "variant in a process of its own; recorded by MLflow's client over HTTP, at what takes "
    "everything at once in the place of a server, which would be busy for minutes. Measured once, "
    "without pairs, for the sake of time"
)
NO_PEER = {PEER: "not measured, for the sake of time"}


def measure(bench: Bench) -> Iterator[Row]:
    variants = [OURS] if bench.sampler is not None else [UNTRACKED, OURS]
    results = {variant: _run(bench, variant) for variant in variants}
    if bench.sampler is not None:
        return
    largest = {variant: lines[-1] for variant, lines in results.items()}
    cost = {
        # The same fits in the same order, by window and by fold.
        part: [
            ours - untracked
            for ours, untracked in zip(largest[OURS][part], largest[UNTRACKED][part], strict=True)
        ]
        for part in ("first", "last", "fits")
    }
    yield Row(
        name="memory",
        question="10,000 x 5: memory over untracked",
        meaning=f"{WHAT}. The most memory that the Python process had (its peak resident set), up "
        "to the end of the delivery; Spark's own process is not in it. A difference below 0 says "
        "that it is too small to be seen so, and not that tracking saves memory.",
        bound=50.0,
        unit="MB",
        value=_alone(largest[OURS]["peak_mb"] - largest[UNTRACKED]["peak_mb"]),
        rounds=1,
        measured={variant: _alone(line["peak_mb"]) for variant, line in largest.items()},
        measured_unit="MB",
        without=NO_PEER,
    )
    measured = {variant: Spread.of(line["fits"]) for variant, line in largest.items()}
    yield Row(
        name="flat",
        question="10,000 x 5: the last thousand candidates over the first",
        meaning="The same searches: what a fit takes longer than untracked, for the last thousand "
        "candidates of a fold against its first thousand, over all folds; the spread is that of "
        "the folds. Untracked and ours: µs of a fit of the whole search.",
        bound=1.2,
        value=_judged(bench, lambda: over_folds(cost["first"], cost["last"])),
        rounds=1,
        measured=measured,
        measured_unit="µs",
        without=NO_PEER,
    )
    yield Row(
        name="flat-folds",
        question="10,000 x 5: the fourth fold over the second",
        meaning="The same: what all fits of the fourth fold take longer than untracked, against "
        "those of the second. The first fold makes the runs and the last one ends them: over "
        f"untracked, a fit of the five folds took {_as_text(cost['fits'])} µs.",
        bound=1.2,
        value=_judged(bench, lambda: from_fold_to_fold(cost["fits"])),
        rounds=1,
        measured=measured,
        measured_unit="µs",
        without=NO_PEER,
    )
    if not bench.smoke:
        _draw(results)


def over_folds(first: Sequence[float], last: Sequence[float]) -> Spread:
    """Return the ratio of the last to the first costs over all folds, with its range by fold.

    Raises Incomplete if either is not positive, because the noise then exceeds the cost.
    """
    together = _times(sum(last), sum(first))
    folds = [after / before for before, after in zip(first, last, strict=True) if before > 0]
    return Spread(together, min(folds), max(folds))


def from_fold_to_fold(fits: Sequence[float]) -> Spread:
    """Return the ratio of the cost of the last fold but one to that of the second.

    Raises Incomplete as ``over_folds`` does.
    """
    return _alone(_times(fits[-2], fits[1]))


def _as_text(numbers: Sequence[float]) -> str:
    *others, last = (f"{number:.0f}" for number in numbers)
    return f"{', '.join(others)} and {last}"


def _times(last: float, first: float) -> float:
    if first <= 0 or last <= 0:
        raise Incomplete(
            f"a fit costs {first:.0f} µs more than untracked at first, and {last:.0f} at last: "
            "noise is larger than that, and a ratio says nothing"
        )
    return last / first


def _judged(bench: Bench, ratio: Callable[[], Spread]) -> Spread:
    """Return the ratio; NaN in a smoke run whose searches are too small."""
    try:
        return ratio()
    except Incomplete:
        if not bench.smoke:
            raise
        return _alone(math.nan)


def _alone(value: float) -> Spread:
    return Spread(value, value, value)


def _run(bench: Bench, variant: str) -> list[dict[str, Any]]:
    folder = bench.new_folder(variant)
    folder.mkdir()
    sizes = bench.pick(SIZES, SMOKE_SIZES)
    if bench.smoke:
        # Memory has no bound in a smoke run, which needs no session of its own.
        with discarding_server() as store:
            return list(growing_search.measure(bench, variant, sizes, store))
    settings = {
        "folder": str(folder),
        "variant": variant,
        "sizes": sizes,
        "profile": bench.sampler is not None,
        "seconds": bench.left(),
    }
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks.growing_search", json.dumps(settings)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        # Without a timeout, it would notice the deadline only after a search.
        timeout=bench.left(),
    ).stdout
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def _draw(results: dict[str, list[dict[str, Any]]]) -> None:
    """Draw the µs per fit by the number of candidates."""
    import matplotlib

    matplotlib.use("Agg")
    # Equal figures give equal files.
    matplotlib.rcParams["svg.hashsalt"] = "growth"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    for variant, lines in results.items():
        middle = [statistics.median(line["fits"]) for line in lines]
        axes.plot([line["candidates"] for line in lines], middle, "o-", label=variant)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("candidates, 5 folds each")
    axes.set_ylabel("µs a fit")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, metadata={"Date": None})
    pyplot.close(figure)
