"""Computation of the further metrics of each fit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from trackmllib.config.settings import Settings
from trackmllib.domain.further_metrics import TRAIN_PREFIX
from trackmllib.spark.evaluation.one_pass import can_compute, metric_readers
from trackmllib.spark.evaluation.plan import (
    MetricPlan,
    Metrics,
    plan_metrics,
    with_metric,
)
from trackmllib.support.formatting import error_summary

# Returns the model's predictions for the fold's training data.
Predict = Callable[[], Any]


class FurtherMetrics:
    """Further metrics of one search; ``plan`` is empty until ``make_plan``.

    The methods run the code of evaluators, and raise no ``Exception``: a metric that fails is left
    out, with one warning for all fits.

    :param warn: Called with a warning.
    """

    def __init__(self, settings: Settings, warn: Callable[[str], None]) -> None:
        self.plan = MetricPlan()
        self._settings = settings
        self._warn = warn
        self._warned: set[str] = set()
        self._lock = threading.Lock()

    def make_plan(self, evaluator: Any) -> MetricPlan:
        """Plan the metrics for a tuner with this evaluator."""
        if self._settings.metrics or self._settings.train_scores:
            self.plan = plan_metrics(evaluator, self._settings, self._warn)
        return self.plan

    def compute(self, evaluator: Any, validation: Any, predict: Predict) -> dict[str, float]:
        """Compute the metrics of a fit, by name.

        :param evaluator: The tuner's evaluator.
        :param validation: The model's predictions for the fold's validation data.
        """
        values = dict(self._compute(self.plan.validation, evaluator, validation))
        if self.plan.training:
            try:
                training = predict()
            except Exception as error:  # noqa: BLE001 - of the user's model
                self._failed("the metrics on the training data are", error)
                return values
            computed = self._compute(self.plan.training, evaluator, training)
            values.update((TRAIN_PREFIX + name, value) for name, value in computed)
        return values

    def _compute(
        self, groups: tuple[Metrics, ...], evaluator: Any, data: Any
    ) -> Iterator[tuple[str, float]]:
        for group in groups:
            used = evaluator if group.evaluator is None else group.evaluator
            values = self._in_one_pass(used, group.names, data)
            for name in group.names:
                if name in values:
                    yield name, values[name]
                    continue
                try:
                    yield name, float(with_metric(used, name).evaluate(data))
                except Exception as error:  # noqa: BLE001 - of Spark or the user's evaluator
                    self._failed(f"the metric {name!r} is", error)

    def _in_one_pass(self, evaluator: Any, names: tuple[str, ...], data: Any) -> dict[str, float]:
        """Values that Spark computes together; without those that it does not."""
        values: dict[str, float] = {}
        try:
            if can_compute(evaluator, names, data):
                with metric_readers(evaluator, names, data) as readers:
                    for name, read in readers.items():
                        values[name] = float(read())
        except Exception:  # noqa: BLE001 - each of the others is then evaluated by itself
            pass
        return values

    def _failed(self, what: str, error: Exception) -> None:
        with self._lock:
            if what in self._warned:
                return
            self._warned.add(what)
        self._warn(
            f"{what} missing for some fits ({error_summary(error)}). The training and its scores "
            "are not affected."
        )
