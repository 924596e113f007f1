"""Completion of a search: wait, warn, request the report, forget."""

from __future__ import annotations

from collections.abc import Callable

from trackmllib.config.settings import Settings
from trackmllib.domain.events import SearchFailed, SearchFinished
from trackmllib.exceptions import IncompleteRecord
from trackmllib.outbox.base import Outbox
from trackmllib.outbox.target import Target
from trackmllib.runtime.active_searches import ActiveSearch, ActiveSearches
from trackmllib.runtime.flush import FlushWait
from trackmllib.runtime.post_training import PostTrainingMetrics
from trackmllib.runtime.problems import Problems
from trackmllib.runtime.results_registry import ResultsRegistry
from trackmllib.runtime.search_reports import SearchReports
from trackmllib.runtime.user_warnings import UserWarnings
from trackmllib.tracking.active_run import set_last_active_run
from trackmllib.tracking.executor import MlflowExecutor


class SearchCompletion:
    """Completes searches in the thread of ``fit()``."""

    def __init__(
        self,
        *,
        searches: ActiveSearches,
        outbox: Outbox,
        target: Target,
        executor: MlflowExecutor,
        flush_wait: FlushWait,
        results_registry: ResultsRegistry,
        reports: SearchReports,
        post_training: PostTrainingMetrics,
        problems: Problems,
        user_warnings: UserWarnings,
        current_settings: Callable[[], Settings],
    ) -> None:
        self._searches = searches
        self._outbox = outbox
        self._target = target
        self._executor = executor
        self._flush_wait = flush_wait
        self._results_registry = results_registry
        self._reports = reports
        self._post_training = post_training
        self._problems = problems
        self._user_warnings = user_warnings
        self._current_settings = current_settings

    def complete(self, search: ActiveSearch, end: SearchFinished | SearchFailed) -> None:
        """Complete a search whose last event is recorded.

        :raises IncompleteRecord: In strict mode, if part of the search is not recorded.
        """
        search.end = end
        try:
            if not (isinstance(end, SearchFailed) and end.failure.is_process_exit):
                self._warn(search, search.nan_warning())
                if search.settings.wait and search.settings.record and not search.is_nested:
                    self._flush_wait.wait_for(search)
            incomplete = search.incomplete_warning()
            if incomplete is not None and self._current_settings().strict:
                raise IncompleteRecord(incomplete)
            self._warn(search, incomplete)
        finally:
            search.closed = True
            with self._problems.guard(search.search_id, "setting MLflow's last active run"):
                self._set_last_active_run(search)
            with self._problems.guard(search.search_id, "requesting the report"):
                self._reports.request(search)
            self._forget_delivered()

    def _warn(self, search: ActiveSearch, text: str | None) -> None:
        if text is not None:
            self._user_warnings.warn(text, search.settings)

    def _set_last_active_run(self, search: ActiveSearch) -> None:
        is_recorded = self._searches.records_in_mlflow(search.settings)
        if is_recorded and not search.is_nested and search.destination.owned:
            set_last_active_run(self._executor.parent_run_id(search.search_id))

    def _forget_delivered(self) -> None:
        """Forget delivered searches, except the links to their runs."""
        for search in self._searches.all():
            if (
                search.closed
                and not self._outbox.waiting(search.search_id)
                and not self._reports.is_pending(search)
                and not self._post_training.may_log(search)
            ):
                search.run_links = self._results_registry.run_links(search)
                self._searches.forget(search.search_id)
                self._target.forget(search.search_id)
