"""Wait of ``fit()`` for the delivery of its search."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trackmllib.exceptions import Unauthorized
from trackmllib.outbox.base import Outbox
from trackmllib.outbox.process import ProcessOutbox
from trackmllib.outbox.relay import Relay
from trackmllib.runtime.active_searches import ActiveSearch, ActiveSearches
from trackmllib.runtime.interrupts import DeferredInterrupt
from trackmllib.runtime.problems import Problems
from trackmllib.runtime.user_warnings import UserWarnings
from trackmllib.support import formatting
from trackmllib.support.clock import Clock
from trackmllib.support.redaction import redacted

# fit() warns if it waits longer.
QUIET_SECONDS = 2.0
# Maximum time from a Ctrl-C to the end of the wait.
SLICE_SECONDS = 0.25


class FlushWait:
    """Waits for delivery in the thread of ``fit()``, until Ctrl-C."""

    def __init__(
        self,
        searches: ActiveSearches,
        outbox: Outbox,
        relay: Relay,
        problems: Problems,
        user_warnings: UserWarnings,
        clock: Clock,
    ) -> None:
        self._searches = searches
        self._outbox = outbox
        self._relay = relay
        self._problems = problems
        self._user_warnings = user_warnings
        self._clock = clock

    def wait_for(self, search: ActiveSearch) -> None:
        """Wait for the delivery of a search and its nested searches.

        Undelivered operations become a problem of the search, except after a Ctrl-C.
        """
        search.interrupt.ends_wait = True
        timeout = search.settings.flush_timeout
        server = redacted(search.destination.tracking_uri)
        waiting = self._flush(search, min(timeout, QUIET_SECONDS))
        is_unauthorized = isinstance(self._relay.last_error(search.search_id), Unauthorized)
        may_continue = not is_unauthorized and not search.interrupt.pressed
        if waiting and timeout > QUIET_SECONDS and may_continue:
            rest = timeout - QUIET_SECONDS
            self._user_warnings.warn(
                f"Waiting for {server}: {_operations(waiting)} not delivered yet. fit() returns "
                f"within {rest:g} s; trackmllib delivers the rest later.",
                search.settings,
            )
            waiting = self._flush(search, rest)
        if waiting and not search.interrupt.pressed:
            error = self._relay.pending_error(search.search_id)
            search.add_problem(
                f"{_operations(waiting)} not delivered after {timeout:g} s "
                f"({error or server}); {self._fate_of_rest(search.search_id)}"
            )

    @contextmanager
    def defer_interrupt(self, search: ActiveSearch) -> Iterator[None]:
        """Context in which the first Ctrl-C ends the wait, with a warning."""
        with search.interrupt:
            yield
        with self._problems.guard(search.search_id, "warning about the Ctrl-C"):
            if search.interrupt.pressed:
                self._user_warnings.warn(self._interrupt_warning(search), search.settings)

    def fate_at_exit(self) -> str:
        """Sentence about the operations that are left at exit."""
        if isinstance(self._outbox, ProcessOutbox) and not self._outbox.is_on_disk():
            return (
                "Operations that the disk did not accept are lost; the next autolog() delivers "
                "the rest."
            )
        return (
            "All of them are safe on disk; the next autolog() or `trackmllib sync` delivers them."
        )

    def _interrupt_warning(self, search: ActiveSearch) -> str:
        server = redacted(search.destination.tracking_uri)
        outcome = "returns its model" if search.state.failure is None else "raises its error"
        waiting = sum(
            self._outbox.waiting(each.search_id) for each in self._searches.with_nested(search)
        )
        rest = "its record is delivered"
        if waiting:
            rest = (
                f"{_operations(waiting)} not delivered yet; {self._fate_of_rest(search.search_id)}"
            )
        return (
            f"Ctrl-C ended the wait for {server}; fit() {outcome}. "
            f"Search {search.search_id}: {rest}."
        )

    def _flush(self, search: ActiveSearch, timeout: float) -> int:
        """Wait for a search and its nested searches; return the operations left."""
        deadline = self._clock.monotonic() + timeout
        left = 0
        for each in self._searches.with_nested(search):
            rest = max(0.0, deadline - self._clock.monotonic())
            left += self._flush_one(each.search_id, rest, search.interrupt)
        return left

    def _flush_one(self, search_id: str, timeout: float, interrupt: DeferredInterrupt) -> int:
        """Wait for one search, in slices; return the operations left."""
        while True:
            seconds = 0.0 if interrupt.pressed else min(timeout, SLICE_SECONDS)
            left = self._relay.flush(search_id, seconds)
            timeout -= seconds
            blocked = self._relay.blocked_count(search_id)
            if interrupt.pressed or timeout <= 0.0 or left <= blocked:
                return left

    def _fate_of_rest(self, search_id: str) -> str:
        if isinstance(self._outbox, ProcessOutbox) and self._outbox.is_on_disk(search_id):
            return (
                "all of them are safe on disk: trackmllib delivers them in the background while "
                "this process runs; after that, the next autolog() or `trackmllib sync` does"
            )
        return (
            "they are in memory: trackmllib delivers them in the background while this process "
            "runs; after that, they are lost"
        )


def _operations(number: int) -> str:
    return formatting.count(number, "operation is", "operations are")
