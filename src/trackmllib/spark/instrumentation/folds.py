"""Wrappers of the functions that make folds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from trackmllib.domain.descriptions import PriorScore
from trackmllib.spark.instrumentation.fit_tracker import FitTracker
from trackmllib.spark.instrumentation.proxies import (
    ConnectEstimatorProxy,
    EstimatorProxy,
    EvaluatorProxy,
)
from trackmllib.spark.instrumentation.search_tracker import SearchTracker
from trackmllib.spark.instrumentation.stop_gate import StopGate
from trackmllib.spark.instrumentation.thread_context import ThreadContext, Work
from trackmllib.spark.middleware.base import FoldCall, RunFit, Task, Timer
from trackmllib.spark.middleware.frames import unwrap_frames

EstimatorProxyClass = type[EstimatorProxy] | type[ConnectEstimatorProxy]
NewTracker = Callable[[], FitTracker]
# The result of Spark's task for a candidate and its score.
MakeResult = Callable[[int, float], Any]


class FoldInstrumentation:
    """Tracks the fits of each fold, and applies the middleware of the search.

    ``loops`` holds the code objects of Spark's own loops over the folds.

    :param enter: Returns a context in which the thread does this work.
    """

    def __init__(
        self, context: ThreadContext, enter: Callable[[Work], AbstractContextManager[None]]
    ) -> None:
        self.loops: set[Any] = set()
        self._context = context
        self._enter = enter

    def fit_tasks(
        self,
        proxy: EstimatorProxyClass,
        original: Any,
        est: Any,
        train: Any,
        eva: Any,
        validation: Any,
        epm: Any,
        *rest: Any,
        **named: Any,
    ) -> Any:
        """Wrapper of ``_parallelFitTasks``, which creates the tasks of a fold.

        Spark calls it once for each fold, in the thread of ``_fit``.
        """
        work = self._context.work
        search = work.search
        if search is None or search.superseded:
            return self._muted(original(est, train, eva, validation, epm, *rest, **named))
        # The caller of the patched function.
        loop = sys._getframe(2)
        spark_loops = loop.f_code in self.loops
        call_next = partial(self._tracked_tasks, search, spark_loops, proxy, original, rest, named)
        call = FoldCall(
            estimator=est,
            train=train,
            evaluator=eva,
            validation=validation,
            maps=epm,
            collects_models=bool(rest[0] if rest else named.get("collectSubModel", False)),
        )
        if work.middleware is None or not spark_loops:
            return call_next(unwrap_frames(call))
        # A subclass with its own fit() may not have started its search yet.
        search.begin(epm, spark_loops=True)
        return work.middleware.fold_tasks(call, call_next, loop)

    def k_fold(self, original: Any, tuner: Any, *args: Any, **kwargs: Any) -> Any:
        """Wrapper of ``_kFold``, which splits the data into folds."""
        folds = original(tuner, *args, **kwargs)
        search, middleware = self._context.search, self._context.work.middleware
        if search is None or middleware is None or sys._getframe(2).f_code not in self.loops:
            return folds
        # A subclass with its own fit() has not started its search yet.
        search.begin(tuner.getEstimatorParamMaps(), spark_loops=True)
        return middleware.wrap_folds(tuner, folds)

    def carry(self, function: Callable[..., Any], work: Work) -> Callable[..., Any]:
        """Wrap a function so that it runs in the context of ``work``."""

        def carried(*args: Any, **kwargs: Any) -> Any:
            with self._enter(work):
                return function(*args, **kwargs)

        return carried

    def _tracked_tasks(
        self,
        search: SearchTracker,
        spark_loops: bool,
        proxy: EstimatorProxyClass,
        original: Any,
        rest: tuple[Any, ...],
        named: dict[str, Any],
        call: FoldCall,
    ) -> list[Task]:
        """Create the tasks of a fold with Spark's function, and track them."""
        new_tracker = search.begin_fold(call.maps, spark_loops=spark_loops)
        estimator, evaluator = call.estimator, call.evaluator
        if new_tracker is not None:
            estimator = proxy(estimator, self._context, call)
            evaluator = EvaluatorProxy(
                evaluator, self._context, search.further, call.maps, call.score_for_spark
            )
        tasks = original(
            estimator, call.train, evaluator, call.validation, call.maps, *rest, **named
        )
        if new_tracker is None:
            return self._muted(tasks)
        if proxy.tasks_in_order:
            tasks = [
                self._of_candidate(index, task)
                for index, task in enumerate(tasks)
                if index not in call.reused
            ]
        else:
            # Tasks are interchangeable: each fits the next model.
            tasks = tasks[: len(tasks) - len(call.reused)]
        left = iter(tasks)
        # Keep the order of the grid, because StopIteration cuts off all later tasks.
        return [
            partial(_reuse_score, new_tracker, index, call.reused[index], proxy.result)
            if index in call.reused
            else self._fit_task(
                search.stop_gate, new_tracker, next(left), call.run_fit, proxy.result
            )
            for index in range(len(call.maps))
        ]

    def _muted(self, tasks: list[Task]) -> list[Task]:
        """Tasks of a fold that is not recorded."""
        if not self._context.is_in_search:
            return tasks
        return [self.carry(task, Work(muted=True)) for task in tasks]

    def _of_candidate(self, index: int, task: Task) -> Task:
        """Wrap a task whose candidate is known before it runs."""

        def of_candidate() -> Any:
            if self._context.fit is not None:
                self._context.fit.started(index)
            return task()

        return of_candidate

    def _fit_task(
        self,
        stop_gate: StopGate,
        new_tracker: NewTracker,
        task: Task,
        run_fit: RunFit | None,
        result: MakeResult,
    ) -> Task:
        """Wrap a task in its tracker and the middleware."""

        def fit() -> Any:
            with (
                stop_gate.running_fit(),
                new_tracker() as tracker,
                self._enter(Work(fit=tracker)),
            ):
                return task() if run_fit is None else run_fit(_RunningFit(tracker, task, result))

        return fit


def _reuse_score(
    new_tracker: NewTracker, candidate: int, prior: PriorScore, result: MakeResult
) -> Any:
    """Task of a fit whose score is reused."""
    new_tracker().reused(candidate, prior)
    return result(candidate, prior.score)


class _RunningFit:
    """Implementation of ``RunningFit`` for the middleware around a fit."""

    def __init__(self, tracker: FitTracker, task: Task, result: MakeResult) -> None:
        self._tracker = tracker
        self.result = result
        self.run = task
        self.record_retry = tracker.retried
        self.record_skip = tracker.skipped
        self.check_time = tracker.check_time
        self.restart_timer = tracker.restart_timer
        self.exclude = tracker.exclude
        self.record_derived_from = tracker.derived

    @property
    def candidate(self) -> int | None:
        return self._tracker.candidate

    @property
    def tag(self) -> str:
        return self._tracker.labels.tag

    def set_timer(self, timer: Timer | None) -> None:
        self._tracker.timer = timer
