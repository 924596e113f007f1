"""The delivery thread: peek, apply, acknowledge."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import NamedTuple, Protocol

from trackmllib.delivery.backoff import Backoff
from trackmllib.errors import Busy, Unauthorized, Unavailable
from trackmllib.operations import Operation, Sending, coalesce
from trackmllib.outbox.base import Outbox

logger = logging.getLogger(__name__)

MOST_ROWS = 1000
IDLE_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 0.1
STOP_SECONDS = 1.0
# While nobody waits for it, nor will, the thread rests so many times as long as it computes, and so
# many times as long as the server works for it: so many seconds at most, because one that does not
# answer does not work.
RESTS, RESTS_OF_SERVER = 3.0, 2.0
MOST_SECONDS_OF_SERVER = 1.0
# Where much goes together, it is waited for so long.
GATHERS_SECONDS = 0.1


class Target(Protocol):
    """Where operations go."""

    def apply(self, operation: Operation, again: bool = False) -> None:
        """Carry out one operation. With ``again`` it may have been carried out before, and is to
        stand once nevertheless.

        Raises Unavailable where a later try may succeed (Unauthorized: with other credentials;
        Busy: more slowly, and nothing of this one was done), and Refused where none will.
        """
        ...

    def forget(self, search_id: str) -> None:
        """Nothing more will come of this search."""
        ...


class Together(Protocol):
    """What carries out many operations of one search at once, where that is cheaper."""

    def runs_at_once(self) -> int:
        """Of how many runs; 1 where they go one by one."""
        ...

    def fit_together(self, operations: Sequence[Operation]) -> int:
        """How many of the first ones go together."""
        ...

    def apply_together(self, operations: Sequence[Operation]) -> bool:
        """Carry out all of these or none; whether it did. Raises nothing."""
        ...


class Delivery:
    """Takes operations out of an outbox and applies them to a target, for as long as it takes.

    The thread runs from ``start`` until nothing has come for a while. It is a daemon: a process is
    never kept alive by it. A search whose server is away or busy is tried again later, and does not
    keep others waiting. ``refused`` is told of each operation that will never be accepted, and why.
    Nothing is sent of the searches in ``leave_alone``. ``will_wait`` says whether one that runs
    will wait for its delivery.
    """

    def __init__(
        self,
        outbox: Outbox,
        target: Target,
        refused: Callable[[Operation, Exception], None],
        new_backoff: Callable[[], Backoff] = Backoff,
        leave_alone: Collection[str] = (),
        together: Together | None = None,
        will_wait: Callable[[], bool] = lambda: False,
    ) -> None:
        self._outbox = outbox
        self._target = target
        self._refused = refused
        self._together = together
        self._will_wait = will_wait
        self._new_backoff = new_backoff
        self._leave_alone = frozenset(leave_alone)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._paused: dict[str, _Pause] = {}
        self._flushes = 0
        self._hurried = threading.Event()
        self._thread_refused = False

    def trouble(self, search_id: str | None = None) -> Unavailable | None:
        """Why the operations of a search, or of any, could not be sent the last time, if so."""
        if search_id is None:
            return next((pause.error for pause in self._pauses().values() if pause.error), None)
        pause = self._paused.get(search_id)
        return None if pause is None else pause.error

    def start(self) -> None:
        """Start the thread if it does not run. Call it after each ``put``."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name="trackmllib-delivery", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    # Python starts no thread any more at its end: whoever flushes then, delivers.
                    self._thread_refused = True
                else:
                    self._thread = thread

    def flush(self, search_id: str | None, timeout: float | None) -> int:
        """Wait for one search or all, ``timeout`` seconds at most; how many operations are left.

        Does not wait for what no time can mend: operations whose server wants other credentials.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        with self._hurry():
            while True:
                rest = min(0.25, deadline - time.monotonic())
                if self._outbox.wait_until_empty(search_id, max(0.0, rest)):
                    return 0
                if self._thread_refused:
                    self._deliver()
                left = self._outbox.waiting(search_id)
                if rest <= 0.0 or left <= self.stuck(search_id):
                    return left

    def wait_for(self, done: Callable[[], bool], search_id: str, patience: float) -> bool:
        """Wait until ``done`` says yes to what was delivered of a search; whether it has.

        For as long as the server takes what it is sent; while it is away, ``patience`` seconds, and
        not at all while it wants other credentials.
        """
        away_since = math.inf
        with self._hurry():
            while not done():
                now = time.monotonic()
                trouble = self.trouble(search_id)
                away_since = math.inf if trouble is None else min(away_since, now)
                nobody_sends = self._stop.is_set() or not self._outbox.waiting(search_id)
                hopeless = nobody_sends or isinstance(trouble, Unauthorized)
                if hopeless or now - away_since > patience:
                    return done()
                with self._outbox.changed:
                    self._outbox.changed.wait(LOOK_AGAIN_SECONDS)
        return True

    def stuck(self, search_id: str | None = None) -> int:
        """How many operations, of one search or of all, wait for other credentials."""
        return sum(map(self._outbox.waiting, self._without_permission(search_id)))

    def try_again(self) -> None:
        """Try again now what waits for other credentials: a new search may have brought them."""
        for search_id in self._without_permission(None):
            self._paused.pop(search_id, None)

    def stop(self) -> bool:
        """Ask the thread to end after the operation at hand; whether it has, within a second."""
        self._stop.set()
        self._hurried.set()
        thread = self._thread
        if thread is not None:
            thread.join(STOP_SECONDS)
        return thread is None or not thread.is_alive()

    @contextmanager
    def _hurry(self) -> Iterator[None]:
        """Nothing lingers while somebody waits for it."""
        with self._lock:
            self._flushes += 1
            self._hurried.set()
        try:
            yield
        finally:
            with self._lock:
                self._flushes -= 1
                if not self._flushes:
                    self._hurried.clear()

    def _without_permission(self, search_id: str | None) -> list[str]:
        return [
            paused
            for paused, pause in self._pauses().items()
            if isinstance(pause.error, Unauthorized) and search_id in (None, paused)
        ]

    def _pauses(self) -> dict[str, _Pause]:
        return dict(self._paused)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._outbox.tidy()
                if self._wait_for_rows():
                    began = (time.monotonic(), time.thread_time())
                    if self._deliver():
                        self._rest(*began)
                    else:
                        self._stop.wait(LOOK_AGAIN_SECONDS)
                    continue
            except Exception:
                # Whatever is wrong here, what waits is delivered by this thread or by none.
                logger.debug("Delivery failed, and goes on", exc_info=True)
                self._stop.wait(LOOK_AGAIN_SECONDS)
                continue
            with self._lock:
                # A put before this moment is seen here; one after it finds no thread, and starts.
                if not self._outbox.waiting():
                    self._thread = None
                    return

    def _rest(self, began: float, computed: float) -> None:
        """Leave Python to others for a while, if nobody waits for this thread: while it computes,
        each thread of Spark's that wants to go on waits for it, up to 5 ms at a time; and while the
        server works for it, it does not for others. Who waits at the end would wait for all that
        is left.
        """
        computing = time.thread_time() - computed
        waited = time.monotonic() - began - computing
        rest = 0.0
        if not self._will_wait():
            of_server = min(RESTS_OF_SERVER * waited, MOST_SECONDS_OF_SERVER)
            rest = max(RESTS * computing - waited, of_server)
        if self._runs_at_once() > 1:
            rest = max(rest, GATHERS_SECONDS - waited)
        if rest > 0.0 and not self._flushes and not self._stop.is_set():
            self._hurried.wait(rest)

    def _runs_at_once(self) -> int:
        return 1 if self._together is None else self._together.runs_at_once()

    def _wait_for_rows(self) -> bool:
        """As the outbox does it, in slices, so that ``stop`` need not wait for the end of it."""
        deadline = time.monotonic() + IDLE_SECONDS
        while not self._stop.is_set() and time.monotonic() < deadline:
            if self._outbox.wait_for_rows(min(LOOK_AGAIN_SECONDS, IDLE_SECONDS)):
                return True
        return False

    def _deliver(self) -> bool:
        """Send what is ready; False if all that waits is paused, or lingers."""
        now = time.monotonic()
        paused = {search_id for search_id, pause in self._pauses().items() if pause.until > now}
        skipped = self._leave_alone | paused
        linger = self._flushes == 0
        runs = self._runs_at_once()
        rows = self._outbox.peek(MOST_ROWS, without=skipped, linger=linger, runs=runs)
        for numbers, operation, again in self._one_by_one(coalesce(rows)):
            if self._stop.is_set():
                break
            self._outbox.sending(numbers)
            try:
                self._target.apply(operation, again)
            except Unavailable as error:
                logger.debug("Delivery waits: %s", error)
                if isinstance(error, Busy) and not again:
                    self._outbox.not_sent(numbers)
                self._pause(operation.search_id, error)
                break
            except Exception as error:  # noqa: BLE001 - one bad row must not end the thread
                # Refused, or a mistake of ours: either way the rest must not wait behind it.
                self._refused(operation, error)
                self._outbox.set_aside(numbers, str(error) or type(error).__name__)
            else:
                self._outbox.acknowledge(numbers)
            if not self._go_on(operation.search_id):
                break
        return bool(rows)

    def _go_on(self, search_id: str) -> bool:
        """The server has taken something of a search; whether it may be sent more at once."""
        before = self._paused.pop(search_id, None)
        if before is None:
            return True
        if before.error is not None:
            self._outbox.note_error(search_id, None)
        delay = before.backoff.succeeded()
        if delay and self._outbox.waiting(search_id):
            self._paused[search_id] = _Pause(time.monotonic() + delay, before.backoff, None)
            return False
        return True

    def _one_by_one(self, sendings: list[Sending]) -> Iterator[Sending]:
        """Those that are to be sent one by one; what goes together is sent on the way."""
        while sendings and not self._stop.is_set():
            fit = self._fit_together(sendings)
            if fit < 2:
                fit = 1
                yield sendings[0]
            elif not self._send_together(sendings[:fit]):
                # Nothing of it stands, if the store is what it is taken for: that is looked up.
                yield from (sending._replace(again=True) for sending in sendings[:fit])
            sendings = sendings[fit:]

    def _fit_together(self, sendings: list[Sending]) -> int:
        """How many of the first ones go together. What was sent before is looked up singly."""
        new = takewhile(lambda sending: not sending.again, sendings)
        operations = [sending.operation for sending in new]
        if self._together is None or len(operations) < 2:
            return 0
        return self._together.fit_together(operations)

    def _send_together(self, sendings: list[Sending]) -> bool:
        assert self._together is not None
        numbers = [number for sending in sendings for number in sending.numbers]
        self._outbox.sending(numbers)
        done = self._together.apply_together([sending.operation for sending in sendings])
        if done:
            self._outbox.acknowledge(numbers)
            self._go_on(sendings[0].operation.search_id)
        return done

    def _pause(self, search_id: str, error: Unavailable) -> None:
        before = self._paused.get(search_id)
        backoff = self._new_backoff() if before is None else before.backoff
        until = math.inf
        if not isinstance(error, Unauthorized):
            delay = backoff.busy() if isinstance(error, Busy) else backoff.away()
            until = time.monotonic() + delay
        self._paused[search_id] = _Pause(until, backoff, error)
        if before is None or str(before.error) != str(error):
            self._outbox.note_error(search_id, str(error))


class _Pause(NamedTuple):
    """A search that waits: until when, and why it failed; None if it only goes slowly."""

    until: float
    backoff: Backoff
    error: Unavailable | None
