"""Notices that somebody has asked for the end of a search: by a tag on its main run.

In a thread of its own, which asks the server now and then while a search runs that is long enough
for somebody to have come to that thought. No thread of Spark's waits for it.
"""

from __future__ import annotations

import math
import threading
import time

from trackmllib.clock import Clock
from trackmllib.errors import DeliveryError
from trackmllib.running import RunningSearch, RunningSearches
from trackmllib.tracking.apply import MlflowTracking

FIRST_SECONDS = 10.0
EVERY_SECONDS = 5.0


class Stopping:
    """Looks for the tag as long as recorded searches run."""

    def __init__(self, searches: RunningSearches, tracking: MlflowTracking, clock: Clock) -> None:
        self._searches = searches
        self._tracking = tracking
        self._clock = clock
        # The start of each search, by the monotonic clock.
        self._began: dict[str, float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self) -> None:
        """A search has begun."""
        with self._lock:
            for search in self._searches.all():
                self._began.setdefault(search.result.search_id, self._clock.monotonic())
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._look, name="trackmllib-stop", daemon=True
                )
                self._thread.start()

    def _look(self) -> None:
        while True:
            time.sleep(EVERY_SECONDS)
            running = [search for search in self._searches.all() if _runs(search)]
            if not running:
                with self._lock:
                    # One that has begun meanwhile starts another thread.
                    if not any(_runs(search) for search in self._searches.all()):
                        self._thread = None
                        self._began.clear()
                        return
                continue
            for search in running:
                self._look_at(search)

    def _look_at(self, search: RunningSearch) -> None:
        began = self._began.get(search.result.search_id, -math.inf)
        if search.stop_asked or self._clock.monotonic() - began < FIRST_SECONDS:
            return
        try:
            search.stop_asked = self._tracking.take_stop(search.result.search_id)
        except DeliveryError:
            # It cannot be reached now; next time, perhaps.
            return


def _runs(search: RunningSearch) -> bool:
    return search.settings.record and search.result.end_ms is None and search.result.parent is None
