"""Seconds of ``fit()`` on a stub: untracked, tracked by us, tracked by MLflow's own autologging.

300 candidates x 3 folds, a fit of 20 ms, parallelism 4; on SQLite and on a loopback server.
The variants run in turn (A B C A B C …), the first round is thrown away.

    .venv/bin/python benchmarks/stub_search.py [ROUNDS]
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import mlflow
import mlflow.pyspark.ml
from pyspark.sql import SparkSession

import trackmllib
from conftest import free_port, start_server, stop_server
from searches import stub_search
from stubs import StubEstimator

CANDIDATES, FOLDS, FIT_SECONDS, PARALLELISM = 300, 3, 0.02, 4


def seconds_of_fit(data) -> float:
    search = stub_search(
        xs=range(CANDIDATES),
        est=StubEstimator(fitSeconds=FIT_SECONDS),
        numFolds=FOLDS,
        parallelism=PARALLELISM,
    )
    began = time.perf_counter()
    search.fit(data)
    return time.perf_counter() - began


def untracked(data) -> float:
    return seconds_of_fit(data)


def ours(data) -> float:
    trackmllib.autolog()
    try:
        return seconds_of_fit(data)
    finally:
        trackmllib.autolog(disable=True)


def mlflows(data) -> float:
    mlflow.pyspark.ml.autolog(log_models=False, log_datasets=False, silent=True)
    try:
        return seconds_of_fit(data)
    finally:
        mlflow.pyspark.ml.autolog(disable=True)
        while mlflow.active_run() is not None:
            mlflow.end_run()


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("OFF")
    data = spark.range(10)
    folder = Path(tempfile.mkdtemp())
    port = free_port()
    server = start_server(folder, port)
    stores = {"SQLite": f"sqlite:///{folder}/mlflow.db", "server": f"http://127.0.0.1:{port}"}
    took: dict[tuple[str, str], list[float]] = defaultdict(list)
    try:
        for store, uri in stores.items():
            mlflow.set_tracking_uri(uri)
            mlflow.set_experiment("stub")
            for number in range(rounds + 1):
                for variant in (untracked, ours, mlflows):
                    seconds = variant(data)
                    if number:
                        took[store, variant.__name__].append(seconds)
                        print(f"{store:7} {variant.__name__:10} {seconds:7.2f}", flush=True)
    finally:
        stop_server(server)
        spark.stop()
    print(f"\nmedian of {rounds} rounds (min to max), seconds")
    for (store, variant), values in took.items():
        base = statistics.median(took[store, "untracked"])
        middle = statistics.median(values)
        print(
            f"{store:7} {variant:10} {middle:7.2f} ({min(values):.2f} to {max(values):.2f})"
            f"  x{middle / base:.2f}"
        )


if __name__ == "__main__":
    main()
