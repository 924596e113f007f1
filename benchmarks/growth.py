"""What one cell costs as the search grows, and the memory of a large one."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.figures import OURS, UNTRACKED, Row, Spread

SIZES, SMOKE_SIZES = (10, 100, 1_000, 10_000), (4, 20)
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "growth.svg"
WHAT = (
    "10,000 candidates x 5 folds of a stub that takes no time, parallelism 1, `wait=False`; each "
    "variant in a process of its own; recorded by MLflow's client over HTTP, at what takes "
    "everything at once in the place of a server, which would be busy for minutes"
)


def measure(bench: Bench) -> Iterator[Row]:
    variants = [OURS] if bench.sampler is not None else [UNTRACKED, OURS]
    said = {variant: _run(bench, variant) for variant in variants}
    if bench.sampler is not None:
        return
    largest = {variant: lines[-1] for variant, lines in said.items()}
    cost = {
        # Of the same cells, in the same order: the windows that they are taken from, and the folds.
        part: [
            ours - untracked
            for ours, untracked in zip(largest[OURS][part], largest[UNTRACKED][part], strict=True)
        ]
        for part in ("first", "last")
    }
    yield Row(
        name="memory",
        question="10,000 x 5: memory over untracked",
        meaning=f"{WHAT}. The most memory that the Python process had (its peak resident set), up "
        "to the end of the delivery; Spark's own process is not in it.",
        bound=50.0,
        unit="MB",
        value=_alone(largest[OURS]["peak_mb"] - largest[UNTRACKED]["peak_mb"]),
        rounds=1,
        measured={variant: _alone(line["peak_mb"]) for variant, line in largest.items()},
        measured_unit="MB",
    )
    by_fold = [last / first for first, last in zip(cost["first"], cost["last"], strict=True)]
    yield Row(
        name="flat",
        question="10,000 x 5: the last thousand candidates over the first",
        meaning="The same searches: what a cell takes longer than untracked, for the last thousand "
        "candidates of a fold against its first thousand, over all folds; the spread is that of "
        "the folds. Untracked and ours: µs of a cell of the whole search.",
        bound=1.2,
        value=Spread(sum(cost["last"]) / sum(cost["first"]), min(by_fold), max(by_fold)),
        rounds=1,
        measured={variant: Spread.of(line["cells"]) for variant, line in largest.items()},
        measured_unit="µs",
    )
    if not bench.smoke:
        _draw(said)


def _alone(value: float) -> Spread:
    return Spread(value, value, value)


def _run(bench: Bench, variant: str) -> list[dict[str, Any]]:
    folder = bench.new_folder(variant)
    folder.mkdir()
    settings = {
        "folder": str(folder),
        "variant": variant,
        "sizes": bench.pick(SIZES, SMOKE_SIZES),
        "smoke": bench.smoke,
        "profile": bench.sampler is not None,
    }
    said = subprocess.run(
        [sys.executable, "-m", "benchmarks.growing", json.dumps(settings)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def _draw(said: dict[str, list[dict[str, Any]]]) -> None:
    """µs a cell by the number of candidates."""
    import matplotlib

    matplotlib.use("Agg")
    # The same figures are the same file.
    matplotlib.rcParams["svg.hashsalt"] = "growth"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    for variant, lines in said.items():
        middle = [statistics.median(line["cells"]) for line in lines]
        axes.plot([line["candidates"] for line in lines], middle, "o-", label=variant)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("candidates, 5 folds each")
    axes.set_ylabel("µs a cell")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, metadata={"Date": None})
    pyplot.close(figure)
