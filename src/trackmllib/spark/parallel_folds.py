"""The intervention ``parallel_folds``: the cells of all folds share one pool of threads.

Spark's own loop over the folds runs unchanged: it asks for the tasks of one fold after another. It
receives tasks that return the results of the pool, once all fits of the fold have ended. The data
of a fold stays cached from the start of its first fit to the end of its last.

StopIteration is no error to Spark's loop: it ends the fold, and scores not yet received count as
0.0. So Spark must receive the results of a fold in the order in which its own pool returns them.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyspark
from pyspark import inheritable_thread_target
from pyspark.ml.tuning import CrossValidator

from trackmllib.events import SearchDescription
from trackmllib.settings import Settings
from trackmllib.spark.interventions import (
    CellAt,
    FoldCall,
    FoldData,
    Intervention,
    LayOut,
    SearchAt,
    SearchIsOver,
    Task,
    Tasks,
    let_go,
    of_frames,
    raising,
    returning,
)
from trackmllib.spark.own import is_sparks_own
from trackmllib.spark.standins import fits_any


def parallel_folds(settings: Settings, search: SearchAt) -> Intervention | None:
    """The intervention, where it is asked for."""
    return ParallelFolds(settings.max_cached_folds, search) if settings.parallel_folds else None


class ParallelFolds(Intervention):
    """The folds of one search, computed in one pool."""

    name = "parallel_folds"

    def __init__(self, most_cached: int, search: SearchAt) -> None:
        self._most_cached = most_cached
        self._search = search
        self._threads = 0
        self._laid_out = 0
        self._seen = False
        self._data: list[tuple[FoldData, FoldData]] = []
        self._folds: list[_Fold] = []
        self._pool: _Pool | None = None

    def describe(self, description: SearchDescription, tuner: Any, maps: Any) -> SearchDescription:
        acts = (
            isinstance(tuner, CrossValidator)
            and tuner.getParallelism() > 1
            and fits_any(tuner.getEstimator())
            and not _is_one_after_another(tuner)
        )
        return replace(description, parallel_folds=acts)

    def folds(self, tuner: Any, folds: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        # A subclass may run Spark's loop again, each time with data of its own.
        self.close()
        self._seen = True
        self._threads = tuner.getParallelism()
        estimator = tuner.getEstimator()
        if not fits_any(estimator):
            name = type(estimator).__name__
            self._say(f"{name} has a fitMultiple of its own, which wants one fold after another")
        elif self._threads > 1 and _is_one_after_another(tuner):
            self._say(
                "with a single candidate, code from outside pyspark.ml may depend on the order of "
                "the folds"
            )
        elif self._threads > 1 and len(folds) > 1:
            self._data = [(FoldData(train), FoldData(validation)) for train, validation in folds]
            return list(self._data)
        return folds

    def lay_out(self, call: FoldCall, lay_out: LayOut) -> Tasks:
        self._laid_out += 1
        at = next((at for at, (train, _) in enumerate(self._data) if train is call.train), None)
        if at is None:
            if self._data:
                self._say("Spark keeps the data of folds somewhere else than in its cache")
            elif self._laid_out == 2 and not self._seen:
                self._say("the folds of this tuner are not those that pyspark.ml.tuning makes")
            return lay_out(of_frames(call))
        if self._pool is None:
            self._begin(call, lay_out)
        return self._folds[at].results()

    def _say(self, reason: str) -> None:
        self._search.say(f"parallel_folds has no effect: {reason}.")

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close(SearchIsOver())
        # On Connect a model is deleted by a call of its own: now, and not when Python finds it.
        self._data, self._folds, self._pool = [], [], None

    def _begin(self, call: FoldCall, lay_out: LayOut) -> None:
        """Lay out all folds, and let the pool begin. In the thread of ``fit()``, whose local
        properties the threads of the pool get, as those of Spark's get them.
        """

        spark_threads = min(self._threads, len(call.maps))
        for train, validation in self._data:
            is_first = not self._folds
            fold = _Fold((train.frame, validation.frame), spark_threads, is_first)
            of_fold = replace(
                call,
                train=train.frame,
                validation=validation.frame,
                order=partial(self._longest_first, fold, len(call.maps)),
                in_turn=False,
                compute=fold.compute,
            )
            fold.tasks.extend(lay_out(of_fold))
            fold.left = len(fold.tasks)
            self._folds.append(fold)
        self._pool = _Pool(self._folds, self._most_cached)
        cells = sum(len(fold.tasks) for fold in self._folds)
        inherit = _inheriting(call.train.sparkSession)
        self._pool.begin([inherit(self._pool.next_cell) for _ in range(cells)], self._threads)

    def _longest_first(self, fold: _Fold, candidates: int) -> list[int]:
        """Candidates by their time in an earlier fold, unknown times first."""
        seconds = dict(self._search.seconds)
        order = sorted(
            range(candidates), key=lambda at: seconds.get(at, float("inf")), reverse=True
        )
        fold.goes_sparks_way &= order == sorted(order)
        return order


def _is_one_after_another(tuner: Any) -> bool:
    """Whether user code may depend on the order of the folds.

    It may with a single candidate: Spark uses no more threads than there are candidates, so it
    computes one fold after another.
    """
    maps = tuner.getEstimatorParamMaps()
    return len(maps) == 1 and not is_sparks_own(tuner.getEstimator(), tuner.getEvaluator(), maps)


def _inheriting(session: Any) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """What Spark itself wraps the tasks in that it hands to threads."""
    inherit: Callable[[Callable[[], None]], Callable[[], None]] = inheritable_thread_target
    if int(pyspark.__version__.partition(".")[0]) >= 4:
        inherit = inheritable_thread_target(session)
    return inherit


@dataclass(frozen=True, kw_only=True)
class _Ended:
    """A fit that has ended, with the result of Spark's task or an error."""

    candidate: int
    seconds: float
    result: Any
    error: BaseException | None


class _Fold:
    """Fits of one fold: Spark's tasks, and the results of those that ended.

    Changed only under the lock of the pool.
    """

    def __init__(self, data: tuple[Any, Any], spark_threads: int, is_first: bool) -> None:
        self.tasks: deque[Task] = deque()
        self.left = 0
        self.begun = False
        # Whether its fits start in the order of the grid, with all threads from the start.
        self.goes_sparks_way = is_first
        self._data = data
        self._spark_threads = spark_threads
        self._ended: list[_Ended] = []
        self._error: BaseException | None = None
        self._is_known = threading.Event()
        self._here = threading.local()
        self._cached = threading.Event()
        self._is_cached = False

    def compute(self, cell: CellAt) -> Any:
        """Run a fit, and keep its candidate even if it raises."""
        try:
            return cell.run()
        finally:
            self._here.candidate = cell.candidate

    def run(self, task: Task) -> _Ended:
        """Run a task, and return its result or whatever it raises."""
        self._here.candidate = None
        result: Any = None
        error: BaseException | None = None
        began = time.monotonic()
        try:
            result = task()
        except BaseException as raised:  # noqa: BLE001 - Spark's pool raises it in fit()
            error = raised
        candidate = self._here.candidate if result is None else result[0]
        return _Ended(
            candidate=-1 if candidate is None else candidate,
            seconds=time.monotonic() - began,
            result=result,
            error=error,
        )

    def has_ended(self, ended: _Ended) -> None:
        self._ended.append(ended)
        self.left -= 1

    @property
    def has_stopped(self) -> bool:
        """Whether a StopIteration has ended this fold for Spark's loop."""
        return any(isinstance(one.error, StopIteration) for one in self._ended)

    def results(self) -> Iterator[Task]:
        """Yield the tasks that return the results, once they are known.

        Spark's pool iterates over them in a separate thread. If StopIteration ends the fold, the
        iterator ends: a task that raised it might overtake the result of another thread.
        """
        self._is_known.wait()
        if self._error is not None:
            yield raising(self._error)
            return
        ended = self._ended
        if self.has_stopped and not self.goes_sparks_way:
            ended = _as_spark_has_them(ended, self._spark_threads)
        for one in ended:
            if isinstance(one.error, StopIteration):
                return
            if one.error is not None:
                yield raising(one.error)
            yield returning(one.result)

    def give_up(self, reason: BaseException) -> None:
        """Begin no more fits, and raise ``reason`` in ``fit()`` if Spark asks."""
        self.left -= len(self.tasks)
        self.tasks.clear()
        if not self._is_known.is_set():
            self._error = reason
            self._is_known.set()

    def is_over(self) -> None:
        self._is_known.set()

    # In the threads of the pool, without its lock: these are calls of Spark's.

    def cache(self, *, first: bool) -> None:
        """Have the data cached by the first of its cells, for which the others wait."""
        if not first:
            self._cached.wait()
            if not self._is_cached:
                raise SearchIsOver
            return
        try:
            for data in self._data:
                data.cache()
            self._is_cached = True
        finally:
            self._cached.set()

    def release(self) -> None:
        let_go(*self._data)


class _Pool:
    """Threads that compute the cells of all folds, those of a fold before those of the next one."""

    def __init__(self, folds: Sequence[_Fold], most_cached: int) -> None:
        self._folds = folds
        self._most_cached = most_cached
        self._changed = threading.Condition()
        self._closed = False
        self._cells: deque[Callable[[], None]] = deque()

    def begin(self, cells: Sequence[Callable[[], None]], threads: int) -> None:
        """Run these, which are all ``next_cell``, in so many threads."""
        self._cells.extend(cells)
        for number in range(min(threads, len(cells))):
            threading.Thread(
                target=self._work, name=f"trackmllib-folds-{number}", daemon=True
            ).start()

    def close(self, reason: BaseException) -> None:
        """Begin no more cells. The data of folds whose cells still run is kept for these."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._cells.clear()
            over = []
            for fold in self._folds:
                was_running = fold.left > 0
                fold.give_up(reason)
                if fold.begun and was_running and fold.left == 0:
                    over.append(fold)
            self._changed.notify_all()
        for fold in over:
            fold.release()

    def next_cell(self) -> None:
        """Compute the cell that is next, as soon as the data of its fold may be cached."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._next_fold() is not None)
            fold = self._next_fold()
            if self._closed or fold is None:
                return
            task = fold.tasks.popleft()
            first, fold.begun = not fold.begun, True

        def cached() -> Any:
            fold.cache(first=first)
            return task()

        ended = fold.run(cached)
        with self._changed:
            error = None if fold.has_stopped else ended.error
        if not (error is None or isinstance(error, (StopIteration, SearchIsOver))):
            # SearchIsOver means that the error of another fit closes the pool, or has closed it.
            self.close(error)
        with self._changed:
            fold.has_ended(ended)
            is_over = fold.left == 0
            self._changed.notify_all()
        if is_over:
            # Before Spark receives the results: its loop, too, releases data before the refit.
            fold.release()
            fold.is_over()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._cells:
                    return
                cell = self._cells.popleft()
            try:
                cell()
            except BaseException as error:  # noqa: BLE001 - of what Spark wraps a cell in
                self.close(error)

    def _next_fold(self) -> _Fold | None:
        in_flight = sum(fold.begun and fold.left > 0 for fold in self._folds)
        for fold in self._folds:
            if fold.tasks and (fold.begun or in_flight < self._most_cached):
                return fold
        return None


def _as_spark_has_them(ended: Sequence[_Ended], threads: int) -> list[_Ended]:
    """Sort fits by the order in which they would end in Spark's pool.

    Spark's pool begins them in the order of the grid. Assumes that each takes as long as it did.
    """
    free_at = [0.0] * threads
    end_at = {}
    for one in sorted(ended, key=lambda one: one.candidate):
        end_at[one.candidate] = heapq.heappop(free_at) + one.seconds
        heapq.heappush(free_at, end_at[one.candidate])
    return sorted(ended, key=lambda one: end_at[one.candidate])
