"""Registry of searches by tuner and model."""

from __future__ import annotations

from typing import Any

from trackmllib.reporting.results import Results
from trackmllib.reporting.run_links import RunLinks
from trackmllib.runtime.active_searches import ActiveSearch
from trackmllib.support.redaction import redacted
from trackmllib.support.weak_map import WeakIdentityMap
from trackmllib.tracking.executor import MlflowExecutor


class ResultsRegistry:
    """Maps tuners and models to their searches, through weak references."""

    def __init__(self, executor: MlflowExecutor) -> None:
        self._executor = executor
        self._searches: WeakIdentityMap[ActiveSearch] = WeakIdentityMap()

    def register(self, tuner_or_model: Any, search: ActiveSearch) -> None:
        """Register the last search of a tuner, or the search of a model."""
        self._searches.set(tuner_or_model, search)

    def search_of(self, tuner_or_model: Any) -> ActiveSearch | None:
        """Search of a tuner or model, or None."""
        return self._searches.get(tuner_or_model)

    def results(self, tuner_or_model: Any) -> Results | None:
        """Current results for a tuner or model, or None."""
        search = self.search_of(tuner_or_model)
        if search is None:
            return None
        with search.lock:
            return Results(search.state.snapshot(), lambda: self.run_links(search))

    def run_links(self, search: ActiveSearch) -> RunLinks:
        """Links to the runs of a search that exist on the server."""
        experiment_id, run_ids = self._executor.run_ids(search.search_id)
        if not run_ids:
            return search.run_links
        return RunLinks(
            tracking_uri=redacted(search.destination.tracking_uri),
            experiment_id=experiment_id,
            parent=run_ids[None],
            children={index: run_id for index, run_id in run_ids.items() if index is not None},
        )
