"""The intervention ``parallel_folds``: the cells of all folds share one pool of threads.

Spark's own loop over the folds goes on as it is: it asks for the tasks of one fold after another,
and gets such as wait for what the pool computes. The data of a fold is cached when its first cell
begins, and no longer than to its last.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pyspark
from pyspark import inheritable_thread_target

from trackmllib.settings import Settings
from trackmllib.spark.interventions import (
    FoldCall,
    Intervention,
    LayOut,
    SearchAt,
    SearchIsOver,
    Task,
)


def parallel_folds(settings: Settings, search: SearchAt) -> Intervention | None:
    """The intervention, where it is asked for."""
    return ParallelFolds(settings.max_cached_folds, search) if settings.parallel_folds else None


class ParallelFolds:
    """The folds of one search, computed in one pool."""

    def __init__(self, most_cached: int, search: SearchAt) -> None:
        self._most_cached = most_cached
        self._search = search
        self._seen = False
        self._laid_out = 0
        self._threads = 0
        self._data: list[tuple[FoldData, FoldData]] = []
        self._folds: list[_Fold] = []
        self._pool: _Pool | None = None

    def folds(self, tuner: Any, folds: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        self._seen = True
        parallelism = tuner.getParallelism()
        if parallelism < 2 or len(folds) < 2:
            return folds
        self._threads = parallelism
        self._data = [(FoldData(train), FoldData(validation)) for train, validation in folds]
        return list(self._data)

    def lay_out(self, call: FoldCall, lay_out: LayOut) -> list[Task]:
        at = next((at for at, (train, _) in enumerate(self._data) if train is call.train), None)
        if at is None:
            self._laid_out += 1
            if self._laid_out == 2 and not self._seen:
                self._search.say(
                    "parallel_folds has no effect on a tuner whose _kFold is not Spark's own: its "
                    "folds are computed one after another."
                )
            return lay_out(call)
        if self._pool is None:
            self._begin(call, lay_out)
        return self._folds[at].waiting()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close(SearchIsOver())

    def _begin(self, call: FoldCall, lay_out: LayOut) -> None:
        """Lay out all folds, and let the pool begin. In the thread of ``fit()``, whose local
        properties the threads of the pool get, as those of Spark's get them.
        """
        seconds: dict[int, float] = {}

        def longest_first() -> list[int]:
            # Those that no earlier fold has brought to an end yet take the longest of all.
            return sorted(
                range(len(call.maps)), key=lambda at: seconds.get(at, float("inf")), reverse=True
            )

        for train, validation in self._data:
            data = (train.frame, validation.frame)
            of_fold = replace(call, train=data[0], validation=data[1], order=longest_first)
            self._folds.append(_Fold(data, lay_out(of_fold)))
        self._pool = _Pool(self._folds, self._most_cached, seconds)
        cells = sum(len(fold.tasks) for fold in self._folds)
        inherit = _inheriting(call.train.sparkSession)
        self._pool.begin([inherit(self._pool.next_cell) for _ in range(cells)], self._threads)


def _inheriting(session: Any) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """What Spark itself wraps the tasks in that it hands to threads."""
    inherit: Callable[[Callable[[], None]], Callable[[], None]] = inheritable_thread_target
    if int(pyspark.__version__.partition(".")[0]) >= 4:
        inherit = inheritable_thread_target(session)
    return inherit


class FoldData:
    """Stands for a data frame of Spark's loop over the folds, which caches it too early."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame

    def cache(self) -> FoldData:
        return self

    def persist(self, *level: Any) -> FoldData:
        return self

    def unpersist(self, *blocking: Any) -> FoldData:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.frame, name)


class _Fold:
    """The cells of one fold: tasks of Spark's, and as many results, in the order in which these
    come. All is changed under the lock of the pool.
    """

    def __init__(self, data: tuple[Any, Any], tasks: Sequence[Task]) -> None:
        self.tasks = deque(tasks)
        self.results: list[Future[Any]] = [Future() for _ in tasks]
        self.left = len(self.results)
        self.begun = False
        self._data = data
        self._unset = deque(self.results)

    def waiting(self) -> list[Task]:
        """What Spark runs in the place of the tasks."""
        return [result.result for result in self.results]

    def take(self) -> Task:
        """A cell of this fold begins: its task. The first one finds the data marked as cached."""
        if not self.begun:
            self.begun = True
            for data in self._data:
                data.cache()
        return self.tasks.popleft()

    def put(self, result: Any) -> None:
        if self._unset:
            self._unset.popleft().set_result(result)

    def give_up(self, reason: BaseException) -> None:
        """Begin no more cells; whoever waits for one gets the reason."""
        self.left -= len(self.tasks)
        self.tasks.clear()
        while self._unset:
            self._unset.popleft().set_exception(reason)

    def release(self) -> None:
        for data in self._data:
            data.unpersist()


class _Pool:
    """Threads that compute the cells of all folds, those of a fold before those of the next one."""

    def __init__(self, folds: Sequence[_Fold], most_cached: int, seconds: dict[int, float]) -> None:
        self._folds = folds
        self._most_cached = most_cached
        self._seconds = seconds
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
            task = fold.take()
        began = time.monotonic()
        error: BaseException | None = None
        try:
            result = task()
        except BaseException as raised:  # noqa: BLE001 - fit() raises it, in its own thread
            error = raised
        with self._changed:
            fold.left -= 1
            is_over = fold.left == 0
            if error is None:
                self._seconds[result[0]] = time.monotonic() - began
                fold.put(result)
            self._changed.notify_all()
        if is_over:
            fold.release()
        if error is not None:
            self.close(error)

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._cells:
                    return
                cell = self._cells.popleft()
            cell()

    def _next_fold(self) -> _Fold | None:
        in_flight = sum(fold.begun and fold.left > 0 for fold in self._folds)
        for fold in self._folds:
            if fold.tasks and (fold.begun or in_flight < self._most_cached):
                return fold
        return None
