"""Instrumentation of ``transform`` and ``evaluate`` after training.

A DataFrame that a watched model's ``transform`` returns is remembered as long as it exists, so that
its evaluation is recognized. Nothing is patched before ``install``, or before the first model is
watched.

``Model.transform`` and ``Evaluator.evaluate`` themselves are not patched: MLflow's autologging
replaces them, and restores them without our patches when it is switched off or on again.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any, Protocol

from pyspark.ml.evaluation import Evaluator

from trackmllib.domain.descriptions import Dataset
from trackmllib.domain.evaluations import Evaluation
from trackmllib.spark.instrumentation.search_factory import fit_arguments
from trackmllib.spark.instrumentation.subclasses import SubclassPatches
from trackmllib.spark.introspection.dataset import describe_columns, describe_dataset
from trackmllib.spark.introspection.tuner import describe_component, metric_name
from trackmllib.support.guard import Guard, attempt
from trackmllib.support.patching import Patch, is_patched
from trackmllib.support.redaction import Hides
from trackmllib.support.weak_map import WeakIdentityMap


class EvaluationSink(Protocol):
    """Receiver of the evaluations of one search's model."""

    @property
    def hides(self) -> Hides:
        """Function that tells whether a param is secret, by its name."""
        ...

    @property
    def logs_datasets(self) -> bool:
        """Whether predictions are described."""
        ...

    def describe_dataset(self, data: Any) -> Dataset | None:
        """Describe predictions as MLflow's autologging does, with a Spark job.

        :returns: None if MLflow has not switched recording on.
        """
        ...

    def guard(self) -> Guard:
        """Context in which internal errors are reported instead of raised."""
        ...

    def dataset_name(self, dataset: Any) -> str:
        """Name of the variable that holds the data, in the calling code.

        Each function between this one and the user's code must have ``dataset`` as an argument.
        """
        ...

    def log(self, evaluation: Evaluation) -> None:
        """Log an evaluation, without waiting for a server."""
        ...


class _Thread(threading.local):
    is_evaluating = False


class PostTrainingInstrumentation:
    """Patches that report evaluations of watched models, without keeping them.

    :param is_in_search: Whether the current thread works for a search, whose own calls are ignored.
    """

    def __init__(self, is_in_search: Callable[[], bool]) -> None:
        self._is_in_search = is_in_search
        self._models: WeakIdentityMap[EvaluationSink] = WeakIdentityMap()
        self._predictions: WeakIdentityMap[tuple[EvaluationSink, str]] = WeakIdentityMap()
        self._evaluators = SubclassPatches((Evaluator,), "evaluate", self._evaluate)
        # The wrapper on the class holds its patch, so that the class can be garbage-collected.
        self._transforms: weakref.WeakSet[Patch] = weakref.WeakSet()
        self._thread = _Thread()
        self._lock = threading.Lock()

    def install(self) -> None:
        """Patch the evaluators now.

        In ``evaluator.evaluate(tuner.fit(train).transform(test))``, Python looks up ``evaluate``
        before ``fit`` returns a model to watch.
        """
        with self._lock:
            self._evaluators.install()

    def watch(self, model: Any, sink: EvaluationSink) -> None:
        """Report evaluations of a tuner's model, and of its best model."""
        with self._lock:
            for each in (model, attempt(lambda: model.bestModel, None)):
                if each is not None:
                    self._models.set(each, sink)
                    self._patch(type(each))
        self.install()

    def uninstall(self) -> None:
        """Remove the patches, and forget all models."""
        with self._lock:
            for patch in self._transforms:
                patch.uninstall()
            self._evaluators.uninstall()
            self._models.clear()
            self._predictions.clear()

    def _patch(self, model_class: Any) -> None:
        if not is_patched(model_class.transform):
            patch = Patch(model_class, "transform", self._transform)
            patch.install()
            self._transforms.add(patch)

    def _transform(self, original: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        """Wrapper of a model's ``transform(dataset, params=None)``."""
        predictions = original(model, *args, **kwargs)
        sink = self._models.get(model)
        if sink is not None and not self._is_in_search():
            with sink.guard():
                name = sink.dataset_name(fit_arguments(args, kwargs)[0])
                self._predictions.set(predictions, (sink, name))
        return predictions

    def _evaluate(self, original: Any, evaluator: Any, *args: Any, **kwargs: Any) -> Any:
        """Wrapper of an evaluator's ``evaluate(dataset, params=None)``.

        An evaluator may call another one; as in MLflow, only the outer call counts.
        """
        if self._thread.is_evaluating or self._is_in_search():
            return original(evaluator, *args, **kwargs)
        with self._evaluating():
            value = original(evaluator, *args, **kwargs)
        dataset, params = fit_arguments(args, kwargs)
        found = self._predictions.get(dataset)
        if found is not None and isinstance(value, Real) and not isinstance(value, bool):
            sink, dataset_name = found
            with sink.guard():
                evaluator = evaluator.copy(params) if params else evaluator
                predictions = None
                if sink.logs_datasets:
                    predictions = sink.describe_dataset(dataset) or describe_dataset(dataset)
                sink.log(
                    Evaluation(
                        metric=metric_name(evaluator),
                        value=float(value),
                        dataset_name=dataset_name,
                        evaluator=describe_component(evaluator, sink.hides),
                        predictions=predictions,
                        schema=describe_columns(dataset) if sink.logs_datasets else (),
                    )
                )
        return value

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        self._thread.is_evaluating = True
        try:
            yield
        finally:
            self._thread.is_evaluating = False
