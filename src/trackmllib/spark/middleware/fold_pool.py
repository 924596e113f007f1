"""Pool of threads that computes the fits of several folds.

In Spark's loop over the folds, StopIteration ends the fold, and scores not yet received count as
0.0. So Spark must receive the results of a fold in the order in which its own pool returns them.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from trackmllib.spark.middleware.base import RunningFit, SearchEnded, Task
from trackmllib.spark.middleware.frames import unpersist_quietly


@dataclass(frozen=True, kw_only=True)
class _EndedFit:
    """Outcome and duration of one of Spark's tasks."""

    candidate: int
    seconds: float
    outcome: Future[Any]

    @property
    def error(self) -> BaseException | None:
        return self.outcome.exception()


class FoldFits:
    """Fits of one fold; changed only under the lock of the pool.

    ``tasks`` are those that have not started, ``left`` counts the fits that have not ended.
    ``runs_like_spark``: fits start in the order of the grid, with all threads from the start.
    """

    def __init__(self, data: tuple[Any, Any], spark_threads: int, is_first: bool) -> None:
        self.tasks: deque[Task] = deque()
        self.left = 0
        self.started = False
        self.runs_like_spark = is_first
        self._data = data
        self._spark_threads = spark_threads
        self._ended: list[_EndedFit] = []
        self._cancelled: Future[Any] | None = None
        self._results_ready = threading.Event()
        self._thread = threading.local()
        self._cache_tried = threading.Event()
        self._is_cached = False

    def add(self, tasks: Sequence[Task]) -> None:
        self.tasks.extend(tasks)
        self.left = len(self.tasks)

    def run_fit(self, fold_fit: RunningFit) -> Any:
        """Run a fit, and store its candidate even if the fit raises."""
        try:
            return fold_fit.run()
        finally:
            self._thread.candidate = fold_fit.candidate

    def run(self, task: Task) -> _EndedFit:
        """Run a task, and return its outcome, whatever it raises."""
        self._thread.candidate = None
        outcome: Future[Any] = Future()
        start = time.monotonic()
        try:
            result = task()
            candidate = result[0]
            outcome.set_result(result)
        except BaseException as error:  # noqa: BLE001 - Spark's pool raises it in fit()
            candidate = self._thread.candidate
            outcome.set_exception(error)
        return _EndedFit(
            candidate=-1 if candidate is None else candidate,
            seconds=time.monotonic() - start,
            outcome=outcome,
        )

    def add_ended(self, ended: _EndedFit) -> None:
        self._ended.append(ended)
        self.left -= 1

    @property
    def has_stopped(self) -> bool:
        """Whether a StopIteration has ended this fold for Spark's loop."""
        return any(isinstance(one.error, StopIteration) for one in self._ended)

    def results(self) -> Iterator[Task]:
        """Wait for the results of the fold, and yield a task for each of them.

        Spark's pool iterates over them in a separate thread. The iterator ends where StopIteration
        ends the fold; a task that raised it could overtake the result of another thread.
        """
        self._results_ready.wait()
        if self._cancelled is not None:
            yield self._cancelled.result
            return
        ended = self._ended
        if self.has_stopped and not self.runs_like_spark:
            ended = _in_spark_order(ended, self._spark_threads)
        for one in ended:
            if isinstance(one.error, StopIteration):
                return
            yield one.outcome.result

    def cancel(self, reason: BaseException) -> None:
        """Start no more fits; ``fit()`` raises ``reason`` if it waits for them."""
        self.left -= len(self.tasks)
        self.tasks.clear()
        if not self._results_ready.is_set():
            self._cancelled = Future()
            self._cancelled.set_exception(reason)
            self._results_ready.set()

    def set_results_ready(self) -> None:
        self._results_ready.set()

    # The following methods call Spark, so they run without the lock of the pool.

    def cache(self, *, first: bool) -> None:
        """Cache the data for the first fit; make the other fits wait for it."""
        if not first:
            self._cache_tried.wait()
            if not self._is_cached:
                raise SearchEnded
            return
        try:
            for data in self._data:
                data.cache()
            self._is_cached = True
        finally:
            self._cache_tried.set()

    def release(self) -> None:
        unpersist_quietly(*self._data)


class FoldPool:
    """Threads that compute the fits of all folds, fold by fold."""

    def __init__(self, folds: Sequence[FoldFits], max_cached_folds: int) -> None:
        self._folds = folds
        self._max_cached_folds = max_cached_folds
        self._changed = threading.Condition()
        self._closed = False
        self._jobs: deque[Callable[[], None]] = deque()

    def start(self, jobs: Sequence[Callable[[], None]], threads: int) -> None:
        """Run ``jobs``, each a call of ``run_next_fit``."""
        self._jobs.extend(jobs)
        for number in range(min(threads, len(jobs))):
            threading.Thread(
                target=self._work, name=f"trackmllib-folds-{number}", daemon=True
            ).start()

    def close(self, reason: BaseException) -> None:
        """Start no more fits; running ones keep their data cached."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._jobs.clear()
            ended = []
            for fold in self._folds:
                was_running = fold.left > 0
                fold.cancel(reason)
                if fold.started and was_running and fold.left == 0:
                    ended.append(fold)
            self._changed.notify_all()
        for fold in ended:
            fold.release()

    def run_next_fit(self) -> None:
        """Compute the next fit, as soon as the data of its fold may be cached."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._next_fold() is not None)
            fold = self._next_fold()
            if self._closed or fold is None:
                return
            task = fold.tasks.popleft()
            first, fold.started = not fold.started, True

        def cache_and_run() -> Any:
            fold.cache(first=first)
            return task()

        ended = fold.run(cache_and_run)
        with self._changed:
            error = None if fold.has_stopped else ended.error
        if not (error is None or isinstance(error, (StopIteration, SearchEnded))):
            # After SearchEnded, the error of another fit closes the pool.
            self.close(error)
        with self._changed:
            fold.add_ended(ended)
            is_last = fold.left == 0
            self._changed.notify_all()
        if is_last:
            # Release data before the refit, as Spark's own loop does.
            fold.release()
            fold.set_results_ready()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._jobs:
                    return
                job = self._jobs.popleft()
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - from Spark's decorator of the job
                self.close(error)

    def _next_fold(self) -> FoldFits | None:
        in_progress = sum(fold.started and fold.left > 0 for fold in self._folds)
        for fold in self._folds:
            if fold.tasks and (fold.started or in_progress < self._max_cached_folds):
                return fold
        return None


def _in_spark_order(fits: Sequence[_EndedFit], threads: int) -> list[_EndedFit]:
    """Sort fits by the order in which they would end in Spark's pool.

    Spark's pool starts them in the order of the grid; each is assumed to take as long as it did.
    """
    free_at = [0.0] * threads
    end_at = {}
    for one in sorted(fits, key=lambda one: one.candidate):
        end_at[one.candidate] = heapq.heappop(free_at) + one.seconds
        heapq.heappush(free_at, end_at[one.candidate])
    return sorted(fits, key=lambda one: end_at[one.candidate])
