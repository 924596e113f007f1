"""Compares the record in a fleet's store with the searches of its drivers."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from benchmarks.fleet.driver import EVALUATE_SECONDS, FIT_SECONDS, average, experiment, score
from support.search_descriptions import FOLDS

METRIC = "weightedPrecision"


def differences(store_uri: str, files: Path, drivers: int, candidates: int) -> list[str]:
    """Return a line for everything missing, duplicated or wrong in the record.

    Reads the store directly, without server and gateway; ``files`` is the folder of its artifacts.
    """
    client = MlflowClient(tracking_uri=store_uri)
    return [
        f"{experiment(driver)}: {line}"
        for driver in range(drivers)
        for line in _of_driver(client, files, driver, candidates)
    ]


def rejected_operations(home: Path) -> Iterator[str]:
    """Yield the reasons of a driver's rejected operations, which its outbox keeps."""
    for file in home.glob("outbox/*.db"):
        with closing(sqlite3.connect(file)) as connection:
            found = connection.execute("SELECT body, reason FROM rejected").fetchall()
        for body, reason in found:
            yield f"{home.name}: {reason} ({body[:100]})"


def _of_driver(client: MlflowClient, files: Path, driver: int, candidates: int) -> Iterator[str]:
    found = client.get_experiment_by_name(experiment(driver))
    runs = [] if found is None else list(_runs(client, found.experiment_id))
    children = [run for run in runs if "trackmllib.candidate" in run.data.tags]
    parents = [run for run in runs if run not in children]
    if len(parents) != 1:
        yield f"{len(parents)} parent runs"
        return
    if parents[0].info.status != "FINISHED":
        yield f"parent run {parents[0].info.status}"
    if not list(files.glob(f"*/{parents[0].info.run_id}/artifacts/trackmllib/results.csv")):
        yield "no results.csv"
    count = Counter(int(run.data.tags["trackmllib.candidate"]) for run in children)
    for index in range(candidates):
        if count[index] != 1:
            yield f"candidate {index}: {count[index]} child runs"
    for run in children:
        index = int(run.data.tags["trackmllib.candidate"])
        if run.info.status != "FINISHED" or run.data.tags["mlflow.parentRunId"] != (
            parents[0].info.run_id
        ):
            yield f"candidate {index}: {run.info.status}"
        wanted, there = _played(driver, index), _recorded(client, run)
        if wanted != there:
            yield f"candidate {index}: {there} instead of {wanted}"


def _runs(client: MlflowClient, experiment_id: str) -> Iterator[Run]:
    token = None
    while token != "":
        page = client.search_runs([experiment_id], max_results=1000, page_token=token)
        yield from page
        token = page.token or ""


def _played(driver: int, index: int) -> dict[str, Any]:
    return {
        "params": {"maxDepth": str(index), "maxBins": str(index % 32)},
        METRIC: [(fold, score(driver, index, fold)) for fold in range(FOLDS)],
        "fit_seconds": [(fold, FIT_SECONDS) for fold in range(FOLDS)],
        "evaluate_seconds": [(fold, EVALUATE_SECONDS) for fold in range(FOLDS)],
        f"avg_{METRIC}": [(0, average(driver, index))],
        f"std_{METRIC}": [(0, 0.0)],
    }


def _recorded(client: MlflowClient, run: Run) -> dict[str, Any]:
    """Return the params, and all points of each metric as (step, exact value)."""
    points = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
    return {
        "params": run.data.params,
        **{key: sorted((it.step, it.value) for it in history) for key, history in points.items()},
    }
