"""Applies operations to tracking servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlflow import MlflowClient
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from trackmllib.errors import Refused
from trackmllib.operations import (
    CreateChildRun,
    EndRun,
    LogArtifact,
    LogBatch,
    OpenMainRun,
    Operation,
)
from trackmllib.tracking import artifacts
from trackmllib.tracking import client as calls
from trackmllib.tracking.failures import translate
from trackmllib.tracking.main_run import FOLDER, MainRun


class MlflowTracking:
    """Knows the server's run ids of the searches it applies. ``apply`` is for one thread at a time.

    ``note`` is handed a search id and a sentence about what happened to its runs.
    """

    def __init__(self, note: Callable[[str, str], None]) -> None:
        self._note = note
        self._clients: dict[str, MlflowClient] = {}
        self._main_runs: dict[str, MainRun] = {}
        self._not_opened: dict[str, Refused] = {}
        self._children: dict[str, dict[int, str]] = {}
        self._context_tags: dict[str, str] | None = None
        self._tried: set[tuple[str, int | None]] = set()

    def apply(self, operation: Operation) -> None:
        """Carry out one operation. Raises Unavailable or Refused, whatever MLflow raised."""
        search_id = operation.search_id
        if isinstance(operation, OpenMainRun):
            self._open(operation)
            return
        if search_id in self._not_opened:
            raise self._not_opened[search_id]
        if search_id not in self._main_runs:
            raise Refused("the main run was not opened")
        main = self._main_runs[search_id]
        try:
            if operation.candidate is None:
                self._apply_to_main(operation, main)
            else:
                self._apply_to_child(operation, operation.candidate, main)
        except Exception as error:
            raise translate(error, main.destination.tracking_uri) from error

    def forget(self, search_id: str) -> None:
        """Drop what is kept of a search of which nothing more will come."""
        self._main_runs.pop(search_id, None)
        self._not_opened.pop(search_id, None)
        self._children.pop(search_id, None)

    def _open(self, operation: OpenMainRun) -> None:
        search_id, destination = operation.search_id, operation.destination
        try:
            client = self._client(destination.tracking_uri)
            if destination.run_id is None:
                experiment_id = calls.experiment_id(client, destination)
                tags = {calls.SEARCH_ID: search_id}
                run = self._create(client, experiment_id, operation, tags)
            else:
                run = client.get_run(destination.run_id)
                if destination.owned:
                    calls.resume(client, run, destination)
        except Exception as error:
            failure = translate(error, destination.tracking_uri)
            if isinstance(failure, Refused):
                self._not_opened[search_id] = failure
            raise failure from error
        self._children[search_id] = {}
        self._main_runs[search_id] = MainRun(
            client, destination, run, search_id, lambda text: self._note(search_id, text)
        )

    def _apply_to_main(self, operation: Operation, main: MainRun) -> None:
        match operation:
            case LogBatch():
                main.log(operation)
            case LogArtifact():
                main.log_text(operation.file_name, operation.text)
            case EndRun():
                main.end(operation.status, operation.end_ms)

    def _apply_to_child(self, operation: Operation, candidate: int, main: MainRun) -> None:
        children = self._children[operation.search_id]
        if isinstance(operation, CreateChildRun):
            tags = {MLFLOW_PARENT_RUN_ID: main.run_id, **dict(operation.tags)}
            run = self._create(main.client, main.experiment_id, operation, tags)
            children[candidate] = run.info.run_id
            return
        if candidate not in children:
            raise Refused("a child run could not be made")
        run_id = children[candidate]
        match operation:
            case LogBatch():
                calls.log_batch(main.client, run_id, operation)
            case LogArtifact():
                path = f"{FOLDER}/{operation.file_name}"
                artifacts.log_text(main.client, run_id, operation.text, path)
            case EndRun():
                calls.set_status(main.client, run_id, operation.status, operation.end_ms)

    def _create(
        self,
        client: MlflowClient,
        experiment_id: str,
        operation: OpenMainRun | CreateChildRun,
        tags: dict[str, str],
    ) -> Any:
        """Make a run; on a second try look first whether the first one was made after all."""
        if operation.run in self._tried:
            run = calls.find_run(client, experiment_id, *operation.run)
            if run is not None:
                return run
        self._tried.add(operation.run)
        run = client.create_run(
            experiment_id, operation.start_ms, {**self._context(), **tags}, operation.name
        )
        self._tried.discard(operation.run)
        return run

    def _context(self) -> dict[str, str]:
        """The tags that MLflow gives to each run: user, source, commit. Asked for once."""
        if self._context_tags is None:
            self._context_tags = dict(resolve_tags())
        return self._context_tags

    def _client(self, uri: str) -> MlflowClient:
        if uri not in self._clients:
            self._clients[uri] = calls.connect(uri)
        return self._clients[uri]
