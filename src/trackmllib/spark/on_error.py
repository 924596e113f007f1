"""The intervention ``on_error``: cells that fail are tried again, candidates that fail skipped."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from typing import Any

import numpy as np

from trackmllib import plural
from trackmllib.guard import attempt
from trackmllib.options import on_error as words
from trackmllib.settings import Settings
from trackmllib.spark.application import is_of_application
from trackmllib.spark.interventions import (
    CellAt,
    Compute,
    FoldCall,
    Intervention,
    LayOut,
    SearchAt,
    SearchIsOver,
    Task,
)

# Before the second try; twice as long before each further one.
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 30.0
MOST_NAMED = 5


def on_error(settings: Settings, search: SearchAt) -> Intervention | None:
    """The intervention, where it is asked for."""
    retries, skip = words.read(settings.on_error)
    return OnError(retries, skip, search) if retries or skip else None


class _IsSkipped(Exception):
    """Ends a cell of a candidate of which another cell has failed; nobody sees it."""

    def __init__(self, candidate: int) -> None:
        self.candidate = candidate


class _NothingIsLeft(ValueError):
    """No candidate can win."""


class _Loop:
    """Failed candidates of one of Spark's loops over the folds.

    ``cannot_win`` also has the candidates with a score of NaN.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.failed: set[int] = set()
        self.cannot_win: set[int] = set()


class OnError(Intervention):
    """Cells that fail, of one search."""

    name = "on_error"

    def __init__(self, retries: int, skip: bool, search: SearchAt) -> None:
        self._retries = retries
        self._skip = skip
        self._search = search
        self._lock = threading.Lock()
        self._loop = _Loop(0)
        # The failed candidates of all loops, for the message to the user.
        self._failed: dict[int, Exception] = {}
        self._closed = threading.Event()
        self._numpy: Any = None

    def lay_out(self, call: FoldCall, lay_out: LayOut) -> list[Task]:
        larger = attempt(lambda: bool(call.evaluator.isLargerBetter()), True)
        if call.loop != self._loop.number:
            # After a StopIteration, fits of the previous loop may still run.
            self._loop = _Loop(call.loop)
            self._search.cannot_win = self._loop.cannot_win
        cells = _Cells(self, self._loop, call, -math.inf if larger else math.inf)
        call = replace(call, compute=cells.compute)
        if self._skip and call.collects_models:
            self._skip = False
            self._search.tell(
                'on_error="skip" has no effect with collectSubModels: models would be missing.'
            )
        if self._skip:
            self._expect_infinity()
            call = replace(call, prepare=cells.prepare, counts_as=cells.counts_as)
        return lay_out(call)

    def _expect_infinity(self) -> None:
        """Of the average and the deviation that Spark's loop takes in this thread numpy would
        warn: the worst of scores has no distance from itself.
        """
        if self._numpy is None:
            self._numpy = np.seterr(invalid="ignore")

    def close(self) -> None:
        if self._numpy is not None:
            np.seterr(**self._numpy)
            self._numpy = None
        self._closed.set()
        with self._lock:
            failed, self._failed = sorted(self._failed.items()), {}
        if failed:
            named = [f"candidate {index} ({_summary(error)})" for index, error in failed]
            more = len(named) - MOST_NAMED
            others = [f"{more} more"] if more > 0 else []
            self._search.tell(
                f"{plural.count(len(failed), 'candidate')} failed and did not count: "
                f"{', '.join([*named[:MOST_NAMED], *others])}."
            )

    def compute(
        self, cell: CellAt, run: Compute, loop: _Loop, worst: float, candidates: int
    ) -> Any:
        """A cell, tried as often as it may be, and skipped if it fails then."""
        tries = 1
        while True:
            try:
                return run(cell)
            except _IsSkipped as skipped:
                cell.skipped(skipped.candidate, None, worst)
                return cell.result(skipped.candidate, worst)
            except (SearchIsOver, _NothingIsLeft, StopIteration):
                # To Spark, StopIteration is no error: it ends the fold, and fit() continues.
                raise
            except Exception as error:
                candidate = cell.candidate
                if candidate is None or self._closed.is_set() or is_of_application(error):
                    raise
                if tries <= self._retries:
                    cell.tried(tries, error)
                    wait = FIRST_WAIT_SECONDS * 2 ** (tries - 1)
                    if self._closed.wait(min(wait, LONGEST_WAIT_SECONDS)):
                        raise
                    tries += 1
                    continue
                if not self._skip or not self._may_skip(loop, candidate, error, candidates):
                    raise
                cell.skipped(candidate, error, worst)
                return cell.result(candidate, worst)

    def _may_skip(self, loop: _Loop, candidate: int, error: Exception, candidates: int) -> bool:
        """Count a candidate as failed; not the last one, whose error is that of the search."""
        with self._lock:
            if len({*loop.cannot_win, candidate}) == candidates:
                self._failed.clear()
                return False
            loop.failed.add(candidate)
            loop.cannot_win.add(candidate)
            self._failed[candidate] = error
            return True

    def has_nan(self, loop: _Loop, candidate: int, candidates: int) -> None:
        """Count a candidate that can no more win."""
        with self._lock:
            loop.cannot_win.add(candidate)
            if len(loop.cannot_win) == candidates:
                self._failed.clear()
                raise _NothingIsLeft(
                    "every candidate has failed or has a score of NaN: look at what makes the "
                    "evaluator return it"
                )


class _Cells:
    """The cells of one fold."""

    def __init__(self, intervention: OnError, loop: _Loop, call: FoldCall, worst: float) -> None:
        self._intervention = intervention
        self._loop = loop
        self._call = call
        self._worst = worst

    def compute(self, cell: CellAt) -> Any:
        run = self._call.compute or _run
        candidates = len(self._call.maps)
        return self._intervention.compute(cell, run, self._loop, self._worst, candidates)

    def prepare(self, candidate: int) -> None:
        if candidate in self._loop.failed:
            raise _IsSkipped(candidate)
        if self._call.prepare is not None:
            self._call.prepare(candidate)

    def counts_as(self, candidate: int, score: float) -> float:
        """NaN never wins."""
        if not attempt(lambda: math.isnan(score), False):
            return score
        self._intervention.has_nan(self._loop, candidate, len(self._call.maps))
        return self._worst


def _run(cell: CellAt) -> Any:
    return cell.run()


def _summary(error: Exception) -> str:
    first = attempt(lambda: str(error), "").strip().partition("\n")[0]
    name = type(error).__name__
    return f"{name}: {first}" if first else name
