"""Execution of operations on tracking servers with MLflow's client."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile

from mlflow import MlflowClient

from trackmllib.domain.operations import CreateChildRun, OpenParentRun, Operation
from trackmllib.exceptions import Rejected
from trackmllib.tracking import client as calls
from trackmllib.tracking import stop_request
from trackmllib.tracking.clients import ClientPool
from trackmllib.tracking.credentials import Credentials
from trackmllib.tracking.error_policy import classify, translate
from trackmllib.tracking.handlers import (
    apply_to_child_run,
    apply_to_parent_run,
    is_left_out,
    needs_no_answer,
)
from trackmllib.tracking.http import single_attempt
from trackmllib.tracking.metric_dedup import MetricDeduplicator
from trackmllib.tracking.parent_run import ParentRun
from trackmllib.tracking.run_creation import RunCreator
from trackmllib.tracking.run_registry import (
    ENDED,
    EXPERIMENT,
    MADE,
    REJECTED,
    RUN,
    SERVER,
    WORKSPACE,
    RegistryStore,
    RunRegistries,
    RunRegistry,
    rejection,
    run,
)
from trackmllib.tracking.sqlite_batch import StoreTransaction
from trackmllib.tracking.workspace import in_workspace

logger = logging.getLogger(__name__)

# Other programs cannot write to the file during a transaction, so its size is bounded.
RUNS_PER_TRANSACTION = 100


class MlflowExecutor:
    """Executor of operations, with the run ids of their searches.

    ``apply`` and ``apply_in_transaction`` are for one thread at a time.

    :param note: Called with a search id and a message about its runs.
    :param store: Persists the registries of searches; usually the outbox of the operations.
    """

    def __init__(
        self,
        note: Callable[[str, str], None],
        store: RegistryStore,
        credentials: Credentials | None = None,
    ) -> None:
        self._note = note
        self._store = store
        self._clients = ClientPool(credentials or Credentials())
        self._registries = RunRegistries(store)
        self._creator = RunCreator(self._registries)
        self._dedup = MetricDeduplicator()
        # The client of the open transaction.
        self._transaction_client: MlflowClient | None = None
        # Kept after ``forget``: threads of a failed search may continue for a long time.
        self._parent_runs: dict[str, str] = {}

    def apply(self, operation: Operation, redelivered: bool = False) -> None:
        """Execute an operation, which may be executed already if redelivered.

        :raises DeliveryError: Rejected or Unavailable, whatever MLflow raised.
        """
        registry = self._registries.get(operation.search_id)
        server = registry.get(SERVER) or ""
        try:
            with single_attempt(), in_workspace(_workspace(registry, operation)):
                if isinstance(operation, OpenParentRun):
                    server = operation.destination.tracking_uri
                    self._open_parent_run(operation, registry, redelivered)
                elif not is_left_out(operation, registry):
                    self._apply_to_run(operation, registry, redelivered)
        except Exception as error:
            failure = translate(error, server)
            creates_run = isinstance(operation, (OpenParentRun, CreateChildRun))
            if creates_run and isinstance(failure, Rejected):
                registry.save({rejection(operation.candidate): str(failure)})
            if failure is error:
                raise
            raise failure from error

    def answers(self, search_id: str) -> bool:
        """Whether the tracking server of a search answers now and accepts writes."""
        registry = self._registries.get(search_id)
        run_id = registry.get(RUN)
        if run_id is None:
            return False
        ours = [each for candidate, each in registry.runs().items() if candidate is not None]
        if registry.get(MADE):
            ours.append(run_id)
        try:
            with single_attempt(), in_workspace(_workspace(registry)):
                client = self._clients.client(registry.get(SERVER) or "")
                if ours:
                    # A store may accept only reads, so write a tag that the run already has.
                    _write_search_tag(client, ours, search_id)
                else:
                    client.get_run(run_id)
        except Exception as error:  # noqa: BLE001 - after any error there is no answer
            logger.debug("No answer: %s", error)
            return False
        return True

    def runs_per_transaction(self) -> int:
        """Maximum number of runs in a transaction; 1 without transactions."""
        any_store = any(map(self._transaction, self._registries.all()))
        return RUNS_PER_TRANSACTION if any_store else 1

    def transaction_size(self, operations: Sequence[Operation]) -> int:
        """How many of the first operations ``apply_in_transaction`` takes."""
        registry = self._registries.get(operations[0].search_id)
        if registry.get(ENDED) == "yes" or self._transaction(registry) is None:
            return 0
        fitting = takewhile(
            lambda each: each.search_id == registry.search_id and needs_no_answer(each, registry),
            operations,
        )
        return sum(1 for _ in fitting)

    def apply_in_transaction(self, operations: Sequence[Operation]) -> bool:
        """Execute all operations or none; return whether it did."""
        registry = self._registries.get(operations[0].search_id)
        transaction = self._transaction(registry)
        if transaction is None:
            return False
        run_ids = {registry.get(run(operation.candidate)) for operation in operations}
        try:
            with (
                single_attempt(),
                in_workspace(_workspace(registry)),
                registry.transaction(),
                transaction(filter(None, run_ids)) as self._transaction_client,
            ):
                for operation in operations:
                    self._apply_to_run(operation, registry, redelivered=False)
        except Exception as error:  # noqa: BLE001 - after any error, nothing is executed
            logger.debug("Transaction rolled back: %s", error)
            return False
        finally:
            self._transaction_client = None
        return True

    def run_id(self, search_id: str, candidate: int | None) -> str | None:
        """The id of a run; None until it is created.

        :raises Rejected: The server rejected the run.
        """
        registry = self._registries.find(search_id)
        if registry is None:
            return None
        rejected = registry.get_committed(rejection(candidate)) or registry.get_committed(REJECTED)
        if rejected:
            raise Rejected(rejected)
        return registry.get_committed(run(candidate))

    def run_ids(self, search_id: str) -> tuple[str | None, dict[int | None, str]]:
        """The experiment of a search, and the ids of its created runs."""
        registry = self._registries.find(search_id)
        return (None, {}) if registry is None else (registry.get(EXPERIMENT), registry.runs())

    def parent_run_id(self, search_id: str) -> str | None:
        """The id of the parent run, even after ``forget``; None before it has one."""
        return self._parent_runs.get(search_id)

    def save_registry_again(self, search_id: str) -> bool:
        """Save the registry of a search whose rows have all left the outbox.

        Return whether there is anything to save.
        """
        registry = self._registries.find(search_id)
        return registry is not None and registry.save_again()

    def is_stop_requested(self, search_id: str) -> bool:
        """Whether a tag of the parent run asks the search to stop. Thread-safe.

        :raises DeliveryError: The server does not answer.
        """
        registry = self._registries.find(search_id)
        run_id = None if registry is None else registry.get_committed(RUN)
        if registry is None or run_id is None:
            return False
        server = registry.get(SERVER) or ""
        try:
            with single_attempt(), in_workspace(_workspace(registry)):
                client = self._clients.client(server)
                return stop_request.is_requested(client, client.get_run(run_id), search_id)
        except Exception as error:
            raise translate(error, server) from error

    def forget(self, search_id: str) -> None:
        """Drop the cache of a search that has no operations left.

        While operations are deferred or rejected, the settled names stay reserved on the run.
        """
        if not any(self._store.undelivered(search_id)):
            self._registries.forget(search_id)

    def _open_parent_run(
        self, operation: OpenParentRun, registry: RunRegistry, redelivered: bool
    ) -> None:
        run_id = registry.get(RUN)
        if run_id is None:
            client = self._clients.client(operation.destination.tracking_uri)
            run_id = self._creator.open_parent_run(client, operation, registry, redelivered)
            if operation.destination.parent_search_id is None:
                self._parent_runs[operation.search_id] = run_id

    def _apply_to_run(self, operation: Operation, registry: RunRegistry, redelivered: bool) -> None:
        if not registry.get(RUN):
            raise Rejected(registry.get(REJECTED) or "the parent run was not opened")
        client = self._transaction_client or self._clients.client(registry.get(SERVER) or "")
        tags = self._creator.context_tags
        if operation.candidate is None:
            parent = self._parent_run(client, registry)
            children = partial(self._creator.find_child_run, client, registry)
            apply_to_parent_run(operation, parent, registry, redelivered, tags, children)
        elif isinstance(operation, CreateChildRun):
            self._creator.create_child_run(client, operation, registry, redelivered)
        else:
            run_id = self._creator.child_run_id(client, operation, registry)
            apply_to_child_run(operation, client, run_id, self._dedup, redelivered, tags)

    def _parent_run(self, client: MlflowClient, registry: RunRegistry) -> ParentRun:
        return ParentRun(
            client,
            registry,
            self._dedup,
            others=lambda: self._registries.on_same_run(registry),
            note=lambda text: self._note(registry.search_id, text),
        )

    def _transaction(self, registry: RunRegistry) -> StoreTransaction | None:
        uri = registry.get(SERVER)
        return None if uri is None else self._clients.transaction(uri)


def _workspace(registry: RunRegistry, operation: Operation | None = None) -> str | None:
    """The workspace of a search on its server; None if it has none."""
    if isinstance(operation, OpenParentRun):
        return operation.destination.workspace
    return registry.get_committed(WORKSPACE) or None


def _write_search_tag(client: MlflowClient, run_ids: list[str], search_id: str) -> None:
    """Write the tag to one of two runs, because the user may have deleted one.

    If MLflow rejects both, the server has still answered.
    """
    for each in dict.fromkeys((run_ids[0], run_ids[-1])):
        try:
            client.set_tag(each, calls.SEARCH_ID, search_id, synchronous=True)
        except Exception as error:
            if classify(error) is not Rejected:
                raise
        else:
            return
