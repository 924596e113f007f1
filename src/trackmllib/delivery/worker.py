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
from trackmllib.delivery.held import HeldRows, lets_others_go_first
from trackmllib.errors import Blocked, Busy, DeliveryError, Rejected, Unauthorized, Unavailable
from trackmllib.operations import Operation, Row, Sending, coalesce
from trackmllib.outbox.base import Outbox, Undelivered

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

        Raises Rejected if no retry can succeed. After any other error a retry may succeed: after
        Unauthorized with other credentials, after Busy at a lower rate. Busy also means that the
        server did nothing of the operation.
        """
        ...

    def answers(self, search_id: str) -> bool:
        """Whether the tracking server of a search answers now, and takes what is written to it.
        Never raises.
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
    never kept alive by it. If the server of a search is away or busy, delivery of that search is
    retried later, and other searches do not wait. Within a search, a row that fails lets the others
    go first, which tells a bad row from a server that is away. After FAILURES failures while others
    succeeded, the row is deferred to the next process, with the rows that depend on it.

    ``missing`` is called with each operation that is rejected, or deferred for a failure of its
    own, and with the reason; not with the held rows that are deferred with it. Nothing is sent
    of the searches in ``leave_alone``. ``will_wait`` says whether a search that runs will wait for
    its delivery.
    """

    def __init__(
        self,
        outbox: Outbox,
        target: Target,
        missing: Callable[[Operation, Exception], None],
        new_backoff: Callable[[], Backoff] = Backoff,
        leave_alone: Collection[str] = (),
        together: Together | None = None,
        will_wait: Callable[[], bool] = lambda: False,
    ) -> None:
        self._outbox = outbox
        self._target = target
        self._missing = missing
        self._together = together
        self._will_wait = will_wait
        self._new_backoff = new_backoff
        self._leave_alone = frozenset(leave_alone)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._paused: dict[str, _Pause] = {}
        self._held: dict[str, HeldRows] = {}
        self._flushes = 0
        self._hurried = threading.Event()
        self._thread_refused = False

    def trouble(self, search_id: str | None = None) -> Unavailable | None:
        """Why the operations of a search, or of any, could not be sent the last time, if so."""
        if search_id is None:
            errors = [pause.error for pause in self._pauses().values()]
            errors += map(self._trouble_of_held, list(self._held))
            return next(filter(None, errors), None)
        pause = self._paused.get(search_id)
        if pause is not None and pause.error is not None:
            return pause.error
        return self._trouble_of_held(search_id)

    def last_error(self, search_id: str) -> Unavailable | None:
        """The error of an operation that still waits, for messages; others may succeed."""
        held = self._held.get(search_id)
        return self.trouble(search_id) or (None if held is None else held.error)

    def _trouble_of_held(self, search_id: str) -> Unavailable | None:
        """The error of the held rows of a search, if no other rows wait."""
        held = self._held.get(search_id)
        if held is None or self._outbox.waiting(search_id) > held.count:
            return None
        return held.error

    def undelivered(self, search_id: str | None = None) -> Undelivered:
        """The number of operations that no server has acknowledged, of one search or of all."""
        return self._outbox.undelivered(search_id)

    def start(self) -> None:
        """Start the thread if it does not run. Call it after each ``put``."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name="trackmllib-delivery", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    # Python starts no threads while it shuts down: flush() delivers then.
                    self._thread_refused = True
                else:
                    self._thread = thread

    def flush(self, search_id: str | None, timeout: float | None) -> int:
        """Wait for one search or all, ``timeout`` seconds at most; how many operations still wait.

        Does not wait for operations that need other credentials, nor for those that are deferred
        or rejected: waiting does not deliver them.
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
        """The number of operations that need other credentials, of one search or of all."""
        paused = self._without_permission(search_id)
        held = {
            search: rows.without_credentials
            for search, rows in dict(self._held).items()
            if search_id in (None, search) and search not in paused
        }
        return sum(map(self._outbox.waiting, paused)) + sum(held.values())

    def try_again(self) -> None:
        """Retry now what needs other credentials: a new search may have brought them."""
        for search_id in self._without_permission(None):
            self._paused.pop(search_id, None)
        for held in dict(self._held).values():
            self._outbox.unhold(held.waiting_for_credentials())

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
                # No other thread delivers, so this one continues after any error.
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
        """Send what is ready; False if all rows are paused, held or lingering."""
        now = time.monotonic()
        paused = {search_id for search_id, pause in self._pauses().items() if pause.until > now}
        rows = self._rows_to_send(self._leave_alone | paused)
        apart = {number for held in self._held.values() for number in held.apart}
        for sending in self._one_by_one(coalesce(rows, apart)):
            if self._stop.is_set() or not self._send(sending):
                break
        return bool(rows)

    def _rows_to_send(self, without: Collection[str]) -> list[Row]:
        """The rows that are ready, or else the held rows, which let those go first."""
        for search_id, held in self._held.items():
            if search_id not in without and self._outbox.waiting(search_id) <= held.count:
                # No other row of its search waits, and those of others are no reason to wait.
                self._outbox.unhold(held.release())
        rows = self._peek(without)
        if not rows:
            for search_id, held in self._held.items():
                if search_id not in without:
                    self._outbox.unhold(held.release())
            rows = self._peek(without)
        return rows

    def _peek(self, without: Collection[str]) -> list[Row]:
        """The rows that are ready and depend on no failed row."""
        while True:
            linger, runs = self._flushes == 0, self._runs_at_once()
            rows = self._outbox.peek(MOST_ROWS, without=without, linger=linger, runs=runs)
            found = [self._is_free(row) for row in rows]
            if all(found):
                return rows

    def _is_free(self, row: Row) -> bool:
        """Whether a row may be sent now; if not, hold or defer it with the row it depends on."""
        held = self._held.get(row.operation.search_id)
        if held is None:
            return True
        reason = held.defers(row.operation)
        if reason is not None:
            self._defer([row.number], row.operation, reason)
            return False
        if held.holds(row.number, row.operation):
            self._outbox.hold([row.number])
            return False
        return True

    def _send(self, sending: Sending) -> bool:
        """Send one operation; whether more of its search may be sent at once."""
        numbers, operation, again = sending
        self._outbox.sending(numbers)
        try:
            self._target.apply(operation, again)
        except Rejected as error:
            self._missing(operation, error)
            self._outbox.reject(numbers, str(error))
        except Busy as error:
            logger.debug("Delivery waits: %s", error)
            if not again:
                self._outbox.not_sent(numbers)
            self._pause(operation.search_id, error)
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, it may pass
            self._failed(sending, _as_unavailable(error))
            return False
        else:
            self._outbox.acknowledge(numbers)
        return self._go_on(operation.search_id, numbers)

    def _failed(self, sending: Sending, error: Unavailable) -> None:
        """Hold a failed operation, so that others go first; defer it or pause the search."""
        logger.debug("Delivery waits: %s", error, exc_info=True)
        operation = sending.operation
        search_id = operation.search_id
        if not (lets_others_go_first(operation) or isinstance(error, Blocked)):
            self._pause(search_id, error)
            return
        held = self._held.setdefault(search_id, HeldRows())
        if isinstance(error, Blocked):
            held.defer(operation, str(error))
            self._defer(sending.numbers, operation, str(error))
            return
        given_up = held.failed(sending, error)
        if given_up is not None:
            self._defer([*given_up.numbers, *given_up.dependents], operation, str(error))
        else:
            self._outbox.hold(sending.numbers)
            is_last = self._outbox.waiting(search_id) <= held.count
            may_be_bad = held.failed_again(sending.numbers)
            if is_last and may_be_bad and self._target.answers(search_id):
                # No other operation waits that could tell a bad row from a server that is away.
                held.server_answered(sending.numbers)
                # The server is there: the pause begins anew, as after any other success.
                self._paused.pop(search_id, None)
        if not isinstance(error, Unauthorized) or held.same_credentials_failed():
            self._pause(search_id, error)
        else:
            self._outbox.note_error(search_id, str(error))

    def _defer(self, numbers: list[int], operation: Operation, reason: str) -> None:
        self._outbox.defer(numbers, reason)
        self._missing(
            operation,
            Unavailable(
                f"{reason}. Other operations succeeded, so this one is deferred: the next process "
                "or `trackmllib sync` sends it again, if it is on disk"
            ),
        )

    def _go_on(self, search_id: str, numbers: Collection[int]) -> bool:
        """Note that the server answered for rows; whether more may be sent at once."""
        held = self._held.get(search_id)
        error = None if held is None else held.error
        free = [] if held is None else held.succeeded(numbers)
        self._outbox.unhold(free)
        before = self._paused.pop(search_id, None)
        if before is None:
            if held is not None and error is not None and held.error is None:
                self._outbox.note_error(search_id, None)
            return not free
        if before.error is not None:
            self._outbox.note_error(search_id, None)
        delay = before.backoff.succeeded()
        if delay and self._outbox.waiting(search_id):
            self._paused[search_id] = _Pause(time.monotonic() + delay, before.backoff, None)
            return False
        return not free

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
            self._go_on(sendings[0].operation.search_id, numbers)
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


def _as_unavailable(error: Exception) -> Unavailable:
    """An error of the target, other than Rejected, as Unavailable."""
    if isinstance(error, Unavailable):
        return error
    text = str(error).strip().partition("\n")[0]
    if isinstance(error, DeliveryError):
        return Unavailable(text)
    return Unavailable(f"{type(error).__name__}: {text}" if text else type(error).__name__)


class _Pause(NamedTuple):
    """A search that waits: until when, and why it failed; None if it only goes slowly."""

    until: float
    backoff: Backoff
    error: Unavailable | None
