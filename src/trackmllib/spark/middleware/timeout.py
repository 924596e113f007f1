"""Middleware ``candidate_timeout``: a fit that takes too long fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from trackmllib.config.settings import Settings
from trackmllib.exceptions import CandidateTimeout
from trackmllib.spark.job_metrics.labels import classic_context
from trackmllib.spark.middleware.base import (
    CallNext,
    FoldCall,
    Middleware,
    MiddlewareContext,
    RunningFit,
    Task,
)
from trackmllib.support.guard import attempt

# Jobs are cancelled repeatedly, because the fit may start new ones.
CANCEL_INTERVAL_SECONDS = 1.0
ATTEMPTS_BEFORE_WARNING = 5
JOIN_TIMEOUT_SECONDS = 5.0


def candidate_timeout(settings: Settings, search: MiddlewareContext) -> Middleware | None:
    """Create the middleware if ``candidate_timeout`` is set."""
    seconds = settings.candidate_timeout
    return None if seconds is None else FitTimeout(seconds, search)


class FitTimeout(Middleware):
    """Timeout of each fit of one search."""

    name = "candidate_timeout"

    def __init__(self, seconds: float, search: MiddlewareContext) -> None:
        self._seconds = seconds
        self._search = search

    def fold_tasks(self, call: FoldCall, call_next: CallNext) -> list[Task]:
        session = call.train.sparkSession

        def run_fit(fold_fit: RunningFit) -> Any:
            with _Watchdog(fold_fit, session, self._seconds, self._search.warn) as watchdog:
                try:
                    return fold_fit.run() if call.run_fit is None else call.run_fit(fold_fit)
                except Exception as error:
                    if watchdog.fired and not isinstance(error, CandidateTimeout):
                        raise watchdog.error() from error
                    raise

        return call_next(replace(call, run_fit=run_fit))


class _Watchdog:
    """Thread that cancels the Spark jobs of a fit from its timeout to its end.

    Also the ``Timer`` of the fit, which stops for work that several candidates share.
    """

    def __init__(
        self, fold_fit: RunningFit, session: Any, seconds: float, warn: Callable[[str], None]
    ) -> None:
        self._fit = fold_fit
        self._seconds = seconds
        self._warn = warn
        self._changed = threading.Condition()
        self._deadline: float | None = time.monotonic() + seconds
        self._ended = False
        self._jobs = _jobs_of(fold_fit, session)
        self.fired = False

    def __enter__(self) -> _Watchdog:
        self._fit.set_timer(self)
        self._jobs.begin()
        self._thread = threading.Thread(
            target=self._watch, name="trackmllib-candidate-timeout", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._fit.set_timer(None)
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        # The thread may be waiting for a server that does not answer.
        self._thread.join(JOIN_TIMEOUT_SECONDS)
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
            f"candidate {self._fit.candidate} took longer than candidate_timeout="
            f"{self._seconds:g} s"
        )

    def _watch(self) -> None:
        attempts = 0
        while self._is_late():
            attempts += 1
            attempt(self._jobs.cancel, None)
            if attempts == ATTEMPTS_BEFORE_WARNING:
                self._warn(
                    f"{self.error()} and is still running, because pure-Python work cannot be "
                    "cancelled; the search waits for it."
                )
            with self._changed:
                self._changed.wait_for(lambda: self._ended, CANCEL_INTERVAL_SECONDS)

    def _is_late(self) -> bool:
        """Wait for the timeout or the end of the fit; return True for the timeout."""
        with self._changed:
            while not self._ended:
                left = None if self._deadline is None else self._deadline - time.monotonic()
                if left is not None and left <= 0:
                    self.fired = True
                    return True
                self._changed.wait(left)
            return False


class _ClassicJobs:
    """Spark jobs of a fit, which have its tag."""

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
    """Operations of a fit on Spark Connect, tagged while the fit runs.

    Also used on classic Spark if Python's threads share a JVM thread. Spark 3.5 has no such tags
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


def _jobs_of(fold_fit: RunningFit, session: Any) -> _ClassicJobs | _ConnectJobs:
    context = classic_context() if hasattr(session, "_jsparkSession") else None
    if context is not None:
        return _ClassicJobs(fold_fit.tag, context)
    return _ConnectJobs(fold_fit.tag, session)
