"""Runs the notebooks of examples/ on a fresh store in .demo, and prints what they recorded."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from pathlib import Path

import mlflow
import nbformat
import pandas as pd
from mlflow.entities import Run
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import trackmllib

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = [ROOT / "examples" / name for name in ("tuning.ipynb", "long_search.ipynb")]
DEMO = Path(os.environ.get("DEMO_FOLDER", ROOT / ".demo"))
# One per notebook.
EXPERIMENTS = ("digits", "long searches")
EXPERIMENT = EXPERIMENTS[0]
CELL_TIMEOUT_SECONDS = 600


def prepare() -> None:
    """Create an empty store here, so that it also holds the notebooks' artifacts."""
    shutil.rmtree(DEMO, ignore_errors=True)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    artifacts = DEMO / "artifacts"
    artifacts.mkdir(parents=True)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{DEMO / 'mlflow.db'}"
    # Keep outboxes of the demo apart from those of the user.
    os.environ["TRACKMLLIB_HOME"] = str(DEMO / "outbox")
    for experiment in EXPERIMENTS:
        mlflow.MlflowClient().create_experiment(experiment, artifact_location=artifacts.as_uri())


def run_notebook(path: Path) -> None:
    """Run a copy of a notebook with this Python; the copy keeps its outputs."""
    # Ignore kernels that the user has registered as python3.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["PYSPARK_PYTHON"] = sys.executable
    # Spark warns of a host name that resolves to a loopback address.
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(DEMO)}},
    )
    try:
        # The logs of kernel and Spark are kept, but not shown.
        with (DEMO / "kernel.log").open("a") as log:
            client.execute(stderr=log)
    finally:
        nbformat.write(notebook, DEMO / path.name)


def candidates() -> pd.DataFrame:
    """Return a row per child run, the searches oldest first."""
    runs = mlflow.search_runs(
        experiment_names=[EXPERIMENT],
        filter_string="tags.`trackmllib.candidate` != ''",
        order_by=["attributes.start_time ASC"],
    )
    assert isinstance(runs, pd.DataFrame)
    started = runs.groupby("tags.trackmllib.search_id")["start_time"].transform("min")
    runs = runs.assign(started=started, candidate=runs["tags.trackmllib.candidate"].astype(int))
    runs = runs.sort_values(["started", "candidate"])

    def scores(metric: str) -> pd.Series[str]:
        # A TrainValidationSplit has one score per candidate, and no average.
        averages = runs[f"metrics.avg_{metric}"].fillna(runs[f"metrics.{metric}"])
        return averages.map("{:.4f}".format)

    deviations = runs["metrics.std_weightedPrecision"]
    return pd.DataFrame(
        {
            "search": runs["tags.trackmllib.search_id"].str[:8],
            "run": runs["tags.mlflow.runName"],
            "status": runs["status"],
            "weightedPrecision": scores("weightedPrecision"),
            "deviation": deviations.map("{:.4f}".format, na_action="ignore"),
            "training": scores("train_weightedPrecision"),
            "f1": scores("f1"),
            "best": runs["tags.trackmllib.best"].map({"true": "best"}),
        }
    ).fillna("")


def first_run() -> Run:
    """Return the parent run of the first search."""
    runs = mlflow.search_runs(
        experiment_names=[EXPERIMENT],
        filter_string="params.candidates != ''",
        order_by=["attributes.start_time ASC"],
        output_format="list",
    )
    first: Run = runs[0]
    return first


def answer() -> str:
    """Return a sentence about the best candidate of the first search."""
    run = first_run()
    search_id = run.data.tags["trackmllib.search_id"]
    return trackmllib.load_results(run.info.run_id, search_id=search_id).answer


def report() -> Path:
    """Return the path of the first search's report."""
    (found,) = DEMO.glob(f"artifacts/{first_run().info.run_id}/artifacts/trackmllib/report.html")
    return found


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def main() -> int:
    begin = time.monotonic()
    prepare()
    for path in NOTEBOOKS:
        print(f"Running examples/{path.name} on Spark; this takes about a minute.", flush=True)
        try:
            run_notebook(path)
        except CellExecutionError as error:
            print(error, file=sys.stderr)
            print(f"The notebook failed; how far it came is in .demo/{path.name}.", file=sys.stderr)
            return 1
    table = candidates()
    print(f"\n{len(table)} candidates of {table['search'].nunique()} searches are in MLflow:\n")
    print(table.to_string(index=False))
    print(f"\n{answer()}\n")
    print(f"Done in {time.monotonic() - begin:.0f} s.")
    print(f"The report is {_shown(report())}: open it in a browser.")
    print("The notebooks with their results are .demo/tuning.ipynb and .demo/long_search.ipynb.")
    print("Open the MLflow UI with: make ui")
    return 0


if __name__ == "__main__":
    sys.exit(main())
