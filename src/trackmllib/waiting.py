"""Waits for the delivery of a search, and says where the rest of it is."""

from __future__ import annotations

from trackmllib import plural
from trackmllib.clock import Clock
from trackmllib.delivery.worker import Delivery
from trackmllib.errors import Unauthorized
from trackmllib.interrupts import HeldInterrupt
from trackmllib.outbox.base import Outbox
from trackmllib.outbox.process import ProcessOutbox
from trackmllib.redaction import redacted
from trackmllib.running import RunningSearch, RunningSearches
from trackmllib.voice import Voice

# fit() says that it waits when it has waited so long.
QUIET_SECONDS = 2.0
# The longest time between a Ctrl-C and the end of the wait.
SLICE_SECONDS = 0.25


class Waiting:
    """For the thread of ``fit()``, at its end: with one line if it takes long, and an end to it."""

    def __init__(
        self,
        searches: RunningSearches,
        delivery: Delivery,
        outbox: Outbox,
        clock: Clock,
        voice: Voice,
    ) -> None:
        self._searches = searches
        self._delivery = delivery
        self._outbox = outbox
        self._clock = clock
        self._voice = voice

    def wait_for(self, search: RunningSearch) -> None:
        """Wait for all of a search; add a problem if some of it is left, except after a Ctrl-C."""
        search.interrupt.ends_wait = True
        search_id = search.result.search_id
        timeout = search.settings.flush_timeout
        server = redacted(search.destination.tracking_uri)
        waiting = self._deliver(search, min(timeout, QUIET_SECONDS))
        goes_on = self._may_be_delivered(search_id) and not search.interrupt.pressed
        if waiting and timeout > QUIET_SECONDS and goes_on:
            self._voice.warn(
                f"Waiting for {server}: {_operations(waiting)} not delivered yet. fit() returns in "
                f"{timeout - QUIET_SECONDS:g} s at the latest; trackmllib sends the rest later",
                search.settings,
            )
            waiting = self._deliver(search, timeout - QUIET_SECONDS)
        if waiting and not search.interrupt.pressed:
            trouble = self._delivery.last_error(search_id)
            search.add_problem(
                f"{_operations(waiting)} not delivered after {timeout:g} s "
                f"({server if trouble is None else trouble}); {self._where_they_are(search_id)}"
            )

    def after_interrupt(self, search: RunningSearch) -> str:
        """The warning after a Ctrl-C has ended the wait."""
        search_id = search.result.search_id
        server = redacted(search.destination.tracking_uri)
        outcome = "returns its model" if search.result.failure is None else "raises its error"
        waiting = sum(
            self._outbox.waiting(one.result.search_id) for one in self._searches.whole(search)
        )
        left = "all of it is delivered"
        if waiting:
            left = f"{_operations(waiting)} not delivered yet; {self._where_they_are(search_id)}"
        return f"Ctrl-C ended the wait for {server}; fit() {outcome}. Search {search_id}: {left}."

    def what_remains(self) -> str:
        """Where that is which is not delivered when the process ends."""
        if isinstance(self._outbox, ProcessOutbox) and not self._outbox.is_on_disk():
            return "What the disk did not take is lost; the next search sends the rest."
        return "All of it is safe on disk: the next search sends it, or `trackmllib sync` does."

    def _deliver(self, search: RunningSearch, timeout: float) -> int:
        """Wait for a search and those inside of it; how many operations are left."""
        deadline = self._clock.monotonic() + timeout
        left = 0
        for one in self._searches.whole(search):
            rest = max(0.0, deadline - self._clock.monotonic())
            left += self._deliver_one(one.result.search_id, rest, search.interrupt)
        return left

    def _deliver_one(self, search_id: str, timeout: float, interrupt: HeldInterrupt) -> int:
        """Wait for one search, in slices; the number of operations that are left."""
        while True:
            slice_seconds = 0.0 if interrupt.pressed else min(timeout, SLICE_SECONDS)
            left = self._delivery.flush(search_id, slice_seconds)
            timeout -= slice_seconds
            if interrupt.pressed or timeout <= 0.0 or left <= self._delivery.stuck(search_id):
                return left

    def _may_be_delivered(self, search_id: str) -> bool:
        return not isinstance(self._delivery.trouble(search_id), Unauthorized)

    def _where_they_are(self, search_id: str) -> str:
        if isinstance(self._outbox, ProcessOutbox) and self._outbox.is_on_disk(search_id):
            return (
                "all of it is safe on disk: trackmllib sends it in the background while this "
                "process runs, else the next program or `trackmllib sync` does"
            )
        return "it is sent in the background for as long as this process runs, and no longer"


def _operations(waiting: int) -> str:
    return plural.count(waiting, "operation is", "operations are")
