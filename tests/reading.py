"""Reads a record back from MLflow, and from nowhere else."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType


@dataclass
class Store:
    """A tracking server under test, and the experiment of the current test."""

    uri: str
    experiment: str

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=self.uri)

    @property
    def experiment_id(self) -> str:
        return self.client.get_experiment_by_name(self.experiment).experiment_id

    def runs(self, experiment_id: str | None = None) -> list[Run]:
        """All runs of the experiment, oldest first."""
        experiment_id = experiment_id or self.experiment_id
        deadline = time.monotonic() + 5
        while True:
            try:
                return list(
                    self.client.search_runs(
                        [experiment_id],
                        run_view_type=ViewType.ALL,
                        max_results=5000,
                        order_by=["attributes.start_time ASC"],
                    )
                )
            except ValueError:
                # MLflow's file store reads the file of a metric also while that is being written.
                if not self.uri.startswith("file:") or time.monotonic() > deadline:
                    raise

    def main_runs(self, experiment_id: str | None = None) -> list[Run]:
        return [r for r in self.runs(experiment_id) if "mlflow.parentRunId" not in r.data.tags]

    def only_main_run(self) -> Run:
        (run,) = self.main_runs()
        return run

    def children(self, main: Run | str, search_id: str | None = None) -> list[Run]:
        """The children of a main run, by candidate."""
        main_id = main if isinstance(main, str) else main.info.run_id
        found = [r for r in self.under(main_id) if "trackmllib.candidate" in r.data.tags]
        if search_id is not None:
            found = [r for r in found if r.data.tags["trackmllib.search_id"] == search_id]
        return sorted(found, key=lambda r: int(r.data.tags["trackmllib.candidate"]))

    def inner(self, outer: Run | str) -> list[Run]:
        """The main runs of the searches inside of a search, that are nested under this run of it,
        by name.
        """
        outer_id = outer if isinstance(outer, str) else outer.info.run_id
        found = [r for r in self.under(outer_id) if "trackmllib.candidate" not in r.data.tags]
        return sorted(found, key=lambda r: r.info.run_name)

    def under(self, run_id: str) -> list[Run]:
        """All that is nested under a run."""
        return [r for r in self.runs() if r.data.tags.get("mlflow.parentRunId") == run_id]

    def history(self, run: Run, key: str) -> list[tuple[int, float]]:
        """The points of a metric as (step, value), by step."""
        points = self.client.get_metric_history(run.info.run_id, key)
        return sorted((m.step, m.value) for m in points)

    def files(self, run: Run, folder: str = "trackmllib") -> list[str]:
        with self._current():
            found = self.client.list_artifacts(run.info.run_id, folder)
        return sorted(os.path.basename(f.path) for f in found)

    def text(self, run: Run, path: str) -> str:
        with self._current(), tempfile.TemporaryDirectory() as folder:
            file = self.client.download_artifacts(run.info.run_id, path, folder)
            with open(file, encoding="utf-8") as opened:
                return opened.read()

    @contextmanager
    def _current(self) -> Iterator[None]:
        """MLflow before 3 looks for the files of any client on the server of the process."""
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(self.uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(before)

    def json(self, run: Run, path: str) -> dict:
        return json.loads(self.text(run, path))

    def results(self, run: Run, folder: str = "trackmllib") -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.text(run, f"{folder}/results.csv"))))
