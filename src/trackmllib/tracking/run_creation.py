"""Creation of the runs of a search, each once."""

from __future__ import annotations

from typing import Any

from mlflow import MlflowClient
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from trackmllib.domain.operations import CreateChildRun, Destination, OpenParentRun, Operation
from trackmllib.exceptions import Blocked, Rejected, Unavailable
from trackmllib.support.escaping import escaped
from trackmllib.support.redaction import strip_credentials
from trackmllib.tracking import client as calls
from trackmllib.tracking import stop_request
from trackmllib.tracking.description import NOTE, merge_section
from trackmllib.tracking.run_registry import (
    DOUBTFUL,
    EXPERIMENT,
    FILES,
    MADE,
    REJECTED,
    RUN,
    SERVER,
    WORKSPACE,
    RunRegistries,
    RunRegistry,
    rejection,
    run,
)


class RunCreator:
    """Creator of runs, which saves their ids in the registries."""

    def __init__(self, registries: RunRegistries) -> None:
        self._registries = registries
        self._context_tags: dict[str, str] | None = None

    def open_parent_run(
        self,
        client: MlflowClient,
        operation: OpenParentRun,
        registry: RunRegistry,
        redelivered: bool,
    ) -> str:
        """Create the parent run, or resume the one the destination names."""
        destination = operation.destination
        if destination.run_id is None:
            experiment_id, parent = self._experiment_and_parent(client, destination, registry)
            tags = {calls.SEARCH_ID: operation.search_id, **parent}
            if operation.description:
                tags[NOTE] = merge_section("", operation.search_id, operation.description)
            opened = self._create(client, experiment_id, operation, tags, registry, redelivered)
        else:
            opened = client.get_run(destination.run_id)
            # A stop request that is older than the search is not meant for it.
            stop_request.name_all(client, opened)
            if destination.owned:
                calls.resume(client, opened, destination)
        registry.save(
            {
                RUN: opened.info.run_id,
                EXPERIMENT: opened.info.experiment_id,
                SERVER: destination.tracking_uri,
                WORKSPACE: destination.workspace or "",
                FILES: _unless_secret(opened.info.artifact_uri),
                MADE: "" if destination.run_id else "yes",
            }
        )
        return str(opened.info.run_id)

    def create_child_run(
        self,
        client: MlflowClient,
        operation: CreateChildRun,
        registry: RunRegistry,
        redelivered: bool,
    ) -> None:
        """Create the child run of a candidate, unless it exists."""
        name = run(operation.candidate)
        if registry.get(name) is None:
            tags = {MLFLOW_PARENT_RUN_ID: registry.get(RUN) or "", **dict(operation.tags)}
            experiment_id = registry.get(EXPERIMENT) or ""
            made = self._create(client, experiment_id, operation, tags, registry, redelivered)
            registry.save({name: made.info.run_id})

    def child_run_id(
        self, client: MlflowClient, operation: Operation, registry: RunRegistry
    ) -> str:
        """The id of a child run, looked up on the server if the registry lost it."""
        assert operation.candidate is not None
        run_id = self.find_child_run(client, registry, operation.candidate)
        if run_id is None:
            raise Rejected("a child run could not be created")
        return run_id

    def find_child_run(
        self, client: MlflowClient, registry: RunRegistry, candidate: int
    ) -> str | None:
        """The id of a child run, looked up likewise; None if not created."""
        name = run(candidate)
        run_id = registry.get(name)
        if run_id is None:
            experiment_id = registry.get(EXPERIMENT) or ""
            found = calls.find_run(client, experiment_id, registry.search_id, candidate)
            if found is None:
                return None
            run_id = str(found.info.run_id)
            registry.save({name: run_id})
        return run_id

    def context_tags(self) -> dict[str, str]:
        """The tags that MLflow gives to each run: user, source and commit."""
        if self._context_tags is None:
            # Python reads bytes in the path of a program that are not UTF-8 as lone surrogates.
            self._context_tags = {
                escaped(key): escaped(str(value)) for key, value in resolve_tags().items()
            }
        return self._context_tags

    def _experiment_and_parent(
        self, client: MlflowClient, destination: Destination, registry: RunRegistry
    ) -> tuple[str, dict[str, str]]:
        """The experiment of a parent run, and the tag that nests it, if any."""
        outer_id = destination.parent_search_id
        if outer_id is None:
            if not registry.get(EXPERIMENT):
                # Saved now, because a rate-limited server may refuse the next request many times.
                registry.save({EXPERIMENT: calls.experiment_id(client, destination)})
            return registry.get(EXPERIMENT) or "", {}
        candidate = destination.parent_candidate
        outer = self._registries.load(outer_id)
        parent = outer.get(run(candidate))
        experiment_id = outer.get(EXPERIMENT)
        if parent is None:
            rejected = outer.get(rejection(candidate)) or outer.get(REJECTED)
            if rejected:
                raise Rejected(f"its parent run was rejected: {rejected}")
            # An earlier process may have delivered the outer search completely.
            experiment_id = experiment_id or calls.experiment_id(client, destination)
            found = calls.find_run(client, experiment_id, outer_id, candidate)
            if found is None and self._registries.store.has_waiting_rows(outer_id, candidate):
                raise Unavailable("its parent run is not on the tracking server yet")
            if found is None:
                raise Blocked("its parent run is not on the tracking server")
            parent = found.info.run_id
        return experiment_id or "", {MLFLOW_PARENT_RUN_ID: parent}

    def _create(
        self,
        client: MlflowClient,
        experiment_id: str,
        operation: OpenParentRun | CreateChildRun,
        tags: dict[str, str],
        registry: RunRegistry,
        redelivered: bool,
    ) -> Any:
        """Create a run, unless a ``redelivered`` operation has created it."""
        if redelivered:
            registry.save({DOUBTFUL: "yes"})
            found = calls.find_run(client, experiment_id, *operation.run)
            if found is not None:
                return found
        return client.create_run(
            experiment_id, operation.start_ms, {**self.context_tags(), **tags}, operation.name
        )


def _unless_secret(artifact_uri: str) -> str:
    """The artifact URI to persist; empty if it contains credentials."""
    return artifact_uri if strip_credentials(artifact_uri) == artifact_uri else ""
