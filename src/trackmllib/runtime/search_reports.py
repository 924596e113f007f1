"""Reports of ended searches, enqueued as artifacts."""

from __future__ import annotations

import base64

from trackmllib.domain.operations import LogArtifact
from trackmllib.outbox.base import Outbox
from trackmllib.outbox.relay import Relay
from trackmllib.reporting.run_links import RunLinks
from trackmllib.runtime.active_searches import ActiveSearch
from trackmllib.runtime.late_operations import LateOperations
from trackmllib.runtime.report_process import FIGURE, REPORT
from trackmllib.runtime.report_queue import ReportQueue, ReportRequest
from trackmllib.runtime.results_registry import ResultsRegistry
from trackmllib.runtime.user_warnings import UserWarnings
from trackmllib.support.compression import FileText

# How long a report waits for the run ids that it links to.
RUN_IDS_SECONDS = 10.0


class SearchReports:
    """Requests and logs the reports of ended searches."""

    def __init__(
        self,
        outbox: Outbox,
        relay: Relay,
        results_registry: ResultsRegistry,
        late_operations: LateOperations,
        user_warnings: UserWarnings,
    ) -> None:
        self._outbox = outbox
        self._relay = relay
        self._results_registry = results_registry
        self._late_operations = late_operations
        self._user_warnings = user_warnings
        self._pending: set[str] = set()
        self._queue = ReportQueue()

    def request(self, search: ActiveSearch) -> None:
        """Request the report of a search, if enabled.

        A nested search gets none, because it would be created while the outer search runs.
        """
        settings = search.settings
        if not (settings.report and settings.record) or search.is_nested:
            return

        def log(html: FileText, png: bytes | None) -> None:
            self._log(search, html, png)
            self._pending.discard(search.search_id)

        def give_up(reason: str) -> None:
            self._pending.discard(search.search_id)
            self._user_warnings.warn_once([reason], search.settings)

        self._pending.add(search.search_id)
        reason = self._queue.add(
            ReportRequest(
                state=search.state,
                run_links=lambda: self._complete_run_links(search),
                log=log,
                give_up=give_up,
            )
        )
        if reason is not None:
            give_up(reason)

    def is_pending(self, search: ActiveSearch) -> bool:
        """Whether the report of a search is not created yet."""
        return search.search_id in self._pending

    def wait(self, timeout: float | None) -> int:
        """Wait for all reports; return the number that is not created."""
        return self._queue.wait(timeout)

    def wait_at_exit(self, timeout: float) -> None:
        """Wait for all reports, and warn of those that are not created."""
        missing = self.wait(timeout)
        if missing:
            reports = "report is" if missing == 1 else "reports are"
            self._user_warnings.warn(
                f"{missing} {reports} not created, because the process ends; the records of the "
                "searches are complete. `trackmllib report` creates them."
            )

    def _complete_run_links(self, search: ActiveSearch) -> RunLinks:
        self._relay.wait_until(
            lambda: not self._outbox.waiting(search.search_id), search.search_id, RUN_IDS_SECONDS
        )
        return self._results_registry.run_links(search)

    def _log(self, search: ActiveSearch, html: FileText, png: bytes | None) -> None:
        """Enqueue the files of a report."""
        search_id = search.search_id
        files = [LogArtifact(search_id=search_id, file_name=REPORT, **html._asdict())]
        if png is not None:
            text = base64.b64encode(png).decode("ascii")
            files.append(
                LogArtifact(search_id=search_id, file_name=FIGURE, text=text, is_base64=True)
            )
        self._late_operations.enqueue(search, files)
