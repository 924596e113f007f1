"""Runs the notebooks of examples/ on a fresh store in .demo, and prints what they recorded."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import mlflow
import notebooks
import pandas as pd
from mlflow.entities import Run

import trackmllib

ROOT = Path(__file__).resolve().parent.parent
DEMO = Path(os.environ.get("DEMO_FOLDER", ROOT / ".demo"))
EXPERIMENT = notebooks.EXPERIMENTS["tuning.ipynb"]


def prepare() -> None:
    """Create an empty store here, so that it also holds the notebooks' artifacts."""
    shutil.rmtree(DEMO, ignore_errors=True)
    notebooks.prepare(DEMO)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{DEMO / notebooks.DATABASE}"


def searches() -> list[Run]:
    """Return the parent runs of all searches, the oldest first."""
    runs: list[Run] = mlflow.search_runs(
        experiment_names=list(notebooks.EXPERIMENTS.values()),
        filter_string="params.candidates != ''",
        order_by=["attributes.start_time ASC"],
        output_format="list",
    )
    return runs


def answer(run: Run) -> str:
    """Return a sentence about the best candidate of a search."""
    return trackmllib.load_results(run.info.run_id).answer


def candidates(parent: Run) -> pd.DataFrame:
    """Return a row per child run, the best first."""
    metric = "weightedPrecision"
    runs = mlflow.search_runs(
        experiment_names=[EXPERIMENT],
        filter_string=f"tags.mlflow.parentRunId = '{parent.info.run_id}'",
        order_by=[f"metrics.avg_{metric} DESC"],
    )
    assert isinstance(runs, pd.DataFrame)
    shown = {
        "run": runs["tags.mlflow.runName"],
        "status": runs["status"],
        metric: runs[f"metrics.avg_{metric}"].map("{:.4f}".format),
        "deviation": runs[f"metrics.std_{metric}"].map("{:.4f}".format),
        "training": runs[f"metrics.avg_train_{metric}"].map("{:.4f}".format),
        "f1": runs["metrics.avg_f1"].map("{:.4f}".format),
        "best": runs["tags.trackmllib.best"].map({"true": "best"}),
    }
    return pd.DataFrame(shown).fillna("")


def report(run: Run) -> Path:
    """Return the path of a search's report."""
    (found,) = DEMO.glob(f"artifacts/{run.info.run_id}/artifacts/trackmllib/report.html")
    return found


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def main() -> int:
    begin = time.monotonic()
    prepare()
    for name in notebooks.EXPERIMENTS:
        print(f"Running examples/{name} on Spark; this takes about a minute.", flush=True)
        try:
            notebooks.run(notebooks.EXAMPLES / name, DEMO)
        except notebooks.NotebookFailed as error:
            print(error, file=sys.stderr)
            return 1
    runs = searches()
    print(f"\n{len(runs)} searches are in MLflow:\n")
    for run in runs:
        print(f"{run.info.run_name} ({run.info.status}): {answer(run)}")
    print("\nThe candidates of the first search, best first:\n")
    print(f"{candidates(runs[0]).to_string(index=False)}\n")
    print(f"Done in {time.monotonic() - begin:.0f} s.")
    print(f"The report is {_shown(report(runs[0]))}: open it in a browser.")
    print(f"The notebooks with their outputs are in {_shown(DEMO)}.")
    print("Open the MLflow UI with: make ui")
    return 0


if __name__ == "__main__":
    sys.exit(main())
