"""The ids of the runs of a search that the server has made, for who needs one before it is over."""

from __future__ import annotations

from trackmllib.delivery.worker import Delivery
from trackmllib.errors import Refused
from trackmllib.running import RunningSearches
from trackmllib.tracking.apply import MlflowTracking
from trackmllib.tracking.lazy_run import Found


class MadeRuns:
    """Waits for runs, on the threads of those who ask; for a server that is away once a search."""

    def __init__(
        self, searches: RunningSearches, tracking: MlflowTracking, delivery: Delivery
    ) -> None:
        self._searches = searches
        self._tracking = tracking
        self._delivery = delivery

    def find(self, search_id: str, candidate: int | None, fold: int | None) -> Found:
        """The run of a cell; of one that begins when its search is over, the main run."""
        found = self.id_of(search_id, candidate)
        settled = found is not None and (candidate is not None or fold is None)
        return Found(found or self._tracking.main_run_id(search_id), settled)

    def id_of(self, search_id: str, candidate: int | None) -> str | None:
        """The id of a run, once the server has made it; None if it will not."""

        def is_there() -> bool:
            return self._tracking.run_id(search_id, candidate) is not None

        search = self._searches.get(search_id)
        if search is None:
            return None
        patience = 0.0 if search.gave_up else search.settings.flush_timeout
        try:
            search.gave_up = not self._delivery.wait_for(is_there, search_id, patience)
            return self._tracking.run_id(search_id, candidate)
        except Refused:
            return None
