"""Cost of ``autolog(metrics=..., train_scores=True)``: ``make bench-metrics``.

Runs one search of decision trees with more and more metrics, in turn, and prints the time of each
relative to the search without them.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import trackmllib
from benchmarks import datasets, real_model_overhead
from benchmarks.stores import sqlite
from trackmllib.config.metrics import EVALUATOR_METRICS

ROUNDS = 5
NAMES = [name for name in EVALUATOR_METRICS["MulticlassClassificationEvaluator"] if name != "f1"]
VARIANTS: dict[str, dict[str, Any]] = {
    "none": {},
    "one metric": {"metrics": ["accuracy"]},
    "13 metrics of the evaluator": {"metrics": NAMES},
    "train_scores": {"train_scores": True},
    "13 metrics, train_scores": {"metrics": NAMES, "train_scores": True},
}


def main() -> None:
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.memory", "4g")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRACKMLLIB_HOME"] = f"{folder}/home"
        measure(session, Path(folder))
    session.stop()


def measure(session: Any, folder: Path) -> None:
    images = datasets.images(session, real_model_overhead.IMAGES)
    sqlite(folder / "store").new_experiment()
    seconds: dict[str, list[float]] = defaultdict(list)
    # The first round warms up.
    for _ in range(ROUNDS + 1):
        for name, options in VARIANTS.items():
            trackmllib.autolog(progress=False, report=False, **options)
            tuner = real_model_overhead.tuner((2, 4), (8, 16))
            began = time.monotonic()
            model = tuner.fit(images)
            seconds[name].append(time.monotonic() - began)
    state = trackmllib.results(model).search
    fits = [fit for found in state.candidates.values() for fit in found.fits.values()]
    means = {
        field: statistics.mean(getattr(fit, field) for fit in fits)
        for field in ("fit_seconds", "evaluate_seconds", "metrics_seconds")
    }
    print(f"seconds per fit, last variant: {means}")
    for name, taken in seconds.items():
        ratios = [a / b for a, b in zip(taken[1:], seconds["none"][1:], strict=True)]
        print(
            f"{name}: {statistics.median(taken[1:]):.2f} s, {statistics.median(ratios):.3f} x "
            f"({min(ratios):.3f} to {max(ratios):.3f}, {ROUNDS} rounds)",
            flush=True,
        )


if __name__ == "__main__":
    main()
