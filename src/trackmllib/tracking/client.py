"""Calls that MLflow's client lacks, or makes with output of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, TypeAlias

from mlflow import MlflowClient
from mlflow.entities import Metric as MlflowMetric
from mlflow.entities import Param, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import MAX_ENTITIES_PER_BATCH, MAX_PARAMS_TAGS_PER_BATCH

from trackmllib.domain.operations import Destination, LogBatch
from trackmllib.exceptions import Rejected
from trackmllib.support.redaction import redacted
from trackmllib.tracking import artifacts, conflicts
from trackmllib.tracking.database import connected_once
from trackmllib.tracking.error_policy import LONGEST_REASON, classify, partially_applied
from trackmllib.tracking.http import prepare_databricks
from trackmllib.tracking.sqlite_uri import sqlite_file

Entity: TypeAlias = "Param | MlflowMetric | RunTag"

SEARCH_ID = "trackmllib.search_id"
CANDIDATE = "trackmllib.candidate"

# After this many rejected entities of one batch, the rest is not tried singly.
GIVE_UP_AFTER = 10


def connect(uri: str) -> MlflowClient:
    _check_sqlite(uri)
    if uri.startswith("databricks"):
        prepare_databricks()
    with connected_once(uri):
        return MlflowClient(tracking_uri=uri)


def set_status(client: MlflowClient, run_id: str, status: str, end_ms: int | None) -> None:
    """Set status and end time, without the output of ``set_terminated``."""
    client._tracking_client.store.update_run_info(
        run_id, RunStatus.from_string(status), end_ms, None
    )


def find_run(
    client: MlflowClient, experiment_id: str, search_id: str, candidate: int | None
) -> Any:
    """Find the run of a candidate, or for None the parent run, by its tags."""
    wanted = None if candidate is None else str(candidate)
    clauses = [f"tags.`{SEARCH_ID}` = '{search_id}'"]
    if wanted is not None:
        clauses.append(f"tags.`{CANDIDATE}` = '{wanted}'")
    # A parent run is older than its children, so it is on the first page.
    oldest_first = ["attributes.start_time ASC"]
    found = client.search_runs([experiment_id], " AND ".join(clauses), order_by=oldest_first)
    runs = [run for run in found if run.data.tags.get(CANDIDATE) == wanted]
    if not runs and wanted is None:
        # On a run that several searches share, the tag of a later one has another name.
        key = conflicts.with_search_id(SEARCH_ID, search_id)
        runs = list(client.search_runs([experiment_id], f"tags.`{key}` = '{search_id}'"))
    return next(iter(runs), None)


def search_ids(tags: Mapping[str, str]) -> list[str]:
    """Ids of the searches whose parent run has these tags.

    The first search of the run comes first.
    """
    if SEARCH_ID not in tags or CANDIDATE in tags:
        return []
    first = tags[SEARCH_ID]
    others = (
        value
        for key, value in tags.items()
        if key == conflicts.with_search_id(SEARCH_ID, value) and value != first
    )
    return [first, *others]


def experiment_id(client: MlflowClient, destination: Destination) -> str:
    """The experiment for a new run; one named but missing is created."""
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
    """Create an experiment, unless another program does so at this moment."""
    try:
        return client.create_experiment(name)
    except MlflowException:
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        return experiment.experiment_id


def delete_duplicate_runs(
    client: MlflowClient,
    experiment_id: str,
    search_id: str,
    keep: Callable[[int | None], str | None],
) -> None:
    """Delete duplicate runs that a late answer has caused.

    Deletes only empty runs of the same request.

    :param keep: Returns the id of the run to keep for a candidate, or for None the parent run; if
        it returns None, no run is deleted.
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
            if kept is not None and run is not kept and _is_duplicate(client, run, kept):
                client.delete_run(run.info.run_id)


def _is_duplicate(client: MlflowClient, run: Any, kept: Any) -> bool:
    """Whether a run is empty and created by the same request as ``kept``.

    A copy by the user has another start time, or is not empty.
    """
    same = (run.info.start_time, run.info.run_name) == (kept.info.start_time, kept.info.run_name)
    if not same or run.info.status != "RUNNING" or run.data.params or run.data.metrics:
        return False
    inputs = getattr(run, "inputs", None)
    if inputs is not None and inputs.dataset_inputs:
        return False
    return not artifacts.names(client, run.info.artifact_uri, "")


def log_batch(client: MlflowClient, run_id: str, batch: LogBatch) -> None:
    """Log params, metrics and tags; an empty batch makes no request.

    :raises Rejected: MLflow rejects a part of the batch, which the message names; the rest is
        logged.
    """
    entities: list[Entity] = [
        *(Param(key, value) for key, value in batch.params),
        *(RunTag(key, value) for key, value in batch.tags),
        *(MlflowMetric(m.key, m.value, m.time_ms, m.step) for m in batch.metrics),
    ]
    if not entities:
        return
    rejected: dict[str, str] = {}
    with nullcontext() if _is_one_request(batch) else partially_applied():
        _log(client, run_id, entities, rejected)
    if rejected:
        names = ", ".join(rejected)
        reason = redacted(next(iter(rejected.values())).splitlines()[0])[:LONGEST_REASON]
        raise Rejected(f"{names} not logged: {reason}")


def _is_one_request(batch: LogBatch) -> bool:
    """Whether MLflow's client sends a batch in one request."""
    most = max(len(batch.params), len(batch.tags))
    entities = len(batch.params) + len(batch.tags) + len(batch.metrics)
    return bool(most <= MAX_PARAMS_TAGS_PER_BATCH and entities <= MAX_ENTITIES_PER_BATCH)


def _log(
    client: MlflowClient, run_id: str, entities: list[Entity], rejected: dict[str, str]
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
        if classify(error) is not Rejected:
            raise
        if len(entities) <= 1 or len(rejected) >= GIVE_UP_AFTER:
            rejected.update((entity.key, str(error)) for entity in entities)
            return
        half = len(entities) // 2
        with partially_applied():
            _log(client, run_id, entities[:half], rejected)
            _log(client, run_id, entities[half:], rejected)


def resume(client: MlflowClient, run: Any, destination: Destination) -> None:
    """Resume a run as ``mlflow.start_run(run_id)`` does, with its two checks."""
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
    """Raise for a file that cannot be opened; MLflow would retry for 90 s."""
    file = sqlite_file(uri)
    # With another driver, the file may be encrypted.
    if file is None or not uri.startswith("sqlite:"):
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file)
    try:
        connection.execute("PRAGMA schema_version")
    finally:
        connection.close()
