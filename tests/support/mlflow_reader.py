"""Reads a record back from MLflow."""

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
                # MLflow's file store may read a metric's file while it is written.
                if not self.uri.startswith("file:") or time.monotonic() > deadline:
                    raise

    def parent_runs(self, experiment_id: str | None = None) -> list[Run]:
        return [r for r in self.runs(experiment_id) if "mlflow.parentRunId" not in r.data.tags]

    def only_parent_run(self) -> Run:
        deadline = time.monotonic() + 5
        found = self.parent_runs()
        # MLflow's file store creates a run, and then writes its tags.
        while len(found) > 1 and self.uri.startswith("file:") and time.monotonic() < deadline:
            time.sleep(0.05)
            found = self.parent_runs()
        (run,) = found
        return run

    def children(self, parent: Run | str, search_id: str | None = None) -> list[Run]:
        """Return the child runs of a parent run, by candidate."""
        parent_id = parent if isinstance(parent, str) else parent.info.run_id
        found = [r for r in self.under(parent_id) if "trackmllib.candidate" in r.data.tags]
        if search_id is not None:
            found = [r for r in found if r.data.tags["trackmllib.search_id"] == search_id]
        return sorted(found, key=lambda r: int(r.data.tags["trackmllib.candidate"]))

    def inner(self, outer: Run | str) -> list[Run]:
        """Return the parent runs of inner searches nested under a run, by name."""
        outer_id = outer if isinstance(outer, str) else outer.info.run_id
        found = [r for r in self.under(outer_id) if "trackmllib.candidate" not in r.data.tags]
        return sorted(found, key=lambda r: r.info.run_name)

    def under(self, run_id: str) -> list[Run]:
        """Return all runs nested under a run."""
        return [r for r in self.runs() if r.data.tags.get("mlflow.parentRunId") == run_id]

    def history(self, run: Run, key: str) -> list[tuple[int, float]]:
        """Return the points of a metric as (step, value), by step."""
        points = self.client.get_metric_history(run.info.run_id, key)
        return sorted((m.step, m.value) for m in points)

    def files(self, run: Run, folder: str = "trackmllib") -> list[str]:
        with self._current():
            found = self.client.list_artifacts(run.info.run_id, folder)
        return sorted(os.path.basename(f.path) for f in found)

    def models(self, run: Run) -> list[str]:
        """Return the names of the models of a run: artifacts before MLflow 3."""
        found = [name for name in self.files(run, "") if name.startswith("model")]
        if hasattr(self.client, "search_logged_models"):
            logged = self.client.search_logged_models([run.info.experiment_id])
            found += [each.name for each in logged if each.source_run_id == run.info.run_id]
        return sorted(found)

    def text(self, run: Run, path: str) -> str:
        with self._current(), tempfile.TemporaryDirectory() as folder:
            file = self.client.download_artifacts(run.info.run_id, path, folder)
            with open(file, encoding="utf-8") as opened:
                return opened.read()

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Set the tracking URI, which MLflow before 3 uses for the artifacts of any client."""
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
