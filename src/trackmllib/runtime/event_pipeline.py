"""Pipeline that applies events to states and enqueues their operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TypeAlias, TypeVar

from trackmllib.config.children import ALL
from trackmllib.config.settings import Settings
from trackmllib.domain import mlflow_limits
from trackmllib.domain.events import (
    ChildRunNeeded,
    Event,
    SearchFailed,
    SearchFinished,
    SearchStarted,
)
from trackmllib.domain.operations import CloseSearch, CreateChildRun, Operation
from trackmllib.domain.search_state import SearchState
from trackmllib.outbox.base import Outbox
from trackmllib.outbox.relay import Relay
from trackmllib.runtime.active_searches import ActiveSearch, ActiveSearches
from trackmllib.runtime.problems import Problems
from trackmllib.support.clock import Clock

E = TypeVar("E", bound=Event)
Translate: TypeAlias = Callable[[E, SearchState], Iterable[Operation]]
Listener = Callable[[Event], None]


class EventPipeline:
    """Records events on the threads that emit them; waits for no server.

    :param listeners: Called with each event, after its operations are persisted.
    """

    def __init__(
        self,
        searches: ActiveSearches,
        outbox: Outbox,
        relay: Relay,
        problems: Problems,
        clock: Clock,
        listeners: Iterable[Listener],
    ) -> None:
        self._searches = searches
        self._outbox = outbox
        self._relay = relay
        self._problems = problems
        self._clock = clock
        self._listeners = listeners

    def record(self, event: Event, settings: Settings) -> ActiveSearch | None:
        """Apply an event to its search, and persist its operations.

        :param settings: Settings of a search that starts with this event.
        :returns: The search, or None if it has already ended.
        """
        if isinstance(event, SearchStarted):
            event = self._begin(event, settings)
        search = self._searches.get(event.search_id)
        if search is None:
            return None
        with search.lock:
            if search.state.end_ms is not None or search.closed:
                return None
            if isinstance(event, ChildRunNeeded) and event.candidate in search.state.needed:
                # Another fit of this candidate was first.
                return search
            recorded = False
            try:
                with self._problems.guard(event.search_id, f"recording {type(event).__name__}"):
                    search.state.apply(event)
                    self._persist(search, event, search.recorder.operations)
                    recorded = True
                for listener in self._listeners:
                    with self._problems.guard(event.search_id, "calling a listener"):
                        listener(event)
            finally:
                if not recorded and isinstance(event, (SearchFinished, SearchFailed)):
                    # No run may stay RUNNING.
                    created = sorted(search.created_children)
                    self._persist(search, event, partial(search.recorder.abandon, created=created))
        return search

    def record_process_end(self, search: ActiveSearch, event: SearchFailed) -> None:
        """End a search whose process is being killed, and the user's run with it."""
        with self._problems.guard(search.search_id, "ending the search"), search.lock:
            if search.state.end_ms is None:
                search.state.apply(event)
                self._persist(search, event, search.recorder.process_ended)

    def require_child_run(self, search_id: str, candidate: int | None) -> None:
        """Create the child run of a candidate now, unless it will be anyway."""
        search = self._searches.get(search_id)
        if search is None or candidate is None or search.state.children == ALL:
            return
        with search.lock:
            # If another thread was first, the operations are in the outbox by now.
            known = candidate in search.state.candidates
            is_new = known and not search.will_have_run(candidate)
        if is_new:
            now = self._clock.now_ms()
            event = ChildRunNeeded(search_id=search_id, time_ms=now, candidate=candidate)
            self.record(event, search.settings)

    def _begin(self, event: SearchStarted, settings: Settings) -> SearchStarted:
        """Add a search, and require the child run that it is nested in."""
        event = replace(
            event,
            children=settings.children,
            rank_tags=settings.rank_tags,
            primary_metric=settings.primary_metric,
            extra_tags=tuple(
                (mlflow_limits.sanitize_key(key), mlflow_limits.tag_value(value))
                for key, value in (settings.extra_tags or {}).items()
            ),
        )
        if event.parent is not None:
            outer = self._searches.get(event.parent.search_id)
            if outer is None or (settings.record and not outer.settings.record):
                # There is no run to nest it in.
                event = replace(event, parent=None)
        if event.parent is not None and settings.record:
            self.require_child_run(event.parent.search_id, event.parent.candidate)
        self._searches.begin(event, settings)
        return event

    def _persist(self, search: ActiveSearch, event: E, translate: Translate[E]) -> None:
        """Translate an event, and enqueue its operations if they are recorded.

        After an error of the recorder, the operations before it are enqueued.
        """
        if not search.settings.record:
            return
        operations: list[Operation] = []
        try:
            operations.extend(translate(event, search.state))
        finally:
            self._outbox.enqueue(operations, event)
            search.created_children.update(
                operation.candidate
                for operation in operations
                if isinstance(operation, CreateChildRun) and operation.candidate is not None
            )
            self._relay.start(urgent=any(isinstance(each, CloseSearch) for each in operations))
