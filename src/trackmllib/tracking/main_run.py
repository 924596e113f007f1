"""The main run on the server: what it holds already, and under which names a search adds to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlflow import MlflowClient

from trackmllib.errors import Refused
from trackmllib.operations import Destination, LogBatch
from trackmllib.tracking import artifacts, conflicts
from trackmllib.tracking.client import log_batch, set_status

FOLDER = "trackmllib"


class MainRun:
    """One main run as one search sees it. A name, once settled, holds until the search ends.

    ``note`` is handed what the user should know although nothing is missing.
    """

    def __init__(
        self,
        client: MlflowClient,
        destination: Destination,
        run: Any,
        search_id: str,
        note: Callable[[str], None],
    ) -> None:
        self.client = client
        self.destination = destination
        self.run_id: str = run.info.run_id
        self.experiment_id: str = run.info.experiment_id
        self._search_id = search_id
        self._note = note
        self._names: dict[tuple[str, str], str] = {}
        self._folder: str | None = None

    def log(self, batch: LogBatch) -> None:
        """Log under names that overwrite nothing.

        The user may log the same name in the moment between our look and our write; then the names
        are settled once more.
        """
        batch_named = self._named(batch)
        try:
            log_batch(self.client, self.run_id, batch_named)
        except Refused:
            for key, _ in batch.params:
                self._names.pop(("param", key), None)
            again = self._named(batch)
            if again == batch_named:
                raise
            log_batch(self.client, self.run_id, again)

    def log_text(self, file_name: str, text: str) -> None:
        """Write a file into this search's folder."""
        path = f"{self._settled_folder()}/{file_name}"
        artifacts.log_text(self.client, self.run_id, text, path)

    def end(self, status: str, end_ms: int) -> None:
        set_status(self.client, self.run_id, status, end_ms)

    def _named(self, batch: LogBatch) -> LogBatch:
        self._settle(batch)
        names = self._names
        return LogBatch(
            search_id=batch.search_id,
            params=tuple((names["param", key], value) for key, value in batch.params),
            tags=tuple((names["tag", key], value) for key, value in batch.tags),
            metrics=tuple(m._replace(key=names["metric", m.key]) for m in batch.metrics),
        )

    def _settle(self, batch: LogBatch) -> None:
        new_params = {k: v for k, v in batch.params if ("param", k) not in self._names}
        new_tags = {k: v for k, v in batch.tags if ("tag", k) not in self._names}
        new_metrics = [m for m in batch.metrics if ("metric", m.key) not in self._names]
        if not (new_params or new_tags or new_metrics):
            return
        run = self.client.get_run(self.run_id)
        self._notice_early_end(run, batch)
        data, search_id = run.data, self._search_id
        for key, value in new_params.items():
            self._names["param", key] = conflicts.settle(key, value, data.params, search_id)
        for key, value in new_tags.items():
            self._names["tag", key] = conflicts.settle(key, value, data.tags, search_id)
        for m in new_metrics:
            if ("metric", m.key) not in self._names:
                self._names["metric", m.key] = conflicts.settle_metric(
                    m.key, m.value, m.series, data.metrics, search_id
                )

    def _settled_folder(self) -> str:
        if self._folder is None:
            taken = artifacts.exists(self.client, self.run_id, FOLDER)
            self._folder = conflicts.renamed(FOLDER, self._search_id) if taken else FOLDER
        return self._folder

    def _notice_early_end(self, run: Any, batch: LogBatch) -> None:
        """A run that ended before this search did was ended by somebody else."""
        ended_ms = run.info.end_time
        latest_ms = max((m.time_ms for m in batch.metrics), default=0)
        if run.info.status != "RUNNING" and ended_ms is not None and ended_ms < latest_ms:
            self._note(
                f"run {self.run_id} was ended ({run.info.status}) while the search was still "
                "running; what came later is on it, but its end time is too early"
            )
