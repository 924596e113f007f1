"""Handlers at the end of the process, which deliver the records."""

from __future__ import annotations

import atexit
import math
import os
from collections.abc import Callable

from trackmllib.config.settings import Settings
from trackmllib.domain.descriptions import Failure
from trackmllib.domain.events import Event, SearchFailed
from trackmllib.outbox.base import Outbox
from trackmllib.outbox.process import ProcessOutbox
from trackmllib.outbox.relay import Relay
from trackmllib.runtime.active_searches import ActiveSearches
from trackmllib.runtime.event_pipeline import EventPipeline
from trackmllib.runtime.flush import FlushWait
from trackmllib.runtime.recovery import BackgroundRecovery
from trackmllib.runtime.search_reports import SearchReports
from trackmllib.runtime.signals import TerminationHandler
from trackmllib.runtime.user_warnings import UserWarnings
from trackmllib.support import formatting
from trackmllib.support.clock import Clock
from trackmllib.support.thread_exit import before_pools_stop, unregister

# After SIGTERM, a process may exceed the flush timeout by this.
TERMINATION_SECONDS = 2.0


class ProcessExit:
    """Ends open searches and delivers all records, at exit and at SIGTERM.

    All waits together take at most the longest flush timeout.

    :param emit: Called with the last event of each open search at exit.
    """

    def __init__(
        self,
        *,
        searches: ActiveSearches,
        pipeline: EventPipeline,
        emit: Callable[[Event], None],
        outbox: Outbox,
        relay: Relay,
        recovery: BackgroundRecovery,
        reports: SearchReports,
        flush_wait: FlushWait,
        user_warnings: UserWarnings,
        clock: Clock,
        current_settings: Callable[[], Settings],
    ) -> None:
        self._searches = searches
        self._pipeline = pipeline
        self._emit = emit
        self._outbox = outbox
        self._relay = relay
        self._recovery = recovery
        self._reports = reports
        self._flush_wait = flush_wait
        self._user_warnings = user_warnings
        self._clock = clock
        self._current_settings = current_settings
        self._process = os.getpid()
        # End of all waits, by the monotonic clock; None until the process exits.
        self._deadline: float | None = None
        # Rest of the flush timeout after the first handler.
        self._seconds_left = math.inf
        self._termination = TerminationHandler(
            self._terminate, lambda: self._longest_timeout() + TERMINATION_SECONDS
        )

    def install(self) -> None:
        """Install all handlers. Idempotent."""
        self._termination.install()
        before_pools_stop(self.before_pools_stop)
        atexit.unregister(self.at_exit)
        atexit.register(self.at_exit)

    def uninstall(self) -> None:
        """Restore the signal handler. The outbox is still delivered at exit."""
        self._termination.uninstall()

    def discard(self) -> None:
        """Remove all handlers, so that nothing is delivered at exit; for tests."""
        self.uninstall()
        atexit.unregister(self.at_exit)
        unregister(self.before_pools_stop)

    def before_pools_stop(self) -> None:
        """Deliver the outbox while artifact stores still accept uploads.

        Does nothing while a search runs in a thread that Python waits for. Artifacts that can no
        longer be uploaded stay on disk.
        """
        running = any(not search.closed for search in self._searches.all())
        if os.getpid() != self._process or running:
            return
        self._reports.wait(self._remaining_seconds() / 2)
        self._relay.flush(None, self._remaining_seconds())
        # Other threads may run for hours after this; count only the time of these waits.
        self._seconds_left = self._remaining_seconds()
        self._deadline = None

    def at_exit(self) -> None:
        """End open searches, and deliver what is left."""
        if os.getpid() != self._process:
            return
        for event in self._last_events("the process ended while the search was running"):
            self._emit(event)
        self._reports.wait_at_exit(self._remaining_seconds() / 2)
        self._deliver()

    def _terminate(self) -> None:
        """End open searches, and the user's runs, which nothing else ends."""
        for event in self._last_events("the process was ended by SIGTERM"):
            search = self._searches.get(event.search_id)
            if search is not None:
                self._pipeline.record_process_end(search, event)
        self._reports.wait_at_exit(0.0)
        self._deliver()

    def _last_events(self, message: str) -> list[SearchFailed]:
        failure = Failure(type="SystemExit", message=message, traceback=message, interrupted=True)
        now = self._clock.now_ms()
        return [
            SearchFailed(search_id=search.search_id, time_ms=now, failure=failure)
            for search in self._searches.all()
        ]

    def _deliver(self) -> None:
        """Deliver until the flush timeout, and warn of what is left."""
        waiting = self._relay.flush(None, self._remaining_seconds())
        on_disk = self._outbox if isinstance(self._outbox, ProcessOutbox) else None
        if on_disk is None or not on_disk.is_on_disk():
            # No other process can deliver operations in memory.
            waiting += self._relay.undelivered().deferred
        stopped = self._relay.stop()
        if waiting:
            self._user_warnings.warn(self._undelivered_warning(waiting, on_disk is not None))
        if stopped and on_disk is not None:
            on_disk.release()
        self._recovery.stop()

    def _undelivered_warning(self, waiting: int, has_directory: bool) -> str:
        operations = (
            f"{formatting.count(waiting, 'operation')} did not reach the tracking server before "
            "the process ended"
        )
        if not has_directory:
            return f"{operations}, and cannot be delivered later. The training is not affected."
        reason = self._relay.last_error() or "the flush timeout was over"
        return f"{operations} ({reason}). {self._flush_wait.fate_at_exit()}"

    def _remaining_seconds(self) -> float:
        """Rest of the flush timeout, which all waits at exit share."""
        now = self._clock.monotonic()
        if self._deadline is None:
            self._deadline = now + min(self._seconds_left, self._longest_timeout())
        return max(0.0, self._deadline - now)

    def _longest_timeout(self) -> float:
        """Longest flush timeout of the session and all active searches."""
        of_searches = [search.settings.flush_timeout for search in self._searches.all()]
        return max([self._current_settings().flush_timeout, *of_searches])
