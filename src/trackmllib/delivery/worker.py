"""The delivery thread: peek, apply, acknowledge."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from trackmllib.delivery.backoff import Backoff
from trackmllib.errors import DeliveryError, Unavailable
from trackmllib.operations import Operation, coalesce
from trackmllib.outbox.base import Outbox

logger = logging.getLogger(__name__)

MOST_ROWS = 1000
IDLE_SECONDS = 5.0


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
    never kept alive by it. ``refused`` is told of each operation that will never be accepted, and
    why.
    """

    def __init__(
        self,
        outbox: Outbox,
        target: Target,
        refused: Callable[[Operation, Exception], None],
        backoff: Backoff | None = None,
    ) -> None:
        self._outbox = outbox
        self._target = target
        self._refused = refused
        self._backoff = backoff or Backoff()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._last_trouble: DeliveryError | None = None

    @property
    def last_trouble(self) -> DeliveryError | None:
        """Why the row at the head of the outbox could not be sent, if so."""
        return self._last_trouble

    def start(self) -> None:
        """Start the thread if it does not run. Call it after each ``put``."""
        with self._lock:
            if self._thread is None:
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
                self._deliver()
                continue
            with self._lock:
                # A put before this moment is seen here; one after it finds no thread, and starts.
                if not self._outbox.waiting():
                    self._thread = None
                    return

    def _deliver(self) -> None:
        for numbers, operation in coalesce(self._outbox.peek(MOST_ROWS)):
            if self._stop.is_set():
                return
            try:
                self._target.apply(operation)
            except Unavailable as error:
                self._last_trouble = error
                logger.debug("Delivery waits: %s", error)
                self._stop.wait(self._backoff.next_delay())
                return
            except Exception as error:  # noqa: BLE001 - one bad row must not end the thread
                # Refused, or a mistake of ours: either way the rest must not wait behind it.
                self._outbox.set_aside(numbers, str(error))
                self._refused(operation, error)
            else:
                self._outbox.acknowledge(numbers)
            self._last_trouble = None
            self._backoff.reset()
