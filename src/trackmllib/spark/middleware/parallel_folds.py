"""Middleware ``parallel_folds``: the fits of all folds share one pool.

Spark's own loop over the folds runs unchanged. For each fold it receives tasks that wait for the
pool and return its results. The data of a fold is cached from its first fit to its last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pyspark
from pyspark import inheritable_thread_target
from pyspark.ml.tuning import CrossValidator

from trackmllib.config.settings import Settings
from trackmllib.domain.descriptions import SearchDescription
from trackmllib.spark.introspection.estimators import fits_in_any_order
from trackmllib.spark.introspection.user_code import is_spark_code
from trackmllib.spark.middleware.base import (
    CallNext,
    FoldCall,
    Middleware,
    MiddlewareContext,
    SearchEnded,
    Tasks,
)
from trackmllib.spark.middleware.fold_pool import FoldFits, FoldPool
from trackmllib.spark.middleware.frames import FrameProxy, unwrap_frames


def parallel_folds(settings: Settings, search: MiddlewareContext) -> Middleware | None:
    """Create the middleware if ``parallel_folds`` is on."""
    if not settings.is_on("parallel_folds"):
        return None
    return ParallelFolds(
        settings.max_cached_folds, search, is_explicit=settings.parallel_folds is True
    )


class ParallelFolds(Middleware):
    """One pool for the folds of one search.

    :param is_explicit: Whether the option itself is True. With ``accelerate`` only, the middleware
        has an effect only on Spark's own code, and does not warn if it has none.
    """

    name = "parallel_folds"

    def __init__(
        self, max_cached_folds: int, search: MiddlewareContext, *, is_explicit: bool
    ) -> None:
        self._max_cached_folds = max_cached_folds
        self._search = search
        self._is_explicit = is_explicit
        self._threads = 0
        # How often fold_tasks was called, and whether wrap_folds was.
        self._requested_folds = 0
        self._folds_wrapped = False
        self._data: list[tuple[FrameProxy, FrameProxy]] = []
        self._folds: list[FoldFits] = []
        self._pool: FoldPool | None = None

    def describe(self, description: SearchDescription, tuner: Any, maps: Any) -> SearchDescription:
        has_effect = (
            isinstance(tuner, CrossValidator)
            and tuner.getParallelism() > 1
            and fits_in_any_order(tuner.getEstimator())
            and not self._may_depend_on_fold_order(tuner)
        )
        return replace(description, parallel_folds=has_effect)

    def wrap_folds(self, tuner: Any, folds: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        # A subclass may run Spark's loop again, with other folds.
        self.close()
        self._folds_wrapped = True
        self._threads = tuner.getParallelism()
        estimator = tuner.getEstimator()
        if not fits_in_any_order(estimator):
            self._warn(f"{type(estimator).__name__} has its own fitMultiple")
        elif self._threads > 1 and self._may_depend_on_fold_order(tuner):
            self._warn(
                "with a single candidate, code from outside pyspark.ml may depend on the order of "
                "the folds"
            )
        elif self._threads > 1 and len(folds) > 1:
            self._data = [(FrameProxy(one), FrameProxy(other)) for one, other in folds]
            return list(self._data)
        return folds

    def fold_tasks(self, call: FoldCall, call_next: CallNext) -> Tasks:
        self._requested_folds += 1
        fold = next((at for at, (train, _) in enumerate(self._data) if train is call.train), None)
        if fold is None:
            if self._data:
                self._warn("Spark stores the data of the folds outside its cache")
            elif self._requested_folds == 2 and not self._folds_wrapped:
                self._warn("this tuner does not use the folds that pyspark.ml.tuning makes")
            return call_next(unwrap_frames(call))
        if self._pool is None:
            self._start_pool(call, call_next)
        return self._folds[fold].results()

    def _may_depend_on_fold_order(self, tuner: Any) -> bool:
        """Whether user code may depend on the order of the folds.

        With a single candidate, Spark uses one thread, so the order of all fits is fixed.
        """
        maps = tuner.getEstimatorParamMaps()
        may_depend = len(maps) == 1 or not self._is_explicit
        return may_depend and not is_spark_code(tuner.getEstimator(), tuner.getEvaluator(), maps)

    def _warn(self, reason: str) -> None:
        if self._is_explicit:
            self._search.warn_once(
                f"parallel_folds has no effect: {reason}. Folds are computed one after another."
            )

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close(SearchEnded())
        # Release models now: on Connect, that is a call to the server.
        self._data, self._folds, self._pool = [], [], None

    def _start_pool(self, call: FoldCall, call_next: CallNext) -> None:
        """Create the tasks of all folds and start the pool.

        Runs in the thread of ``fit()``, whose local properties the pool inherits, like Spark's own.
        """
        spark_threads = min(self._threads, len(call.maps))
        for train, validation in self._data:
            is_first = not self._folds
            fold = FoldFits((train.frame, validation.frame), spark_threads, is_first)
            fold_call = replace(
                call,
                train=train.frame,
                validation=validation.frame,
                order=partial(self._longest_first, fold, len(call.maps)),
                results_in_grid_order=False,
                run_fit=fold.run_fit,
            )
            fold.add(call_next(fold_call))
            self._folds.append(fold)
        self._pool = FoldPool(self._folds, self._max_cached_folds)
        inherit = _thread_inheritance(call.train.sparkSession)
        fits = sum(fold.left for fold in self._folds)
        self._pool.start([inherit(self._pool.run_next_fit) for _ in range(fits)], self._threads)

    def _longest_first(self, fold: FoldFits, candidates: int) -> list[int]:
        """Order candidates by their duration in an earlier fold."""
        seconds = self._search.seconds
        order = sorted(
            range(candidates), key=lambda at: seconds.get(at, float("inf")), reverse=True
        )
        fold.runs_like_spark &= order == sorted(order)
        return order


def _thread_inheritance(session: Any) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Return the decorator that Spark applies to the tasks of its pool."""
    inherit: Callable[[Callable[[], None]], Callable[[], None]] = inheritable_thread_target
    if int(pyspark.__version__.partition(".")[0]) >= 4:
        inherit = inheritable_thread_target(session)
    return inherit
