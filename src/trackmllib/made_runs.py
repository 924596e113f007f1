"""The runs of a search for who needs one before it is over, with the ids that the server gives."""

from __future__ import annotations

from collections.abc import Callable

from trackmllib.clock import Clock
from trackmllib.delivery.worker import Delivery
from trackmllib.errors import Rejected
from trackmllib.events import ChildRunNeeded
from trackmllib.options.children import ALL
from trackmllib.recorder import chosen
from trackmllib.running import RunningSearch, RunningSearches
from trackmllib.tracking.active import is_at
from trackmllib.tracking.apply import MlflowTracking
from trackmllib.tracking.lazy_run import Found, ServerPlace


class MadeRuns:
    """Waits for runs, on the threads of those who ask; for a server that is away once a search.

    Where only the best candidates get runs, who asks for one has it made: ``emit`` takes that fact.
    """

    def __init__(
        self,
        searches: RunningSearches,
        tracking: MlflowTracking,
        delivery: Delivery,
        emit: Callable[[ChildRunNeeded], None],
        clock: Clock,
    ) -> None:
        self._searches = searches
        self._tracking = tracking
        self._delivery = delivery
        self._emit = emit
        self._clock = clock

    def need(self, search_id: str, candidate: int | None) -> None:
        """Have the run of a candidate made now, if it is not made anyway and its search runs."""
        search = self._searches.get(search_id)
        if search is None or candidate is None or search.result.children == ALL:
            return
        with search.recording:
            # Who finds it made already, finds its operations in the outbox too.
            result = search.result
            is_new = candidate in result.candidates and not self._will_be(search, candidate)
        if is_new:
            now = self._clock.now_ms()
            self._emit(ChildRunNeeded(search_id=search_id, time_ms=now, candidate=candidate))

    def find(self, search_id: str, candidate: int | None, fold: int | None) -> Found:
        """The run of a cell; of one that begins when its search is over, the main run."""
        found = self.id_of(search_id, candidate)
        settled = found is not None and (candidate is not None or fold is None)
        return Found(found or self._tracking.main_run_id(search_id), settled)

    def is_at(self, search_id: str, place: ServerPlace) -> bool:
        """Whether MLflow's calls to this place reach the runs of a search."""
        destination = self._searches.destination_of(search_id)
        return destination is None or is_at(destination, place)

    def id_of(self, search_id: str, candidate: int | None) -> str | None:
        """The id of a run, once the server has made it; None if it will not."""

        def is_over() -> bool:
            return self._tracking.run_id(search_id, candidate) is not None or interrupt.pressed

        search = self._searches.get(search_id)
        if search is None:
            return None
        interrupt = search.interrupt
        self.need(search_id, candidate)
        if candidate is not None and not self._will_be(search, candidate):
            return None
        patience = 0.0 if search.gave_up else search.settings.flush_timeout
        try:
            search.gave_up = not self._delivery.wait_for(is_over, search_id, patience)
            interrupt.ends_wait = interrupt.ends_wait or interrupt.pressed
            return self._tracking.run_id(search_id, candidate)
        except Rejected:
            return None

    def _will_be(self, search: RunningSearch, candidate: int) -> bool:
        """Whether a candidate has a run, or gets one for all that is known."""
        result = search.result
        return result.children == ALL or candidate in chosen.with_runs(result)
