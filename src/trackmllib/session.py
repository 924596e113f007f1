"""Wires the house together: seam, results, recorder, outbox, delivery and tracking."""

from __future__ import annotations

import atexit
import logging
import math
import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from trackmllib.clock import Clock, SystemClock
from trackmllib.delivery.worker import Delivery, Target
from trackmllib.errors import IncompleteRecord
from trackmllib.events import Event, Failure, SearchFailed, SearchFinished, SearchStarted
from trackmllib.guard import Guard
from trackmllib.operations import Destination, Operation
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.recorder.record import Recorder
from trackmllib.results import SearchResult
from trackmllib.settings import Settings, is_enabled
from trackmllib.spark.seam import Seam
from trackmllib.tracking.active import current_destination
from trackmllib.tracking.apply import MlflowTracking
from trackmllib.tracking.mute import MlflowMute
from trackmllib.tracking.uris import redacted

logger = logging.getLogger("trackmllib")

Listener = Callable[[Event], None]


class _Search:
    """A search while it runs: its table, its record, and what went wrong with the record."""

    def __init__(self, destination: Destination, started: SearchStarted) -> None:
        self.destination = destination
        self.result = SearchResult(started)
        self.recorder = Recorder(destination, self.result)
        self.closed = False
        self._problems: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add_problem(self, reason: str) -> bool:
        """Keep a reason why the record is not complete; whether it is a new one."""
        with self._lock:
            self._problems[reason] += 1
            return self._problems[reason] == 1

    def missing(self) -> str:
        """The one warning of a search: what is missing from its record, and why; or nothing."""
        with self._lock:
            reasons = [
                reason if times == 1 else f"{reason} ({times} times)"
                for reason, times in self._problems.items()
            ]
        if not reasons:
            return ""
        return (
            f"The record of search {self.result.search_id} in MLflow is not complete. The training "
            f"is not affected. {'; '.join(reasons)}."
        )


class Session:
    """Recording, from ``start`` to ``stop``. Nothing runs before the first search.

    ``target`` and ``destination`` stand for MLflow and can be replaced in tests; listeners are
    called with each event on Spark's threads.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        target: Target | None = None,
        destination: Callable[[], Destination] = current_destination,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.process = os.getpid()
        self.running = False
        self._destination = destination
        self._listeners = tuple(listeners)
        self._searches: dict[str, _Search] = {}
        self._refused_conf: set[str] = set()
        self._outbox = MemoryOutbox()
        self._target = target or MlflowTracking(self._problem)
        self._delivery = Delivery(self._outbox, self._target, self._refused)
        self._seam = Seam(self, new_id, self._enabled)
        self._mute = MlflowMute(self._seam.inside_search)

    def start(self) -> None:
        """Put the patches in; again is no change."""
        self.running = True
        self._mute.install()
        self._seam.install()
        atexit.unregister(self._at_exit)
        atexit.register(self._at_exit)

    def stop(self) -> None:
        """Take the patches out. What waits in the outbox is still delivered."""
        self.running = False
        self._seam.uninstall()
        self._mute.uninstall()

    # What the seam calls, on Spark's threads.

    def emit(self, event: Event) -> None:
        if os.getpid() != self.process:
            return
        if isinstance(event, SearchStarted):
            self._searches[event.search_id] = _Search(self._destination(), event)
        search = self._searches.get(event.search_id)
        if search is None or search.closed:
            return
        recorded = False
        try:
            with self.guard(event.search_id, f"recording {type(event).__name__}"):
                self._record(search, event)
                recorded = True
            for listener in self._listeners:
                with self.guard(event.search_id, "telling a listener"):
                    listener(event)
        finally:
            if isinstance(event, (SearchFinished, SearchFailed)):
                if not recorded:
                    self._put(search.recorder.abandon(event, search.result))
                self._close(search, interrupted=_interrupted(event))

    def _record(self, search: _Search, event: Event) -> None:
        search.result.apply(event)
        self._put(search.recorder.operations(event, search.result))

    def _put(self, operations: Iterable[Operation]) -> None:
        """Put operations into the outbox; where making one of them raises, those before it."""
        made: list[Operation] = []
        try:
            made.extend(operations)
        finally:
            self._outbox.put(made)
            self._delivery.start()

    def guard(self, search_id: str, doing: str) -> Guard:
        def report(what: str, error: Exception) -> None:
            logger.debug("trackmllib failed at %s", what, exc_info=error)
            self._problem(search_id, f"{what} failed: {type(error).__name__}: {error}")

        return Guard(doing, report, strict=self.settings.strict)

    def _enabled(self, conf: Callable[[str], str | None]) -> bool:
        return is_enabled(conf, self._warn_of_conf)

    def _warn_of_conf(self, sentence: str) -> None:
        if sentence not in self._refused_conf:
            self._refused_conf.add(sentence)
            self._warn(sentence)

    # What the delivery thread calls.

    def _refused(self, operation: Operation, error: Exception) -> None:
        logger.debug("Refused: %r", operation, exc_info=error)
        self._problem(operation.search_id, str(error))

    # The end of a search, and of the process.

    def _close(self, search: _Search, *, interrupted: bool) -> None:
        """Wait for the delivery, unless the search was interrupted, and say what is missing."""
        search_id = search.result.search_id
        try:
            if not interrupted:
                self._warn_of_nan(search.result)
                self._flush(search_id, search)
            text = search.missing()
            if text and self.settings.strict:
                raise IncompleteRecord(text)
            if text:
                self._warn(text)
        finally:
            search.closed = True
            self._forget_delivered()

    def _flush(self, search_id: str, search: _Search) -> None:
        timeout = self.settings.flush_timeout
        waiting = self._delivery.flush(search_id, timeout)
        if waiting:
            trouble = self._delivery.trouble(search_id)
            reason = redacted(search.destination.tracking_uri) if trouble is None else trouble
            search.add_problem(
                f"{waiting} operations are not delivered after {timeout:g} s ({reason}); they are "
                "sent in the background for as long as this process runs"
            )

    def _forget_delivered(self) -> None:
        for search_id, search in list(self._searches.items()):
            if search.closed and not self._outbox.waiting(search_id):
                self._searches.pop(search_id, None)
                self._target.forget(search_id)

    def _at_exit(self) -> None:
        """End what still runs in threads that die with the process, and send what waits."""
        if os.getpid() != self.process:
            return
        failure = Failure(
            type="SystemExit",
            message="the process ended while the search was running",
            traceback="",
            interrupted=True,
        )
        for search_id, search in list(self._searches.items()):
            if not search.closed:
                now = self.clock.now_ms()
                self.emit(SearchFailed(search_id=search_id, time_ms=now, failure=failure))
        waiting = self._delivery.flush(None, self.settings.flush_timeout)
        self._delivery.stop()
        if waiting:
            self._warn(
                f"{waiting} operations did not reach the tracking server before the process "
                "ended, and are lost."
            )

    # Warnings.

    def _problem(self, search_id: str, reason: str) -> None:
        """Keep what went wrong for the one warning of the search, or say it if that is late."""
        search = self._searches.get(search_id)
        is_new = search is None or search.add_problem(reason)
        if is_new and (search is None or search.closed):
            self._warn(f"{reason}. The training is not affected.")

    def _warn_of_nan(self, result: SearchResult) -> None:
        best = result.best
        average = None if best is None else result.candidates[best].average
        if average is not None and math.isnan(average):
            self._warn(
                f"Candidate {best} of search {result.search_id} won with a score of NaN: Spark "
                "takes NaN for the best of all scores. Look at what makes the evaluator return it."
            )

    def _warn(self, text: str) -> None:
        logger.log(logging.DEBUG if self.settings.silent else logging.WARNING, "%s", text)


def _interrupted(event: Event) -> bool:
    return isinstance(event, SearchFailed) and event.failure.interrupted
