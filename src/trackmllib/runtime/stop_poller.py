"""Poller of requests to stop a search."""

from __future__ import annotations

import math
import threading
import time

from trackmllib.exceptions import DeliveryError
from trackmllib.runtime.active_searches import ActiveSearch, ActiveSearches
from trackmllib.support.clock import Clock
from trackmllib.tracking.executor import MlflowExecutor

# The first poll is later, because a search is rarely stopped at once.
FIRST_SECONDS = 10.0
EVERY_SECONDS = 5.0


class StopPoller:
    """Polls the stop tag of each running search, in a background thread."""

    def __init__(self, searches: ActiveSearches, executor: MlflowExecutor, clock: Clock) -> None:
        self._searches = searches
        self._executor = executor
        self._clock = clock
        # Start of each search, by the monotonic clock.
        self._started: dict[str, float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start to poll, until all searches have ended. Idempotent."""
        with self._lock:
            for search in self._searches.all():
                self._started.setdefault(search.search_id, self._clock.monotonic())
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="trackmllib-stop", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(EVERY_SECONDS)
            running = [search for search in self._searches.all() if _is_polled(search)]
            for search in running:
                self._poll(search)
            if running:
                continue
            with self._lock:
                # A search that starts after this check starts another thread.
                if not any(_is_polled(search) for search in self._searches.all()):
                    self._thread = None
                    self._started.clear()
                    return

    def _poll(self, search: ActiveSearch) -> None:
        started = self._started.get(search.search_id, -math.inf)
        if search.stop_requested or self._clock.monotonic() - started < FIRST_SECONDS:
            return
        try:
            search.stop_requested = self._executor.is_stop_requested(search.search_id)
        except DeliveryError:
            # The next poll may succeed.
            return


def _is_polled(search: ActiveSearch) -> bool:
    return search.settings.record and search.state.end_ms is None and not search.is_nested
