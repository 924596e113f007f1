"""The intervention ``parallel_folds``: the cells of all folds share one pool of threads.

Spark's own loop over the folds goes on as it is: it asks for the tasks of one fold after another,
and gets such as wait for what the pool computes. The data of a fold is cached when its first cell
begins, and no longer than to its last.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pyspark
from pyspark import inheritable_thread_target
from pyspark.ml.tuning import CrossValidator

from trackmllib.events import SearchDescription
from trackmllib.settings import Settings
from trackmllib.spark.interventions import (
    FoldCall,
    FoldData,
    Intervention,
    LayOut,
    SearchAt,
    SearchIsOver,
    Task,
    let_go,
    of_frames,
)
from trackmllib.spark.standins import fits_any


def parallel_folds(settings: Settings, search: SearchAt) -> Intervention | None:
    """The intervention, where it is asked for."""
    return ParallelFolds(settings.max_cached_folds, search) if settings.parallel_folds else None


class ParallelFolds:
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
        elif self._threads > 1 and len(folds) > 1:
            self._data = [(FoldData(train), FoldData(validation)) for train, validation in folds]
            return list(self._data)
        return folds

    def lay_out(self, call: FoldCall, lay_out: LayOut) -> list[Task]:
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
        return self._folds[at].waiting()

    def _say(self, reason: str) -> None:
        self._search.say(f"parallel_folds has no effect: {reason}.")

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close(SearchIsOver())
            self._pool.leave_nobody_waiting()
        # On Connect a model is deleted by a call of its own: now, and not when Python finds it.
        self._data, self._folds, self._pool = [], [], None

    def _begin(self, call: FoldCall, lay_out: LayOut) -> None:
        """Lay out all folds, and let the pool begin. In the thread of ``fit()``, whose local
        properties the threads of the pool get, as those of Spark's get them.
        """

        def longest_first() -> list[int]:
            # Those that no earlier fold has brought to an end yet take the longest of all.
            seconds = dict(self._search.seconds)
            return sorted(
                range(len(call.maps)), key=lambda at: seconds.get(at, float("inf")), reverse=True
            )

        for train, validation in self._data:
            data = (train.frame, validation.frame)
            of_fold = replace(call, train=data[0], validation=data[1], order=longest_first)
            self._folds.append(_Fold(data, lay_out(of_fold)))
        self._pool = _Pool(self._folds, self._most_cached)
        cells = sum(len(fold.tasks) for fold in self._folds)
        inherit = _inheriting(call.train.sparkSession)
        self._pool.begin([inherit(self._pool.next_cell) for _ in range(cells)], self._threads)


def _inheriting(session: Any) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """What Spark itself wraps the tasks in that it hands to threads."""
    inherit: Callable[[Callable[[], None]], Callable[[], None]] = inheritable_thread_target
    if int(pyspark.__version__.partition(".")[0]) >= 4:
        inherit = inheritable_thread_target(session)
    return inherit


class _Fold:
    """The cells of one fold: tasks of Spark's, and as many results, in the order in which these
    come. Changed under the lock of the pool.
    """

    def __init__(self, data: tuple[Any, Any], tasks: Sequence[Task]) -> None:
        self.tasks = deque(tasks)
        self.results: list[Future[Any]] = [Future() for _ in tasks]
        self.left = len(self.results)
        self.begun = False
        self._data = data
        self._unset = deque(self.results)
        self._cached = threading.Event()
        self._is_cached = False

    def waiting(self) -> list[Task]:
        """What Spark runs in the place of the tasks."""
        return [result.result for result in self.results]

    def put(self, result: Any) -> None:
        if self._unset:
            self._unset.popleft().set_result(result)

    def give_up(self, reason: BaseException) -> None:
        """Begin no more cells. One of those that wait for one gets the reason, which Spark raises
        in ``fit()``: raised in all of them, its traceback would be one of all.
        """
        self.left -= len(self.tasks)
        self.tasks.clear()
        if self._unset:
            self._unset.popleft().set_exception(reason)

    def leave_nobody_waiting(self) -> None:
        while self._unset:
            self._unset.popleft().set_exception(SearchIsOver())

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

    def leave_nobody_waiting(self) -> None:
        """For a cell of any fold."""
        with self._changed:
            for fold in self._folds:
                fold.leave_nobody_waiting()

    def next_cell(self) -> None:
        """Compute the cell that is next, as soon as the data of its fold may be cached."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._next_fold() is not None)
            fold = self._next_fold()
            if self._closed or fold is None:
                return
            task = fold.tasks.popleft()
            first, fold.begun = not fold.begun, True
        result: Any = None
        error: BaseException | None = None
        try:
            fold.cache(first=first)
            result = task()
        except BaseException as raised:  # noqa: BLE001 - Spark's pool raises it, in fit()
            error = raised
        if error is not None and not isinstance(error, SearchIsOver):
            # That one says that another cell's error closes it, or has done so.
            self.close(error)
        with self._changed:
            fold.left -= 1
            is_over = fold.left == 0
            self._changed.notify_all()
        if is_over:
            # Before the result is there, as Spark's loop does it before the refit.
            fold.release()
        if error is None:
            with self._changed:
                fold.put(result)

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
