"""Execution of each kind of operation on a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mlflow import MlflowClient

from trackmllib.domain import mlflow_limits
from trackmllib.domain.operations import (
    CloseSearch,
    CreateChildRun,
    EndRun,
    LinkSearch,
    LogArtifact,
    LogBatch,
    LogDataset,
    LogModelMetrics,
    Operation,
    Recover,
    SetDescription,
    SetPrimaryMetric,
)
from trackmllib.domain.score_tags import RESUMED_BY, RESUMED_FROM
from trackmllib.tracking import artifacts, logged_models
from trackmllib.tracking import client as calls
from trackmllib.tracking.datasets import log_dataset
from trackmllib.tracking.metric_dedup import MetricDeduplicator
from trackmllib.tracking.parent_run import FOLDER, ParentRun
from trackmllib.tracking.primary_metric import set_primary_metric
from trackmllib.tracking.run_registry import (
    DESCRIBED,
    DOUBTFUL,
    ENDED,
    EXPERIMENT,
    MADE,
    RUN,
    RunRegistry,
    run,
)

# On the parent run.
BEST_RUN_ID = "trackmllib.best_run_id"


def apply_to_parent_run(
    operation: Operation,
    parent: ParentRun,
    registry: RunRegistry,
    redelivered: bool,
    context_tags: Callable[[], Mapping[str, str]],
    child_run_id: Callable[[int], str | None],
) -> None:
    """Execute an operation on a parent run."""
    match operation:
        case LogBatch():
            parent.log(operation, redelivered)
        case LogArtifact():
            parent.log_file(operation.file_name, operation.pieces(), operation.in_folder)
        case SetDescription():
            _set_description(operation, parent, registry, redelivered, child_run_id)
        case SetPrimaryMetric():
            set_primary_metric(parent.client, registry.get(EXPERIMENT) or "", operation)
        case LinkSearch():
            _link_search(operation, parent, registry)
        case LogDataset():
            log_dataset(parent.client, parent.run_id, operation, context_tags())
        case EndRun():
            _end_run(operation, parent.client, parent.run_id)
        case Recover():
            _recover(parent, registry)
        case CloseSearch():
            _close_search(operation, parent, registry)


def apply_to_child_run(
    operation: Operation,
    client: MlflowClient,
    run_id: str,
    dedup: MetricDeduplicator,
    redelivered: bool,
    context_tags: Callable[[], Mapping[str, str]],
) -> None:
    """Execute an operation on a child run that exists."""
    match operation:
        case LogBatch():
            if redelivered:
                operation = dedup.without_logged(client, run_id, operation)
            dedup.forget(run_id)
            calls.log_batch(client, run_id, operation)
        case LogArtifact():
            artifact_uri = client.get_run(run_id).info.artifact_uri
            path = f"{FOLDER}/{operation.file_name}"
            artifacts.log_file(client, artifact_uri, operation.pieces(), path)
        case LogDataset():
            log_dataset(client, run_id, operation, context_tags())
        case LogModelMetrics():
            logged_models.log_metrics(client, run_id, operation)
        case EndRun():
            _end_run(operation, client, run_id)


def is_left_out(operation: Operation, registry: RunRegistry) -> bool:
    """Whether an operation only repeats a search's end on the server.

    To end a run that trackmllib created and that is still RUNNING is no repetition: this may have
    failed before, and let the end of the search go first.
    """
    if registry.get(ENDED) != "yes":
        return False
    if isinstance(operation, EndRun) and operation.if_running:
        is_parent = operation.candidate is None
        return operation.of_recovery and is_parent and not registry.get(MADE)
    return operation.of_recovery and not isinstance(operation, CloseSearch)


def needs_no_answer(operation: Operation, registry: RunRegistry) -> bool:
    """Whether an operation is executed without reading from the server."""
    match operation:
        case LogBatch():
            # On a user's run, names may have to be settled first.
            return operation.candidate is not None or bool(registry.get(MADE))
        case EndRun():
            return operation.candidate is not None and not operation.if_running
    return isinstance(operation, CreateChildRun)


def _set_description(
    operation: SetDescription,
    parent: ParentRun,
    registry: RunRegistry,
    redelivered: bool,
    child_run_id: Callable[[int], str | None],
) -> None:
    best_run_id = None if operation.best is None else child_run_id(operation.best)
    parent.describe(
        operation.text,
        may_be_old=redelivered and not operation.is_last,
        tags={BEST_RUN_ID: best_run_id} if best_run_id is not None else {},
    )
    if operation.is_last:
        registry.save({DESCRIBED: "yes"})


def _link_search(operation: LinkSearch, parent: ParentRun, registry: RunRegistry) -> None:
    """Link a parent run to that of the resumed search, by tags on both."""
    experiment_id = registry.get(EXPERIMENT) or ""
    prior = calls.find_run(parent.client, experiment_id, operation.prior_search_id, None)
    if prior is None or prior.info.run_id == parent.run_id:
        return
    before = parent.client.get_run(parent.run_id).data.tags.get(RESUMED_FROM, "")
    sources = dict.fromkeys([*filter(None, before.split(", ")), prior.info.run_id])
    value = mlflow_limits.tag_value(", ".join(sources))
    parent.client.set_tag(parent.run_id, RESUMED_FROM, value, synchronous=True)
    parent.client.set_tag(prior.info.run_id, RESUMED_BY, parent.run_id, synchronous=True)


def _end_run(operation: EndRun, client: MlflowClient, run_id: str) -> None:
    if operation.if_running and client.get_run(run_id).info.status != "RUNNING":
        return
    if operation.tags:
        tags = LogBatch(search_id=operation.search_id, tags=operation.tags)
        calls.log_batch(client, run_id, tags)
    calls.set_status(client, run_id, operation.status, operation.end_ms)


def _recover(parent: ParentRun, registry: RunRegistry) -> None:
    """Decide once whether the search has ended, before recovery adds results."""
    if registry.get(ENDED) is None:
        ended = "yes" if parent.has_results() else "no"
        registry.save({ENDED: ended}, durable=True)


def _close_search(operation: CloseSearch, parent: ParentRun, registry: RunRegistry) -> None:
    def run_to_keep(candidate: int | None) -> str | None:
        """The run to keep; None for a user's run, which has no duplicate."""
        if candidate is None:
            return registry.get(RUN) if registry.get(MADE) else None
        return registry.get(run(candidate))

    if registry.get(DOUBTFUL):
        experiment_id = registry.get(EXPERIMENT) or ""
        calls.delete_duplicate_runs(
            parent.client, experiment_id, operation.search_id, keep=run_to_keep
        )
