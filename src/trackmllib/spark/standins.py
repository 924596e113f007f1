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
from pyspark.ml import Estimator, base

from trackmllib.spark.here import Here
from trackmllib.spark.interventions import FoldCall


class EstimatorStandIn:
    """The user's estimator, whose models are seen as they are fitted, and fitted only where they
    are to be.
    """

    # Spark hands out tasks that are all the same, and the candidate is known in the fit.
    tasks_in_order = False

    def __init__(self, estimator: Any, here: Here, call: FoldCall) -> None:
        self._estimator = estimator
        self._here = here
        self._call = call
        self._left = [at for at in range(len(call.maps)) if at not in call.taken]

    @staticmethod
    def result(candidate: int, score: float) -> Any:
        """What Spark's task returns: without a sub-model."""
        return candidate, score, None

    def fitMultiple(self, dataset: Any, params: Any) -> Iterator[tuple[int, Any]]:
        call = self._call
        if not self._left:
            return iter(())
        if call.taken and not fits_any(self._estimator):
            some = [params[at] for at in self._left]
            models = self._estimator.fitMultiple(dataset, some)
            return self._models(models, dataset, params, self._left.__getitem__)
        models = self._estimator.fitMultiple(dataset, params)
        if type(models) is not base._FitMultipleIterator:
            return self._models(models, dataset, params, lambda index: index)
        watched = self._watch_single(models.fitSingleModel, dataset)
        if call.order is None and call.compute is None and not call.taken:
            single: Iterator[tuple[int, Any]] = base._FitMultipleIterator(watched, models.numModel)
            return single
        order = call.order or (lambda: self._left)
        left = lambda: [at for at in order() if at not in call.taken]  # noqa: E731 - called later
        return _InOrder(watched, left, self._here)

    def _models(
        self, models: Iterator[tuple[int, Any]], data: Any, params: Any, whole: Callable[[int], int]
    ) -> Iterator[tuple[int, Any]]:
        def again(index: int) -> Any:
            ((_, model),) = self._estimator.fitMultiple(data, [params[index]])
            return model

        return _Models(models, self._here, data, whole, again)

    def _watch_single(self, fit: Callable[[int], Any], data: Any) -> Callable[[int], Any]:
        """``fitSingleModel`` of Spark's own iterator: it knows the candidate before the fit."""

        def fit_single_model(index: int) -> Any:
            cell = self._here.cell
            if self._call.prepare is not None:
                if cell is not None:
                    cell.pauses()
                self._call.prepare(index)
                if cell is not None:
                    cell.begins()
            if cell is not None:
                cell.started(index)
            model = fit(index)
            if cell is not None:
                cell.check_time()
                cell.fitted(model, data)
            return model

        return fit_single_model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)


def fits_any(estimator: Any) -> bool:
    """Whether an estimator fits one candidate after the other, in whichever order it is asked."""
    own = getattr(type(estimator), "fitMultiple", None)
    return own is Estimator.fitMultiple or getattr(type(estimator), "fits_any", False)


class ConnectStandIn:
    """The user's estimator of ``pyspark.ml.connect``, which is fitted once for each cell."""

    # There is a task for each candidate.
    tasks_in_order = True

    def __init__(self, estimator: Any, here: Here, call: FoldCall) -> None:
        self._estimator = estimator
        self._here = here

    @staticmethod
    def result(candidate: int, score: float) -> Any:
        """What Spark's task returns."""
        return candidate, score

    def fit(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        model = self._estimator.fit(dataset, *args, **kwargs)
        if self._here.cell is not None:
            self._here.cell.check_time()
            self._here.cell.fitted(model, dataset)
        return model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)


class EvaluatorStandIn:
    """The user's evaluator, whose scores are seen as it returns them."""

    def __init__(
        self, evaluator: Any, here: Here, counts_as: Callable[[int, float], float] | None = None
    ) -> None:
        self._evaluator = evaluator
        self._here = here
        self._counts_as = counts_as

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        score = self._evaluator.evaluate(*args, **kwargs)
        cell = self._here.cell
        if cell is None:
            return score
        cell.check_time()
        counts_as = score
        if self._counts_as is not None and cell.candidate is not None:
            counts_as = self._counts_as(cell.candidate, score)
        cell.scored(score, counts_as)
        return counts_as

    def __getattr__(self, name: str) -> Any:
        return getattr(self._evaluator, name)


class _InOrder:
    """Models of Spark's own iterator, in an order that is asked for when the first one is. A cell
    that is tried again gets the one that it had.
    """

    def __init__(
        self, fit: Callable[[int], Any], order: Callable[[], Sequence[int]], here: Here
    ) -> None:
        self._fit = fit
        self._here = here
        self._order = order
        self._left: Iterator[int] | None = None
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return self

    def __next__(self) -> tuple[int, Any]:
        cell = self._here.cell
        if cell is not None and cell.candidate is not None:
            return cell.candidate, self._fit(cell.candidate)
        with self._lock:
            if self._left is None:
                self._left = iter(self._order())
            index = next(self._left)
        return index, self._fit(index)


class _Models:
    """Models of an estimator with a ``fitMultiple`` of its own: the index comes with the model.

    ``whole`` makes it one of the whole grid; ``again`` fits one once more.
    """

    def __init__(
        self,
        models: Iterator[tuple[int, Any]],
        here: Here,
        data: Any,
        whole: Callable[[int], int],
        again: Callable[[int], Any],
    ) -> None:
        self._models = models
        self._here = here
        self._data = data
        self._whole = whole
        self._again = again

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return self

    def __next__(self) -> tuple[int, Any]:
        cell = self._here.cell
        if cell is not None:
            cell.fits_unknown()
        if cell is not None and cell.candidate is not None:
            index, model = cell.candidate, self._again(cell.candidate)
        else:
            index, model = next(self._models)
            index = self._whole(index)
        if cell is not None:
            cell.started(index)
            cell.check_time()
            cell.fitted(model, self._data)
        return index, model
