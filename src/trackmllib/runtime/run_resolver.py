"""Run ids of running searches."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from trackmllib.exceptions import Rejected
from trackmllib.outbox.relay import Relay
from trackmllib.runtime.active_searches import ActiveSearches
from trackmllib.runtime.event_pipeline import EventPipeline
from trackmllib.runtime.problems import Problems
from trackmllib.tracking.active_run import is_at
from trackmllib.tracking.executor import MlflowExecutor
from trackmllib.tracking.lazy_run import RunLookup, ServerLocation
from trackmllib.tracking.user_calls import activate_run


class RunResolver:
    """Waits for the creation of runs, in the threads that need their ids.

    If the server is unreachable, only one thread of a search waits for it, once.
    """

    def __init__(
        self,
        searches: ActiveSearches,
        executor: MlflowExecutor,
        relay: Relay,
        pipeline: EventPipeline,
        problems: Problems,
    ) -> None:
        self._searches = searches
        self._executor = executor
        self._relay = relay
        self._pipeline = pipeline
        self._problems = problems

    def run_id(self, search_id: str, candidate: int | None) -> str | None:
        """Wait for a run, and return its id; None if it is not created.

        :param candidate: The candidate of a child run; None for the parent run.
        """

        def is_over() -> bool:
            return self._executor.run_id(search_id, candidate) is not None or interrupt.pressed

        search = self._searches.get(search_id)
        if search is None:
            return None
        interrupt = search.interrupt
        self._pipeline.require_child_run(search_id, candidate)
        if candidate is not None and not search.will_have_run(candidate):
            return None
        patience = 0.0 if search.gave_up_waiting else search.settings.flush_timeout
        try:
            search.gave_up_waiting = not self._relay.wait_until(is_over, search_id, patience)
            interrupt.ends_wait = interrupt.ends_wait or interrupt.pressed
            return self._executor.run_id(search_id, candidate)
        except Rejected:
            return None

    def experiment_id(self, search_id: str) -> str:
        """Id of the experiment of a search that has a parent run."""
        return self._executor.run_ids(search_id)[0] or ""

    def lookup(self, search_id: str, candidate: int | None, fold: int | None) -> RunLookup:
        """Run for what the user's code logs in a fit, or outside of fits.

        A fit that starts after the end of its search gets the parent run.
        """
        run_id = self.run_id(search_id, candidate)
        settled = run_id is not None and (candidate is not None or fold is None)
        return RunLookup(run_id or self._executor.parent_run_id(search_id), settled)

    def is_at(self, search_id: str, location: ServerLocation) -> bool:
        """Whether MLflow calls to this location reach the runs of a search."""
        destination = self._searches.destination_of(search_id)
        return destination is None or is_at(destination, location)

    def active_run(
        self, search_id: str, candidate: Callable[[], int | None], fold: int | None
    ) -> AbstractContextManager[None]:
        """Context in which the run of a fit or search is the active run."""
        if not self._searches.is_in_mlflow(search_id):
            return nullcontext()
        return activate_run(
            lambda: self.lookup(search_id, candidate(), fold),
            fold,
            lambda location: self.is_at(search_id, location),
            lambda: self._problems.guard(search_id, "making the run of a fit the active run"),
            lambda: self._problems.add(
                search_id,
                "code in the search called mlflow.end_run() for a run of the search; the run "
                "stays active and ends when the search has completed it",
            ),
        )
