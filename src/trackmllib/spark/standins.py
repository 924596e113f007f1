"""Thin stand-ins for the estimator and the evaluator of a fold.

Spark's ``_parallelFitTasks`` uses nothing of an estimator but ``fitMultiple`` (the one of
``pyspark.ml.connect``: ``fit``) and nothing of an evaluator but ``evaluate``. Handed to it in place
of the user's own, these two see the fit and the score of each cell, while Spark's code and the
user's run unmodified.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

# Its iterator is looked up when it is needed: a later pyspark may not have it.
from pyspark.ml import base

from trackmllib.spark.here import Here


class EstimatorStandIn:
    """The user's estimator, whose models are seen as they are fitted."""

    # Spark hands out tasks that are all the same, and the candidate is known in the fit.
    tasks_in_order = False

    def __init__(
        self,
        estimator: Any,
        here: Here,
        order: Callable[[], Sequence[int]] | None = None,
        prepare: Callable[[int], None] | None = None,
    ) -> None:
        self._estimator = estimator
        self._here = here
        self._order = order
        self._prepare = prepare

    def fitMultiple(self, dataset: Any, params: Any) -> Iterator[tuple[int, Any]]:
        models = self._estimator.fitMultiple(dataset, params)
        if type(models) is base._FitMultipleIterator:
            watched = self._watch_single(models.fitSingleModel, dataset)
            if self._order is not None:
                return _InOrder(watched, self._order)
            single: Iterator[tuple[int, Any]] = base._FitMultipleIterator(watched, models.numModel)
            return single
        return _Models(models, self._here, dataset)

    def _watch_single(self, fit: Callable[[int], Any], data: Any) -> Callable[[int], Any]:
        """``fitSingleModel`` of Spark's own iterator: it knows the candidate before the fit."""

        def fit_single_model(index: int) -> Any:
            cell = self._here.cell
            if self._prepare is not None:
                self._prepare(index)
                if cell is not None:
                    cell.begins()
            if cell is not None:
                cell.started(index)
            model = fit(index)
            if cell is not None:
                cell.fitted(model, data)
            return model

        return fit_single_model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)


class ConnectStandIn:
    """The user's estimator of ``pyspark.ml.connect``, which is fitted once for each cell."""

    # There is a task for each candidate.
    tasks_in_order = True

    def __init__(self, estimator: Any, here: Here, order: Any = None, prepare: Any = None) -> None:
        self._estimator = estimator
        self._here = here

    def fit(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        model = self._estimator.fit(dataset, *args, **kwargs)
        if self._here.cell is not None:
            self._here.cell.fitted(model, dataset)
        return model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)


class EvaluatorStandIn:
    """The user's evaluator, whose scores are seen as it returns them."""

    def __init__(self, evaluator: Any, here: Here) -> None:
        self._evaluator = evaluator
        self._here = here

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        score = self._evaluator.evaluate(*args, **kwargs)
        cell = self._here.cell
        if cell is not None:
            cell.scored(score)
        return score

    def __getattr__(self, name: str) -> Any:
        return getattr(self._evaluator, name)


class _InOrder:
    """Models of Spark's own iterator, in an order that is asked for when the first one is."""

    def __init__(self, fit: Callable[[int], Any], order: Callable[[], Sequence[int]]) -> None:
        self._fit = fit
        self._order = order
        self._left: Iterator[int] | None = None
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return self

    def __next__(self) -> tuple[int, Any]:
        with self._lock:
            if self._left is None:
                self._left = iter(self._order())
            index = next(self._left)
        return index, self._fit(index)


class _Models:
    """Models of an estimator with a ``fitMultiple`` of its own: the index comes with the model."""

    def __init__(self, models: Iterator[tuple[int, Any]], here: Here, data: Any) -> None:
        self._models = models
        self._here = here
        self._data = data

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return self

    def __next__(self) -> tuple[int, Any]:
        cell = self._here.cell
        if cell is not None:
            cell.fits_unknown()
        index, model = next(self._models)
        if cell is not None:
            cell.started(index)
            cell.fitted(model, self._data)
        return index, model
