"""Checks of the private parts of pyspark that we rely on.

A later pyspark may remove or change them. No check needs a Spark session.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pyspark
from pyspark.ml import base, classification, tuning

from trackmllib.support.guard import attempt

_FOLD_ARGUMENTS = ["est", "train", "eva", "validation", "epm"]


def differences() -> list[str]:
    """Assumptions that do not hold for the installed pyspark; usually none."""
    return [what for what, holds in _ASSUMPTIONS.items() if not attempt(holds, False)]


def compatibility_warnings(found: list[str]) -> list[str]:
    """Warnings about these differences."""
    if not found:
        return []
    return [
        f"trackmllib does not support pyspark {pyspark.__version__} ({', '.join(found)}): "
        "searches are recorded from the models they return, without folds and times. The training "
        "is not affected. A newer trackmllib may support this pyspark."
    ]


def has_thread_target(module: ModuleType) -> bool:
    """Whether a module wraps the tasks of its threads as expected."""

    def known() -> bool:
        function = _pyspark_function(module.inheritable_thread_target)
        return function is None or _arguments(function) == ["f"]

    return attempt(known, False)


def _fold_is_supported() -> bool:
    """Whether a fold only calls methods that the proxies have."""

    class Stub:
        """Estimator, model and evaluator of a fold without data."""

        def fitMultiple(self, dataset: Any, params: Any) -> Any:
            return iter([(index, self) for index in range(len(params))])

        def transform(self, dataset: Any, params: Any) -> Any:
            return dataset

        def evaluate(self, dataset: Any) -> float:
            return 0.5

    fold = _pyspark_function(tuning._parallelFitTasks)
    if fold is None:
        return True
    stub = Stub()
    results = [task() for task in fold(stub, None, stub, None, [{}, {}], False)]
    return _arguments(fold)[: len(_FOLD_ARGUMENTS)] == _FOLD_ARGUMENTS and (
        [result[:2] for result in results] == [(0, 0.5), (1, 0.5)]
    )


def _calls(method: Any, name: str) -> bool:
    """Whether a method looks a function up in its module."""
    method = _pyspark_function(method)
    return method is None or (name in method.__code__.co_names and name in method.__globals__)


def _pyspark_function(function: Any) -> Any:
    """The unwrapped function; None if it is not pyspark's own."""
    function = inspect.unwrap(function)
    return function if function.__module__.startswith("pyspark.") else None


def _iterator_is_supported() -> bool:
    models = base._FitMultipleIterator(str, 2)
    return (models.fitSingleModel, models.numModel, list(models)) == (str, 2, [(0, "0"), (1, "1")])


def _average_is_supported() -> bool:
    table = [[1.0, 2.0], [2.0, 2.5], [6.0, 8.0]]
    found = tuning.CrossValidator._gen_avg_and_std_metrics(table)
    return np.array_equal(found, [np.mean(table, axis=0), np.std(table, axis=0)])


def _arguments(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


_ASSUMPTIONS: dict[str, Callable[[], bool]] = {
    "_parallelFitTasks is missing or does something else": _fold_is_supported,
    "the tuners do not call _parallelFitTasks": lambda: all(
        _calls(tuner._fit, "_parallelFitTasks")
        for tuner in (tuning.CrossValidator, tuning.TrainValidationSplit)
    ),
    "_FitMultipleIterator is missing or does something else": _iterator_is_supported,
    "CrossValidator averages in another way": _average_is_supported,
    "OneVsRest starts its threads in another way": lambda: (
        has_thread_target(classification)
        and _calls(classification.OneVsRest._fit, "inheritable_thread_target")
    ),
}
