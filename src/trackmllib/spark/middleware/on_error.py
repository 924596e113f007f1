"""Middleware ``on_error``: retries failed fits, or skips candidates."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from trackmllib.config.on_error import parse_on_error
from trackmllib.config.settings import Settings
from trackmllib.spark.middleware.base import (
    CallNext,
    FoldCall,
    Middleware,
    MiddlewareContext,
    RunningFit,
    SearchEnded,
    Task,
)
from trackmllib.spark.middleware.fatal_errors import is_fatal
from trackmllib.support import formatting
from trackmllib.support.guard import attempt

# Before the second try; twice as long before each further one.
FIRST_WAIT_SECONDS = 1.0
MAX_WAIT_SECONDS = 30.0
# Failed candidates that the warning names.
MAX_NAMED = 5


def on_error(settings: Settings, search: MiddlewareContext) -> Middleware | None:
    """Create the middleware if ``on_error`` retries or skips."""
    retries, skip = parse_on_error(settings.on_error)
    return OnError(retries, skip, search) if retries or skip else None


class _CandidateSkipped(Exception):
    """Ends a fit whose candidate failed before; never reaches the user."""


class _NoCandidateLeft(ValueError):
    """No candidate can win."""


class _Loop:
    """Candidates of one loop that failed, or (``cannot_win``) scored NaN."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.failed: set[int] = set()
        self.cannot_win: set[int] = set()


@dataclass(frozen=True)
class _Fold:
    """One fold; ``worst`` is the worst possible score."""

    loop: _Loop
    call: FoldCall
    worst: float


class OnError(Middleware):
    """Retries and skips of one search."""

    name = "on_error"

    def __init__(self, retries: int, skip: bool, search: MiddlewareContext) -> None:
        self._retries = retries
        self._skip = skip
        self._search = search
        self._lock = threading.Lock()
        self._loop = _Loop(0)
        # In all loops, for the warning at the end.
        self._failed: dict[int, Exception] = {}
        self._closed = threading.Event()
        self._numpy_settings: Any = None

    def fold_tasks(self, call: FoldCall, call_next: CallNext) -> list[Task]:
        larger = attempt(lambda: bool(call.evaluator.isLargerBetter()), True)
        if call.loop_number != self._loop.number:
            # After a StopIteration, fits of the previous loop may still run.
            self._loop = _Loop(call.loop_number)
            self._search.cannot_win = self._loop.cannot_win
        fold = _Fold(self._loop, call, -math.inf if larger else math.inf)
        call = replace(call, run_fit=partial(self._run_fit, fold))
        if self._skip and call.collects_models:
            self._skip = False
            self._search.warn(
                'on_error="skip" has no effect with collectSubModels=True: '
                "sub-models would be missing."
            )
        if self._skip:
            self._silence_numpy()
            call = replace(
                call,
                prepare=partial(self._prepare, fold),
                score_for_spark=partial(self._score_for_spark, fold),
            )
        return call_next(call)

    def _silence_numpy(self) -> None:
        """Silence numpy's warning about deviations of infinite scores."""
        if self._numpy_settings is None:
            self._numpy_settings = np.seterr(invalid="ignore")

    def close(self) -> None:
        if self._numpy_settings is not None:
            np.seterr(**self._numpy_settings)
            self._numpy_settings = None
        self._closed.set()
        with self._lock:
            failed, self._failed = sorted(self._failed.items()), {}
        if failed:
            named = [f"candidate {index} ({_summary(error)})" for index, error in failed]
            more = len(named) - MAX_NAMED
            others = [f"{more} more"] if more > 0 else []
            were = "candidate failed and was", "candidates failed and were"
            self._search.warn(
                f"{formatting.count(len(failed), *were)} skipped: "
                f"{', '.join([*named[:MAX_NAMED], *others])}."
            )

    def _run_fit(self, fold: _Fold, fold_fit: RunningFit) -> Any:
        """Compute a fit; if it fails, retry it, then skip its candidate."""
        tries = 1
        while True:
            try:
                return fold_fit.run() if fold.call.run_fit is None else fold.call.run_fit(fold_fit)
            except _CandidateSkipped as skipped:
                (candidate,) = skipped.args
                fold_fit.record_skip(candidate, None)
                return fold_fit.result(candidate, fold.worst)
            except (SearchEnded, _NoCandidateLeft, StopIteration):
                # In Spark's loop, StopIteration ends the fold without an error.
                raise
            except Exception as error:
                candidate = fold_fit.candidate
                if candidate is None or self._closed.is_set() or is_fatal(error):
                    raise
                if tries <= self._retries:
                    fold_fit.record_retry(tries, error)
                    wait = FIRST_WAIT_SECONDS * 2 ** (tries - 1)
                    if self._closed.wait(min(wait, MAX_WAIT_SECONDS)):
                        raise
                    tries += 1
                    continue
                if not self._skip or not self._mark_failed(fold, candidate, error):
                    raise
                fold_fit.record_skip(candidate, error)
                return fold_fit.result(candidate, fold.worst)

    def _mark_failed(self, fold: _Fold, candidate: int, error: Exception) -> bool:
        """Mark a candidate as failed; return False if no other could win then."""
        loop = fold.loop
        with self._lock:
            if len({*loop.cannot_win, candidate}) == len(fold.call.maps):
                self._failed.clear()
                return False
            loop.failed.add(candidate)
            loop.cannot_win.add(candidate)
            self._failed[candidate] = error
            return True

    def _prepare(self, fold: _Fold, candidate: int) -> None:
        if candidate in fold.loop.failed:
            raise _CandidateSkipped(candidate)
        if fold.call.prepare is not None:
            fold.call.prepare(candidate)

    def _score_for_spark(self, fold: _Fold, candidate: int, score: float) -> float:
        """Replace NaN, which Spark ranks best, by the worst score."""
        if not attempt(lambda: math.isnan(score), False):
            return score
        with self._lock:
            fold.loop.cannot_win.add(candidate)
            if len(fold.loop.cannot_win) == len(fold.call.maps):
                self._failed.clear()
                raise _NoCandidateLeft(
                    "every candidate failed or has a score of NaN, so none can win; check why the "
                    "evaluator returns NaN"
                )
        return fold.worst


def _summary(error: Exception) -> str:
    first_line = attempt(lambda: str(error), "").strip().partition("\n")[0]
    name = type(error).__name__
    return f"{name}: {first_line}" if first_line else name
