"""Proxies of a fold's estimator and evaluator, which observe each fit.

Of an estimator, Spark's ``_parallelFitTasks`` calls only ``fitMultiple`` (or ``fit``, in
``pyspark.ml.connect``), and of an evaluator only ``evaluate``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

# Not _FitMultipleIterator itself, which a later pyspark may not have.
from pyspark.ml import base

from trackmllib.spark.evaluation.further_metrics import FurtherMetrics
from trackmllib.spark.instrumentation.fit_tracker import FitTracker
from trackmllib.spark.instrumentation.thread_context import ThreadContext
from trackmllib.spark.introspection.estimators import fits_in_any_order
from trackmllib.spark.middleware.base import FoldCall


class EstimatorProxy:
    """Proxy of an estimator that skips candidates with reused scores."""

    # Any task may fit any candidate.
    tasks_in_order = False

    def __init__(self, estimator: Any, context: ThreadContext, call: FoldCall) -> None:
        self._estimator = estimator
        self._context = context
        self._call = call
        self._left = [at for at in range(len(call.maps)) if at not in call.reused]

    @staticmethod
    def result(candidate: int, score: float) -> Any:
        """Result of Spark's task, without a sub-model."""
        return candidate, score, None

    def fitMultiple(self, dataset: Any, params: Any) -> Iterator[tuple[int, Any]]:
        call = self._call
        if not self._left:
            return iter(())
        if call.reused and not fits_in_any_order(self._estimator):
            some = [params[at] for at in self._left]
            models = self._estimator.fitMultiple(dataset, some)
            return self._models(models, dataset, params, self._left.__getitem__)
        models = self._estimator.fitMultiple(dataset, params)
        if type(models) is not base._FitMultipleIterator:
            return self._models(models, dataset, params, lambda index: index)
        tracked = self._track_single(models.fitSingleModel, dataset)
        if call.order is None and call.run_fit is None and not call.reused:
            single: Iterator[tuple[int, Any]] = base._FitMultipleIterator(tracked, models.numModel)
            return single
        order = call.order or (lambda: self._left)
        left = lambda: [at for at in order() if at not in call.reused]  # noqa: E731 - called later
        return _OrderedModels(tracked, left, self._context)

    def _models(
        self, models: Iterator[tuple[int, Any]], data: Any, params: Any, index: Callable[[int], int]
    ) -> Iterator[tuple[int, Any]]:
        def fit_again(candidate: int) -> Any:
            ((_, model),) = self._estimator.fitMultiple(data, [params[candidate]])
            return model

        return _ModelsOfUser(models, self._context, data, index, fit_again)

    def _track_single(self, fit: Callable[[int], Any], data: Any) -> Callable[[int], Any]:
        """Wrap Spark's ``fitSingleModel``, which gets the candidate's index."""

        def fit_single_model(index: int) -> Any:
            tracker = self._context.fit
            if self._call.prepare is not None:
                if tracker is not None:
                    tracker.pause()
                self._call.prepare(index)
                if tracker is not None:
                    tracker.restart()
            if tracker is not None:
                tracker.started(index)
            model = fit(index)
            if tracker is not None:
                tracker.check_time()
                tracker.fitted(model, data)
            return model

        return fit_single_model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)


class ConnectEstimatorProxy:
    """Proxy of a ``pyspark.ml.connect`` estimator: ``fit`` is one fit."""

    # The tasks have the order of the candidates.
    tasks_in_order = True

    def __init__(self, estimator: Any, context: ThreadContext, call: FoldCall) -> None:
        self._estimator = estimator
        self._context = context

    @staticmethod
    def result(candidate: int, score: float) -> Any:
        return candidate, score

    def fit(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        model = self._estimator.fit(dataset, *args, **kwargs)
        if self._context.fit is not None:
            self._context.fit.check_time()
            self._context.fit.fitted(model, dataset)
        return model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)


class EvaluatorProxy:
    """Proxy of the user's evaluator.

    :param further: Further metrics, computed after each score.
    :param maps: The grid.
    :param score_for_spark: Maps a candidate and its score to the score that Spark receives.
    """

    def __init__(
        self,
        evaluator: Any,
        context: ThreadContext,
        further: FurtherMetrics,
        maps: Sequence[Any],
        score_for_spark: Callable[[int, float], float] | None = None,
    ) -> None:
        self._evaluator = evaluator
        self._context = context
        self._further = further
        self._maps = maps
        self._score_for_spark = score_for_spark

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        score = self._evaluator.evaluate(*args, **kwargs)
        tracker = self._context.fit
        if tracker is None:
            return score
        tracker.check_time()
        counts_as = score
        if self._score_for_spark is not None and tracker.candidate is not None:
            counts_as = self._score_for_spark(tracker.candidate, score)
        further = None
        if self._further.plan:
            data = args[0] if args else kwargs["dataset"]
            further = partial(self._further_metrics, tracker, data)
        tracker.scored(score, counts_as, further)
        return counts_as

    def _further_metrics(self, tracker: FitTracker, data: Any) -> dict[str, float]:
        def predict() -> Any:
            assert tracker.trained is not None
            model, train = tracker.trained
            return model.transform(train, self._maps[tracker.candidate or 0])

        return self._further.compute(self._evaluator, data, predict)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._evaluator, name)


class _OrderedModels:
    """Models from Spark's own iterator, in another order.

    ``order`` is called with the first fit. A retried fit gets the same candidate again.
    """

    def __init__(
        self, fit: Callable[[int], Any], order: Callable[[], Sequence[int]], context: ThreadContext
    ) -> None:
        self._fit = fit
        self._context = context
        self._order = order
        self._left: Iterator[int] | None = None
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return self

    def __next__(self) -> tuple[int, Any]:
        tracker = self._context.fit
        if tracker is not None and tracker.candidate is not None:
            return tracker.candidate, self._fit(tracker.candidate)
        with self._lock:
            if self._left is None:
                self._left = iter(self._order())
            index = next(self._left)
        return index, self._fit(index)


class _ModelsOfUser:
    """Models of an estimator with its own ``fitMultiple``.

    :param index: Maps the index of a model to its index in the grid.
    :param fit_again: Fits one candidate once more.
    """

    def __init__(
        self,
        models: Iterator[tuple[int, Any]],
        context: ThreadContext,
        data: Any,
        index: Callable[[int], int],
        fit_again: Callable[[int], Any],
    ) -> None:
        self._models = models
        self._context = context
        self._data = data
        self._index = index
        self._fit_again = fit_again

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return self

    def __next__(self) -> tuple[int, Any]:
        tracker = self._context.fit
        if tracker is not None:
            tracker.fitting_unknown()
        if tracker is not None and tracker.candidate is not None:
            index, model = tracker.candidate, self._fit_again(tracker.candidate)
        else:
            index, model = next(self._models)
            index = self._index(index)
        if tracker is not None:
            tracker.started(index)
            tracker.check_time()
            tracker.fitted(model, self._data)
        return index, model
