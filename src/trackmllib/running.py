"""The searches that run: each with its table, its record, and what went wrong with that."""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from trackmllib.events import SearchStarted
from trackmllib.interrupts import HeldInterrupt
from trackmllib.models import Models
from trackmllib.operations import Destination
from trackmllib.recorder.record import Recorder
from trackmllib.search_result import SearchResult
from trackmllib.settings import Settings
from trackmllib.view.runs import Runs

# Of a search that is not recorded.
NOWHERE = Destination(tracking_uri="")
# A process that goes on for months may have any number of them.
MOST_FAILED = 1000


class RunningSearch:
    """A search while it runs, and until all of it is delivered."""

    def __init__(
        self, destination: Destination, started: SearchStarted, settings: Settings
    ) -> None:
        self.destination = destination
        self.settings = settings
        self.result = SearchResult(started)
        self.recorder = Recorder(destination, self.result)
        # The candidates whose child runs the outbox was told to make.
        self.with_runs: set[int] = set()
        self.closed = False
        # Somebody has asked for its end.
        self.stop_asked = False
        # Kept when the rest that is known of it on its server is forgotten.
        self.runs = Runs()
        # Entered when Spark has returned.
        self.interrupt = HeldInterrupt()
        # Whether a thread of Spark's has waited in vain for a run to be made: it does so once.
        self.gave_up = False
        # Made with the first model that is to be kept.
        self.models: Models | None = None
        # Searches inside of this one, which do not wait for their delivery themselves.
        self.inner: list[str] = []
        # Held while an event is recorded: a search may be ended by another thread than Spark's.
        self.recording = threading.Lock()
        self._problems: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add_problem(self, reason: str) -> bool:
        """Keep a reason why the record is not complete; whether it is a new one."""
        with self._lock:
            self._problems[reason] += 1
            return self._problems[reason] == 1

    def missing(self) -> str:
        """The one warning of a search: what is missing from its record, and why; or nothing."""
        with self._lock:
            reasons = [
                reason if times == 1 else f"{reason} ({times} times)"
                for reason, times in self._problems.items()
            ]
        if not reasons:
            return ""
        what = f"The record of search {self.result.search_id} in MLflow is"
        if not self.settings.record:
            what = f"The results of search {self.result.search_id} are"
        return f"{what} not complete. The training is not affected. {'; '.join(reasons)}."

    def won_with_nan(self) -> str:
        """What to say where NaN is the best score; or nothing."""
        best = self.result.best
        average = None if best is None else self.result.candidates[best].average
        if average is None or not math.isnan(average):
            return ""
        return (
            f"Candidate {best} of search {self.result.search_id} won with a score of NaN: Spark "
            "takes NaN for the best of all scores. Look at what makes the evaluator return it."
        )


class RunningSearches:
    """All of them, by id. ``destination`` says where a search goes that is in no other one."""

    def __init__(self, destination: Callable[[], Destination]) -> None:
        self.destination = destination
        self._searches: dict[str, RunningSearch] = {}
        # Threads of a search that failed may run on for long; of the last ones that did.
        self._failed_and_not_recorded: deque[str] = deque(maxlen=MOST_FAILED)
        self._failed_destinations: dict[str, Destination] = {}

    def begin(self, started: SearchStarted, settings: Settings) -> None:
        destination = self._destination_of(started) if settings.record else NOWHERE
        search = RunningSearch(destination, started, settings)
        self._searches[started.search_id] = search

    def get(self, search_id: str) -> RunningSearch | None:
        return self._searches.get(search_id)

    def all(self) -> list[RunningSearch]:
        return list(self._searches.values())

    def will_wait(self) -> bool:
        """Whether one that runs will wait for its delivery."""
        return any(
            search.settings.wait and search.settings.record and not search.closed
            for search in self.all()
        )

    def is_recorded(self, search_id: str) -> bool:
        """Whether a search is recorded in MLflow, or was as long as it ran."""
        search = self.get(search_id)
        if search is None:
            return search_id not in self._failed_and_not_recorded
        return search.settings.record

    def destination_of(self, search_id: str) -> Destination | None:
        """The destination of a search, also of one that failed; None if it is unknown."""
        search = self.get(search_id)
        return self._failed_destinations.get(search_id) if search is None else search.destination

    def forget(self, search_id: str) -> None:
        search = self._searches.pop(search_id, None)
        if search is None or search.result.failure is None:
            return
        if not search.settings.record:
            self._failed_and_not_recorded.append(search_id)
            return
        self._failed_destinations[search_id] = search.destination
        if len(self._failed_destinations) > MOST_FAILED:
            del self._failed_destinations[next(iter(self._failed_destinations))]

    def whole(self, search: RunningSearch) -> Iterator[RunningSearch]:
        """The searches inside of a search that are not forgotten yet, and the search itself."""
        for search_id in search.inner:
            inner = self.get(search_id)
            if inner is not None:
                yield from self.whole(inner)
        yield search

    def _destination_of(self, started: SearchStarted) -> Destination:
        """Where a search goes; one inside of another, to where that one goes."""
        parent = started.parent
        outer = None if parent is None else self.get(parent.search_id)
        if parent is None or outer is None:
            return self.destination()
        outer.inner.append(started.search_id)
        return replace(
            outer.destination,
            run_id=None,
            owned=True,
            parent_search_id=parent.search_id,
            parent_candidate=parent.candidate,
        )
