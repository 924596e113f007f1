"""The delivery thread: peek, apply, acknowledge."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from trackmllib.delivery.backoff import Backoff
from trackmllib.errors import Unavailable
from trackmllib.operations import Operation, coalesce
from trackmllib.outbox.base import Outbox

logger = logging.getLogger(__name__)

MOST_ROWS = 1000
IDLE_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 0.1


class Target(Protocol):
    """Where operations go."""

    def apply(self, operation: Operation) -> None:
        """Carry out one operation; applying it again changes nothing.

        Raises Unavailable where a later try may succeed, and Refused where none will.
        """
        ...

    def forget(self, search_id: str) -> None:
        """Nothing more will come of this search."""
        ...


class Delivery:
    """Takes operations out of an outbox and applies them to a target, for as long as it takes.

    The thread runs from ``start`` until nothing has come for a while. It is a daemon: a process is
    never kept alive by it. A search whose server is away is tried again later, and does not keep
    others waiting. ``refused`` is told of each operation that will never be accepted, and why.
    """

    def __init__(
        self,
        outbox: Outbox,
        target: Target,
        refused: Callable[[Operation, Exception], None],
        new_backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        self._outbox = outbox
        self._target = target
        self._refused = refused
        self._new_backoff = new_backoff
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._paused: dict[str, _Pause] = {}

    def trouble(self, search_id: str) -> Unavailable | None:
        """Why the operations of a search could not be sent the last time, if so."""
        pause = self._paused.get(search_id)
        return None if pause is None else pause.error

    def start(self) -> None:
        """Start the thread if it does not run. Call it after each ``put``."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="trackmllib-delivery", daemon=True
                )
                self._thread.start()

    def flush(self, search_id: str | None, timeout: float) -> int:
        """Wait for one search or all, ``timeout`` seconds at most; how many operations are left."""
        self._outbox.wait_until_empty(search_id, timeout)
        return self._outbox.waiting(search_id)

    def stop(self) -> None:
        """Ask the thread to end after the operation at hand."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._outbox.wait_for_rows(IDLE_SECONDS):
                if not self._deliver():
                    self._stop.wait(LOOK_AGAIN_SECONDS)
                continue
            with self._lock:
                # A put before this moment is seen here; one after it finds no thread, and starts.
                if not self._outbox.waiting():
                    self._thread = None
                    return

    def _deliver(self) -> bool:
        """Send what is ready of one run; False if all that waits is paused."""
        now = time.monotonic()
        paused = {search_id for search_id, pause in self._paused.items() if pause.until > now}
        rows = self._outbox.peek(MOST_ROWS, without=paused)
        for numbers, operation in coalesce(rows):
            if self._stop.is_set():
                break
            try:
                self._target.apply(operation)
            except Unavailable as error:
                logger.debug("Delivery waits: %s", error)
                self._pause(operation.search_id, error)
                break
            except Exception as error:  # noqa: BLE001 - one bad row must not end the thread
                # Refused, or a mistake of ours: either way the rest must not wait behind it.
                self._refused(operation, error)
                self._outbox.set_aside(numbers, str(error))
            else:
                self._outbox.acknowledge(numbers)
            self._paused.pop(operation.search_id, None)
        return bool(rows)

    def _pause(self, search_id: str, error: Unavailable) -> None:
        before = self._paused.get(search_id)
        backoff = self._new_backoff() if before is None else before.backoff
        until = time.monotonic() + backoff.next_delay()
        self._paused[search_id] = _Pause(until, backoff, error)


class _Pause(NamedTuple):
    """A search whose server is away: when to try again, and why it failed."""

    until: float
    backoff: Backoff
    error: Unavailable
