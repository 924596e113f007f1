"""Cost of ``autolog(resume=True)``: ``make bench-resume``.

Measures the time to read the rows, relative to the search, and to find the scores of 1,000
candidates x 5 folds on a server.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import trackmllib
from benchmarks import datasets, real_model_overhead
from benchmarks.stores import server, sqlite
from support.resume_searches import rows_search
from trackmllib.domain.operations import Destination
from trackmllib.runtime.prior_scores import PriorSearches
from trackmllib.spark.middleware.score_reuse import data_fingerprint as fingerprint

ROUNDS = 5
CANDIDATES, FOLDS = 1_000, 5


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
        trees_and_rows(session, Path(folder))
        look_up(session, Path(folder))
    session.stop()


def trees_and_rows(session: Any, folder: Path) -> None:
    images = datasets.images(session, real_model_overhead.IMAGES)
    store = sqlite(folder / "trees")
    store.new_experiment()

    def tuner() -> Any:
        return real_model_overhead.tuner(real_model_overhead.DEPTHS, real_model_overhead.BINS)

    drawn = tuner()
    drawn_by = f"{drawn.uid}_rand"
    folds = drawn._kFold(images)
    took = []
    for _ in range(ROUNDS + 1):
        with timed(took):
            fingerprint.fingerprint_folds(images, folds, split_params={}, added_column=drawn_by)
    rows_seconds = statistics.median(took[1:])
    whole: list[float] = []
    again: list[float] = []
    trackmllib.autolog(resume=True, progress=False, report=False)
    with timed(whole):
        tuner().fit(images)
    with timed(again):
        tuner().fit(images)
    print(
        f"rows of {real_model_overhead.IMAGES} images in {len(folds)} folds: "
        f"{rows_seconds:.2f} s (median of {ROUNDS}, {min(took[1:]):.2f} to {max(took[1:]):.2f}), "
        f"{rows_seconds / whole[0]:.1%} of a search of {whole[0]:.1f} s; "
        f"reused whole, with the refit: {again[0]:.1f} s",
        flush=True,
    )


def look_up(session: Any, folder: Path) -> None:
    points = session.range(0, 100, 1, 1).selectExpr("id % 2 * 1.0D AS label", "id * 1.0D AS a")
    with server(folder / "server") as store:
        name = store.new_experiment()
        versions = {"code_version": "1", "data_version": "1"}
        trackmllib.autolog(
            resume=True, **versions, progress=False, report=False, flush_timeout=600.0
        )
        model = rows_search(range(CANDIDATES), numFolds=FOLDS, parallelism=2).fit(points)
        search = trackmllib.results(model).search
        assert search.keyed is not None
        keys = {key for of_fold in search.keys.values() for key in of_fold.keys}
        import mlflow

        experiment = mlflow.get_experiment_by_name(name).experiment_id
        destination = Destination(tracking_uri=store.uri, experiment_id=experiment)
        took: list[float] = []
        for _ in range(ROUNDS):
            with timed(took):
                found = PriorSearches(None, lambda uri: uri).scores(
                    search.keyed.family, keys, {}, destination, 600.0
                )
            assert len(found.wanted) == CANDIDATES * FOLDS, found.read_error
        print(
            f"scores of {CANDIDATES} candidates x {FOLDS} folds from a server: "
            f"{statistics.median(took):.2f} s (median of {ROUNDS}, {min(took):.2f} to "
            f"{max(took):.2f})",
            flush=True,
        )


@contextmanager
def timed(taken: list[float]) -> Iterator[None]:
    began = time.monotonic()
    yield
    taken.append(time.monotonic() - began)


if __name__ == "__main__":
    main()
