"""Checks that the installed pyspark is as the seam knows it, and says where it is not.

What is checked are names that pyspark does not promise: a later one may lack them, or do another
thing by the same name. Nothing here needs a Spark session.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pyspark
from pyspark.ml import base, classification, tuning

from trackmllib.guard import attempt

_FOLD_ARGUMENTS = ["est", "train", "eva", "validation", "epm"]


def differences() -> list[str]:
    """What of the installed pyspark is not as we know it, each in a few words; [] if all is."""
    return [what for what, holds in _ASSUMPTIONS.items() if not attempt(holds, False)]


def doubts(found: list[str]) -> list[str]:
    """What to tell people about these differences: one sentence, or none."""
    if not found:
        return []
    return [
        f"pyspark {pyspark.__version__} is not as trackmllib knows it ({', '.join(found)}): "
        "searches are recorded from the models they return, without folds and times. The training "
        "is not affected. A newer trackmllib may know this pyspark."
    ]


def hands_to_threads(module: ModuleType) -> bool:
    """Whether a module of pyspark's has the function we know, for what it hands to threads."""

    def known() -> bool:
        function = _of_pyspark(module.inheritable_thread_target)
        return function is None or _arguments(function) == ["f"]

    return attempt(known, False)


def _does_a_fold() -> bool:
    """Whether a fold needs nothing of estimator and evaluator but what the stand-ins watch."""

    class Rehearsal:
        """Estimator, model and evaluator of a fold without data."""

        def fitMultiple(self, dataset: Any, params: Any) -> Any:
            return iter([(index, self) for index in range(len(params))])

        def transform(self, dataset: Any, params: Any) -> Any:
            return dataset

        def evaluate(self, dataset: Any) -> float:
            return 0.5

    fold = _of_pyspark(tuning._parallelFitTasks)
    if fold is None:
        return True
    part = Rehearsal()
    results = [task() for task in fold(part, None, part, None, [{}, {}], False)]
    return _arguments(fold)[: len(_FOLD_ARGUMENTS)] == _FOLD_ARGUMENTS and (
        [result[:2] for result in results] == [(0, 0.5), (1, 0.5)]
    )


def _calls(method: Any, name: str) -> bool:
    """Whether a method of pyspark's calls that function itself, by its name in the module."""
    method = _of_pyspark(method)
    return method is None or (name in method.__code__.co_names and name in method.__globals__)


def _of_pyspark(function: Any) -> Any:
    """The function without its wrappers; None if somebody else has put it there.

    From such a one nothing follows for pyspark, and it is not called without need.
    """
    function = inspect.unwrap(function)
    return function if function.__module__.startswith("pyspark.") else None


def _counts_candidates() -> bool:
    models = base._FitMultipleIterator(str, 2)
    return (models.fitSingleModel, models.numModel, list(models)) == (str, 2, [(0, "0"), (1, "1")])


def _averages_folds() -> bool:
    table = [[1.0, 2.0], [2.0, 2.5], [6.0, 8.0]]
    found = tuning.CrossValidator._gen_avg_and_std_metrics(table)
    return np.array_equal(found, [np.mean(table, axis=0), np.std(table, axis=0)])


def _arguments(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


_ASSUMPTIONS: dict[str, Callable[[], bool]] = {
    "_parallelFitTasks is missing or does something else": _does_a_fold,
    "the tuners do not call _parallelFitTasks": lambda: all(
        _calls(tuner._fit, "_parallelFitTasks")
        for tuner in (tuning.CrossValidator, tuning.TrainValidationSplit)
    ),
    "_FitMultipleIterator is missing or does something else": _counts_candidates,
    "CrossValidator averages in another way": _averages_folds,
    "OneVsRest starts its threads in another way": lambda: (
        hands_to_threads(classification)
        and _calls(classification.OneVsRest._fit, "inheritable_thread_target")
    ),
}
