"""Searches from their start until their record is delivered."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from trackmllib.config.children import ALL
from trackmllib.config.settings import Settings
from trackmllib.domain import ranking
from trackmllib.domain.events import SearchFailed, SearchFinished, SearchStarted
from trackmllib.domain.operations import Destination
from trackmllib.domain.search_state import SearchState
from trackmllib.recorder import child_selection
from trackmllib.recorder.translator import Recorder
from trackmllib.reporting.run_links import RunLinks
from trackmllib.runtime.interrupts import DeferredInterrupt

# The destination of a search that is not recorded.
NOWHERE = Destination(tracking_uri="")
# How many failed searches are remembered; a process may run for months.
MAX_FAILED = 1000


class ActiveSearch:
    """A search from its start until its record is delivered."""

    def __init__(
        self, destination: Destination, started: SearchStarted, settings: Settings
    ) -> None:
        self.destination = destination
        self.settings = settings
        self.state = SearchState(started)
        self.recorder = Recorder(destination)
        # Candidates whose child runs are enqueued.
        self.created_children: set[int] = set()
        # The last event; None until the completion starts.
        self.end: SearchFinished | SearchFailed | None = None
        self.closed = False
        self.stop_requested = False
        # Set when the executor forgets the search.
        self.run_links = RunLinks()
        # Entered when Spark has returned.
        self.interrupt = DeferredInterrupt()
        # A Spark thread has waited for a run until the timeout; other threads do not wait.
        self.gave_up_waiting = False
        self.warned_of_model_size = False
        # Ids of nested searches; only this search waits for their delivery.
        self.nested: list[str] = []
        # Held while an event is recorded, because not only Spark's threads emit events.
        self.lock = threading.Lock()
        self._problems: Counter[str] = Counter()
        self._problems_lock = threading.Lock()

    @property
    def search_id(self) -> str:
        return self.state.search_id

    @property
    def is_nested(self) -> bool:
        return self.state.parent is not None

    def will_have_run(self, candidate: int) -> bool:
        """Whether a candidate has a child run, or would if the search ended now."""
        return self.state.children == ALL or candidate in child_selection.recorded(self.state)

    def add_problem(self, reason: str) -> bool:
        """Add a reason why the record is incomplete; return whether it is new."""
        with self._problems_lock:
            self._problems[reason] += 1
            return self._problems[reason] == 1

    def incomplete_warning(self) -> str | None:
        """Warning that the record is incomplete, or None."""
        with self._problems_lock:
            reasons = [
                reason if times == 1 else f"{reason} ({times} times)"
                for reason, times in self._problems.items()
            ]
        if not reasons:
            return None
        what = f"The record of search {self.search_id} in MLflow is"
        if not self.settings.record:
            what = f"The results of search {self.search_id} are"
        return f"{what} not complete. The training is not affected. {'; '.join(reasons)}."

    def nan_warning(self) -> str | None:
        """Warning that the best score is NaN, or None."""
        best = ranking.nan_winner(self.state)
        if best is None:
            return None
        return (
            f"Candidate {best} of search {self.search_id} won with a score of NaN, because Spark "
            "ranks NaN above all numbers. Check why the evaluator returns NaN for this candidate."
        )


class ActiveSearches:
    """The active searches of this process, by id.

    :param claim_destination: Returns the destination of a search that is not nested; takes
        ``exclusive``.
    :param next_destination: Returns what ``claim_destination`` would return, without claiming it.
    :param uses_mlflow: False if tests replace MLflow.
    """

    def __init__(
        self,
        claim_destination: Callable[[bool], Destination],
        *,
        next_destination: Callable[[bool], Destination] | None = None,
        uses_mlflow: bool = True,
    ) -> None:
        self._claim_destination = claim_destination
        self.next_destination = next_destination or claim_destination
        self._uses_mlflow = uses_mlflow
        self._searches: dict[str, ActiveSearch] = {}
        # Threads of a failed search may continue, and need its destination.
        self._failed_unrecorded: deque[str] = deque(maxlen=MAX_FAILED)
        self._failed_destinations: dict[str, Destination] = {}

    def begin(self, started: SearchStarted, settings: Settings) -> ActiveSearch:
        """Add a search that starts now."""
        destination = NOWHERE
        if settings.record:
            destination = self._destination_of(started, settings.exclusive)
        search = ActiveSearch(destination, started, settings)
        self._searches[started.search_id] = search
        return search

    def get(self, search_id: str) -> ActiveSearch | None:
        return self._searches.get(search_id)

    def all(self) -> list[ActiveSearch]:
        return list(self._searches.values())

    def will_wait(self) -> bool:
        """Whether any ``fit()`` will wait for delivery at its end."""
        return any(
            search.settings.wait and search.settings.record and not search.closed
            for search in self.all()
        )

    def records_in_mlflow(self, settings: Settings) -> bool:
        """Whether a search with these settings is recorded in MLflow."""
        return settings.record and self._uses_mlflow

    def is_in_mlflow(self, search_id: str) -> bool:
        """Whether a search, active or failed, is recorded in MLflow."""
        search = self.get(search_id)
        if search is None:
            return search_id not in self._failed_unrecorded and self._uses_mlflow
        return self.records_in_mlflow(search.settings)

    def destination_of(self, search_id: str) -> Destination | None:
        """Destination of an active or failed search, or None."""
        search = self.get(search_id)
        return self._failed_destinations.get(search_id) if search is None else search.destination

    def forget(self, search_id: str) -> None:
        """Remove a search, but remember the destination of a failed one."""
        search = self._searches.pop(search_id, None)
        if search is None or search.state.failure is None:
            return
        if not search.settings.record:
            self._failed_unrecorded.append(search_id)
            return
        self._failed_destinations[search_id] = search.destination
        if len(self._failed_destinations) > MAX_FAILED:
            del self._failed_destinations[next(iter(self._failed_destinations))]

    def with_nested(self, search: ActiveSearch) -> Iterator[ActiveSearch]:
        """Yield the active searches nested in a search, then the search itself."""
        for search_id in search.nested:
            nested = self.get(search_id)
            if nested is not None:
                yield from self.with_nested(nested)
        yield search

    def _destination_of(self, started: SearchStarted, exclusive: bool) -> Destination:
        """Destination of a new search, for a nested one that of its outer search."""
        parent = started.parent
        outer = None if parent is None else self.get(parent.search_id)
        if parent is None or outer is None:
            return self._claim_destination(exclusive)
        outer.nested.append(started.search_id)
        return replace(
            outer.destination,
            run_id=None,
            owned=True,
            parent_search_id=parent.search_id,
            parent_candidate=parent.candidate,
        )
