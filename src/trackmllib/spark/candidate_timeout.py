"""The intervention ``candidate_timeout``: a cell that takes too long has failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from trackmllib.errors import CandidateTimeout
from trackmllib.guard import attempt
from trackmllib.settings import Settings
from trackmllib.spark.interventions import CellAt, FoldCall, Intervention, LayOut, SearchAt, Task
from trackmllib.spark.jobs import classic_context

# Between two attempts to cancel what a cell has started meanwhile.
AGAIN_SECONDS = 1.0
# After how many attempts it is said that a cell does not listen.
PATIENCE = 5
LONGEST_CALL_SECONDS = 5.0


def candidate_timeout(settings: Settings, search: SearchAt) -> Intervention | None:
    """The intervention, where it is asked for."""
    seconds = settings.candidate_timeout
    return None if seconds is None else CandidateTimeouts(seconds, search)


class CandidateTimeouts(Intervention):
    """The cells of one search, each with its time."""

    name = "candidate_timeout"

    def __init__(self, seconds: float, search: SearchAt) -> None:
        self._seconds = seconds
        self._search = search

    def lay_out(self, call: FoldCall, lay_out: LayOut) -> list[Task]:
        session = call.train.sparkSession
        run = call.compute or (lambda cell: cell.run())

        def compute(cell: CellAt) -> Any:
            with _Watchdog(cell, session, self._seconds, self._search.tell) as watchdog:
                try:
                    return run(cell)
                except Exception as error:
                    if watchdog.fired and not isinstance(error, CandidateTimeout):
                        raise watchdog.error() from error
                    raise

        return lay_out(replace(call, compute=compute))


class _Watchdog:
    """Cancels the Spark jobs of a cell when its time is up, until it ends. A ``Timer`` of the cell:
    what is computed for several candidates is in the time of none.
    """

    def __init__(
        self, cell: CellAt, session: Any, seconds: float, tell: Callable[[str], None]
    ) -> None:
        self._cell = cell
        self._seconds = seconds
        self._tell = tell
        self._changed = threading.Condition()
        self._deadline: float | None = time.monotonic() + seconds
        self._over = False
        self._jobs = _jobs_of(cell, session)
        self.fired = False

    def __enter__(self) -> _Watchdog:
        self._cell.time_by(self)
        self._jobs.begin()
        self._thread = threading.Thread(
            target=self._watch, name="trackmllib-candidate-timeout", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._cell.time_by(None)
        with self._changed:
            self._over = True
            self._changed.notify_all()
        # It may be in the middle of a call to a server that does not answer.
        self._thread.join(LONGEST_CALL_SECONDS)
        self._jobs.end()

    def stop(self) -> None:
        with self._changed:
            self._deadline = None

    def restart(self) -> None:
        with self._changed:
            self._deadline = time.monotonic() + self._seconds
            self.fired = False
            self._changed.notify_all()

    def check(self) -> None:
        if self.fired:
            raise self.error()

    def error(self) -> CandidateTimeout:
        return CandidateTimeout(
            f"candidate {self._cell.candidate} took longer than candidate_timeout="
            f"{self._seconds:g} s"
        )

    def _watch(self) -> None:
        times = 0
        while self._is_late():
            times += 1
            attempt(self._jobs.cancel, None)
            if times == PATIENCE:
                self._tell(
                    f"{self.error()}, and goes on: what computes in Python alone cannot be "
                    "cancelled. The search waits for it."
                )
            with self._changed:
                self._changed.wait_for(lambda: self._over, AGAIN_SECONDS)

    def _is_late(self) -> bool:
        """Wait until its time is up; False if it is over before that."""
        with self._changed:
            while not self._over:
                left = None if self._deadline is None else self._deadline - time.monotonic()
                if left is not None and left <= 0:
                    self.fired = True
                    return True
                self._changed.wait(left)
            return False


class _ClassicJobs:
    """Spark's jobs of a cell have its tag."""

    def __init__(self, tag: str, context: Any) -> None:
        self._tag = tag
        self._context = context

    def begin(self) -> None:
        return None

    def end(self) -> None:
        return None

    def cancel(self) -> None:
        self._context.cancelJobsWithTag(self._tag)


class _ConnectJobs:
    """On Connect, what this thread has the server do gets a tag, for as long as the cell takes.

    So it does on classic Spark 4 where threads of Python share one of Java's; Spark 3.5 has none
    there, and nothing is cancelled.
    """

    def __init__(self, tag: str, session: Any) -> None:
        self._tag = tag
        self._session = session

    def begin(self) -> None:
        attempt(lambda: self._session.addTag(self._tag), None)

    def end(self) -> None:
        attempt(lambda: self._session.removeTag(self._tag), None)

    def cancel(self) -> None:
        self._session.interruptTag(self._tag)


def _jobs_of(cell: CellAt, session: Any) -> _ClassicJobs | _ConnectJobs:
    context = classic_context() if hasattr(session, "_jsparkSession") else None
    if context is not None:
        return _ClassicJobs(cell.tag, context)
    return _ConnectJobs(cell.tag, session)
