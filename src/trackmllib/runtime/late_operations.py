"""Operations on the parent runs of searches that have ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from trackmllib.domain import naming
from trackmllib.domain.operations import CloseSearch, OpenParentRun, Operation
from trackmllib.outbox.base import Outbox
from trackmllib.outbox.relay import Relay
from trackmllib.runtime.active_searches import ActiveSearch
from trackmllib.runtime.results_registry import ResultsRegistry
from trackmllib.tracking.executor import MlflowExecutor


class LateOperations:
    """Enqueues operations of searches after their last event."""

    def __init__(
        self,
        executor: MlflowExecutor,
        outbox: Outbox,
        relay: Relay,
        results_registry: ResultsRegistry,
    ) -> None:
        self._executor = executor
        self._outbox = outbox
        self._relay = relay
        self._results_registry = results_registry

    def enqueue(self, search: ActiveSearch, operations: Iterable[Operation]) -> None:
        """Enqueue operations, which any process can deliver.

        After the delivery of all operations, the outbox may have removed the registry of the
        search, so the parent run is opened again.
        """
        assert search.end is not None
        search_id = search.search_id
        late = [*operations, CloseSearch(search_id=search_id)]
        parent_run_id = self._results_registry.run_links(search).parent
        if parent_run_id is not None and self._executor.save_registry_again(search_id):
            late.insert(
                0,
                OpenParentRun(
                    search_id=search_id,
                    destination=replace(search.destination, run_id=parent_run_id, owned=False),
                    name=naming.parent_run(search.state.description, search.state.parent),
                    start_ms=search.state.start_ms,
                ),
            )
        self._outbox.enqueue(late, search.end)
        self._relay.start(urgent=True)
