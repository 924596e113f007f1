"""Calls on MLflow's client that it lacks, or makes too loudly."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeAlias

from mlflow import MlflowClient
from mlflow.entities import Metric as MlflowMetric
from mlflow.entities import Param, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import MAX_ENTITIES_PER_BATCH, MAX_PARAMS_TAGS_PER_BATCH

from trackmllib.errors import Rejected
from trackmllib.operations import Destination, LogBatch
from trackmllib.redaction import redacted
from trackmllib.tracking import artifacts, conflicts
from trackmllib.tracking.database import connected_once
from trackmllib.tracking.failures import LONGEST_REASON, meaning, partly_done
from trackmllib.tracking.http import prepare_databricks
from trackmllib.tracking.sqlite_uri import sqlite_file

Entity: TypeAlias = "Param | MlflowMetric | RunTag"

SEARCH_ID = "trackmllib.search_id"
CANDIDATE = "trackmllib.candidate"

# After so many refused entities of one batch the rest of it is not tried singly.
GIVE_UP_AFTER = 10


def connect(uri: str) -> MlflowClient:
    """A client for a tracking URI."""
    _check_sqlite(uri)
    if uri.startswith("databricks"):
        prepare_databricks()
    with connected_once(uri):
        return MlflowClient(tracking_uri=uri)


def set_status(client: MlflowClient, run_id: str, status: str, end_ms: int | None) -> None:
    """Set status and end time, without the two lines that ``set_terminated`` prints."""
    client._tracking_client.store.update_run_info(
        run_id, RunStatus.from_string(status), end_ms, None
    )


def find_run(
    client: MlflowClient, experiment_id: str, search_id: str, candidate: int | None
) -> Any:
    """The run of a search, by its tags; None if it was not made. Candidate None: the main run."""
    wanted = None if candidate is None else str(candidate)
    clauses = [f"tags.`{SEARCH_ID}` = '{search_id}'"]
    if wanted is not None:
        clauses.append(f"tags.`{CANDIDATE}` = '{wanted}'")
    # A parent run is older than its children, so it is on the first page.
    oldest_first = ["attributes.start_time ASC"]
    found = client.search_runs([experiment_id], " AND ".join(clauses), order_by=oldest_first)
    runs = [run for run in found if run.data.tags.get(CANDIDATE) == wanted]
    if not runs and wanted is None:
        # For a later search in a run of the user's, the tag has another name.
        key = conflicts.renamed(SEARCH_ID, search_id)
        runs = list(client.search_runs([experiment_id], f"tags.`{key}` = '{search_id}'"))
    return next(iter(runs), None)


def experiment_id(client: MlflowClient, destination: Destination) -> str:
    """The experiment for a new run; one that is named and does not exist is made."""
    name = destination.experiment_name
    if name is None:
        if destination.experiment_id is None:
            raise Rejected("no experiment is set; call mlflow.set_experiment(…) before fit()")
        return destination.experiment_id
    experiment = client.get_experiment_by_name(name)
    found = _create(client, name) if experiment is None else experiment.experiment_id
    if destination.experiment_id not in (None, found):
        raise Rejected(
            f"MLFLOW_EXPERIMENT_ID is {destination.experiment_id}, but MLFLOW_EXPERIMENT_NAME "
            f"{name!r} is experiment {found}"
        )
    return str(found)


def _create(client: MlflowClient, name: str) -> Any:
    """Make an experiment, unless another program makes it at this moment."""
    try:
        return client.create_experiment(name)
    except MlflowException:
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        return experiment.experiment_id


def delete_doubles(
    client: MlflowClient,
    experiment_id: str,
    search_id: str,
    keep: Callable[[int | None], str | None],
) -> None:
    """Delete runs of a search that were made twice, because the answer to the first try was late.

    ``keep`` returns the id of the run to keep for a candidate, or for None as the parent run; if it
    returns None, no run is deleted. Only empty runs of the same request are deleted.
    """
    runs: dict[int | None, list[Any]] = {}
    page = None
    while page is None or page.token:
        page = client.search_runs(
            [experiment_id],
            f"tags.`{SEARCH_ID}` = '{search_id}'",
            max_results=1000,
            page_token=page.token if page else None,
        )
        for run in page:
            number = run.data.tags.get(CANDIDATE)
            if number is None or number.isdecimal():
                runs.setdefault(None if number is None else int(number), []).append(run)
    for candidate, found in runs.items():
        kept = next((run for run in found if run.info.run_id == keep(candidate)), None)
        for run in found:
            if kept is not None and run is not kept and _is_double(client, run, kept):
                client.delete_run(run.info.run_id)


def _is_double(client: MlflowClient, run: Any, kept: Any) -> bool:
    """Whether the same request made a run and ``kept``, and the run is empty.

    A copy that the user has made has another start time, or is not empty.
    """
    same = (run.info.start_time, run.info.run_name) == (kept.info.start_time, kept.info.run_name)
    if not same or run.info.status != "RUNNING" or run.data.params or run.data.metrics:
        return False
    inputs = getattr(run, "inputs", None)
    if inputs is not None and inputs.dataset_inputs:
        return False
    return not artifacts.names(client, run.info.artifact_uri, "")


def log_batch(client: MlflowClient, run_id: str, batch: LogBatch) -> None:
    """Add params, metrics and tags to a run; without any, no request is made.

    Of a batch that MLflow does not take whole, everything is logged that it takes; Rejected names
    the rest.
    """
    entities: list[Entity] = [
        *(Param(key, value) for key, value in batch.params),
        *(RunTag(key, value) for key, value in batch.tags),
        *(MlflowMetric(m.key, m.value, m.time_ms, m.step) for m in batch.metrics),
    ]
    if not entities:
        return
    refused: dict[str, str] = {}
    with nullcontext() if _is_one_request(batch) else partly_done():
        _log(client, run_id, entities, refused)
    if refused:
        names = ", ".join(refused)
        reason = redacted(next(iter(refused.values())).splitlines()[0])[:LONGEST_REASON]
        raise Rejected(f"{names} not logged: {reason}")


def _is_one_request(batch: LogBatch) -> bool:
    """Whether MLflow's client sends a batch whole; it sends larger ones in parts."""
    most = max(len(batch.params), len(batch.tags))
    entities = len(batch.params) + len(batch.tags) + len(batch.metrics)
    return bool(most <= MAX_PARAMS_TAGS_PER_BATCH and entities <= MAX_ENTITIES_PER_BATCH)


def _log(
    client: MlflowClient, run_id: str, entities: list[Entity], refused: dict[str, str]
) -> None:
    try:
        client.log_batch(
            run_id,
            params=[entity for entity in entities if isinstance(entity, Param)],
            metrics=[entity for entity in entities if isinstance(entity, MlflowMetric)],
            tags=[entity for entity in entities if isinstance(entity, RunTag)],
            synchronous=True,
        )
    except MlflowException as error:
        if meaning(error) is not Rejected:
            raise
        if len(entities) <= 1 or len(refused) >= GIVE_UP_AFTER:
            refused.update((entity.key, str(error)) for entity in entities)
            return
        half = len(entities) // 2
        with partly_done():
            _log(client, run_id, entities[:half], refused)
            _log(client, run_id, entities[half:], refused)


def resume(client: MlflowClient, run: Any, destination: Destination) -> None:
    """Take up a run as ``mlflow.start_run(run_id)`` does, with its two checks."""
    run_id = run.info.run_id
    wanted = destination.experiment_id
    if wanted is not None and wanted != run.info.experiment_id:
        raise Rejected(
            f"MLFLOW_RUN_ID names run {run_id} of experiment {run.info.experiment_id}, but the "
            f"active experiment is {wanted}"
        )
    if run.info.lifecycle_stage == "deleted":
        raise Rejected(f"MLFLOW_RUN_ID names run {run_id}, which is deleted")
    set_status(client, run_id, "RUNNING", run.info.end_time)


def _check_sqlite(uri: str) -> None:
    """Open a SQLite file once ourselves: MLflow tries ten times, for a minute and a half."""
    file = sqlite_file(uri)
    # With a driver that is named, it may be encrypted.
    if file is None or not uri.startswith("sqlite:"):
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file)
    try:
        connection.execute("PRAGMA schema_version")
    finally:
        connection.close()
