"""Relay thread that delivers the rows of an outbox."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from trackmllib.domain.operations import Operation
from trackmllib.exceptions import Unauthorized, Unavailable
from trackmllib.outbox.backoff import Backoff
from trackmllib.outbox.base import Outbox, Undelivered
from trackmllib.outbox.dispatcher import Dispatcher
from trackmllib.outbox.target import Target, TransactionalTarget

logger = logging.getLogger(__name__)

IDLE_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 0.1
STOP_SECONDS = 1.0
# While no thread waits for delivery, the relay rests for RESTS times its computing time and for
# RESTS_OF_SERVER times its wait for the server; the latter is bounded, because a server that does
# not answer does no work.
RESTS, RESTS_OF_SERVER = 3.0, 2.0
MOST_SECONDS_OF_SERVER = 1.0
# With transactions, the relay rests at least this long, so that each gathers more operations.
GATHERS_SECONDS = 1.0


class Relay:
    """Thread that delivers the rows of an outbox to a target.

    It runs from ``start`` until no row has come for a while. As a daemon, it keeps no process
    alive.

    :param on_failure: Called with each operation that is rejected or deferred, and with the error;
        not with dependents that are deferred in the same step.
    :param exclude: Searches that are not sent.
    :param flush_expected: Whether a running search will wait for its delivery.
    """

    def __init__(
        self,
        outbox: Outbox,
        target: Target,
        on_failure: Callable[[Operation, Exception], None],
        new_backoff: Callable[[], Backoff] = Backoff,
        exclude: Collection[str] = (),
        transactional: TransactionalTarget | None = None,
        flush_expected: Callable[[], bool] = lambda: False,
    ) -> None:
        self._outbox = outbox
        self._flush_expected = flush_expected
        self._stop = threading.Event()
        self._dispatcher = Dispatcher(
            outbox, target, on_failure, new_backoff, exclude, transactional, self._stop.is_set
        )
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._flushes = 0
        self._hurried = threading.Event()
        self._is_urgent = False
        self._thread_refused = False

    def last_error(self, search_id: str | None = None) -> Unavailable | None:
        """The error that blocks all operations of a search, or of any search."""
        return self._dispatcher.last_error(search_id)

    def pending_error(self, search_id: str) -> Unavailable | None:
        """The error of a waiting operation, even if others are delivered."""
        return self._dispatcher.pending_error(search_id)

    def blocked_count(self, search_id: str | None = None) -> int:
        """Number of pending operations that waits skip.

        They need other credentials, or are artifacts whose store fails while the server answers.
        """
        return self._dispatcher.blocked_count(search_id)

    def undelivered(self, search_id: str | None = None) -> Undelivered:
        """Counts of unacknowledged operations."""
        return self._outbox.undelivered(search_id)

    def retry_unauthorized(self) -> None:
        """Retry operations that need other credentials."""
        self._dispatcher.retry_unauthorized()

    def start(self, *, urgent: bool = False) -> None:
        """Start the thread if it does not run. Call it after each ``enqueue``.

        :param urgent: Deliver at once, without lingering or resting first.
        """
        with self._lock:
            if urgent:
                self._is_urgent = True
                self._hurried.set()
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name="trackmllib-relay", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    # Python starts no threads while it shuts down: flush() delivers instead.
                    self._thread_refused = True
                else:
                    self._thread = thread

    def deliver_ready(self) -> bool:
        """Deliver what is ready, on the calling thread; False if nothing is ready.

        Nothing lingers. The relay thread must not be running.
        """
        return self._dispatcher.dispatch(linger=False)

    def flush(self, search_id: str | None, timeout: float | None) -> int:
        """Wait until no operation waits; return how many still do.

        Does not wait for operations that need other credentials or are deferred or rejected,
        because waiting does not deliver them. Artifacts that fail repeatedly are retried once.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        self._dispatcher.retry_stuck(search_id)
        with self._hurry():
            while True:
                rest = min(0.25, deadline - time.monotonic())
                if self._outbox.wait_until_empty(search_id, max(0.0, rest)):
                    return 0
                if self._thread_refused:
                    self.deliver_ready()
                left = self._outbox.waiting(search_id)
                if rest <= 0.0 or left <= self.blocked_count(search_id):
                    return left

    def wait_until(self, done: Callable[[], bool], search_id: str, patience: float) -> bool:
        """Wait for a condition that delivery fulfils; return whether it holds.

        Returns early if nothing waits, if the server needs other credentials, or if an operation of
        the search has been failing for ``patience`` seconds.
        """
        unavailable_since = math.inf
        with self._hurry():
            while not done():
                now = time.monotonic()
                error = self.last_error(search_id)
                is_failing = self.pending_error(search_id) is not None
                unavailable_since = min(unavailable_since, now) if is_failing else math.inf
                idle = self._stop.is_set() or not self._outbox.waiting(search_id)
                hopeless = idle or isinstance(error, Unauthorized)
                if hopeless or now - unavailable_since > patience:
                    return done()
                with self._outbox.changed:
                    self._outbox.changed.wait(LOOK_AGAIN_SECONDS)
        return True

    def stop(self) -> bool:
        """Stop the thread; return whether it has ended within STOP_SECONDS."""
        self._stop.set()
        self._hurried.set()
        thread = self._thread
        if thread is not None:
            thread.join(STOP_SECONDS)
        return thread is None or not thread.is_alive()

    @contextmanager
    def _hurry(self) -> Iterator[None]:
        """Deliver without lingering or resting while another thread waits."""
        with self._lock:
            self._flushes += 1
            self._hurried.set()
        try:
            yield
        finally:
            with self._lock:
                self._flushes -= 1
                if not (self._flushes or self._is_urgent or self._stop.is_set()):
                    self._hurried.clear()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._outbox.maintain()
                if self._wait_for_rows():
                    began = (time.monotonic(), time.thread_time())
                    if self._dispatcher.dispatch(linger=self._take_urgency()):
                        self._rest(*began)
                    else:
                        self._stop.wait(LOOK_AGAIN_SECONDS)
                    continue
            except Exception:
                # No other thread delivers, so this one continues after any error.
                logger.debug("Delivery failed, and continues", exc_info=True)
                self._stop.wait(LOOK_AGAIN_SECONDS)
                continue
            with self._lock:
                # A row enqueued before this check is seen; a later one starts a new thread.
                if not self._outbox.waiting():
                    self._thread = None
                    return

    def _take_urgency(self) -> bool:
        """Return whether rows may linger, and reset the urgency."""
        with self._lock:
            urgent, self._is_urgent = self._is_urgent, False
            if not self._flushes and not self._stop.is_set():
                self._hurried.clear()
            return not (urgent or self._flushes)

    def _rest(self, began: float, computed: float) -> None:
        """Leave Python and the server to others, unless a thread waits.

        While this thread computes, each of Spark's threads may wait 5 ms at a time for the GIL. If
        a search will wait for its delivery, a rest now would make it wait longer.
        """
        computing = time.thread_time() - computed
        waited = time.monotonic() - began - computing
        rest = 0.0
        if not self._flush_expected():
            of_server = min(RESTS_OF_SERVER * waited, MOST_SECONDS_OF_SERVER)
            rest = max(RESTS * computing - waited, of_server)
        if self._dispatcher.runs_per_transaction() > 1:
            rest = max(rest, GATHERS_SECONDS - waited)
        if rest > 0.0:
            self._hurried.wait(rest)

    def _wait_for_rows(self) -> bool:
        """Wait for rows in short slices, so that ``stop`` need not wait long."""
        deadline = time.monotonic() + IDLE_SECONDS
        while not self._stop.is_set() and time.monotonic() < deadline:
            if self._outbox.wait_for_rows(min(LOOK_AGAIN_SECONDS, IDLE_SECONDS)):
                return True
        return False
