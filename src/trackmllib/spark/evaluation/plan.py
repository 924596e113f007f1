"""Plan of the further metrics of a search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from trackmllib.config.metrics import EVALUATOR_METRICS
from trackmllib.config.settings import Settings
from trackmllib.domain import mlflow_limits
from trackmllib.domain.descriptions import FurtherMetric
from trackmllib.domain.further_metrics import TRAIN_PREFIX
from trackmllib.spark.introspection.components import values
from trackmllib.spark.introspection.tuner import metric_name
from trackmllib.support.guard import attempt

# Other metrics on child runs, and the prefix of Spark's costs.
_OUR_KEYS = ("fit_seconds", "evaluate_seconds", "metrics_seconds", "tries")
_COSTS = "spark."


@dataclass(frozen=True)
class Metrics:
    """Metrics of one evaluator, which Spark may compute in one pass.

    ``names`` are values of its ``metricName``, or the key of its only metric if it has no such
    param. ``evaluator`` is None for the tuner's, which each fold passes.
    """

    names: tuple[str, ...]
    evaluator: Any = None


@dataclass(frozen=True)
class MetricPlan:
    """Metrics to compute for each fit, on validation and training data."""

    validation: tuple[Metrics, ...] = ()
    training: tuple[Metrics, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.validation or self.training)

    def describe(self, evaluator: Any) -> tuple[FurtherMetric, ...]:
        """Describe the metrics, in the order of their columns."""
        return tuple(
            FurtherMetric(name=key, larger_is_better=attempt(_direction(configured), None))
            for key, configured in self.evaluators(evaluator)
        )

    def evaluators(self, evaluator: Any) -> Iterator[tuple[str, Any]]:
        """Yield each metric's key, and an evaluator that computes it.

        Leaves out metrics of an evaluator that cannot be copied.
        """
        for prefix, groups in (("", self.validation), (TRAIN_PREFIX, self.training)):
            for group in groups:
                for name in group.names:
                    used = evaluator if group.evaluator is None else group.evaluator
                    configured = attempt(partial(with_metric, used, name), None)
                    if configured is not None:
                        yield prefix + name, configured


def plan_metrics(evaluator: Any, settings: Settings, warn: Callable[[str], None]) -> MetricPlan:
    """Plan the metrics that the settings of a search request.

    :param evaluator: The tuner's evaluator.
    :param warn: Called with a warning about the metrics that are left out.
    """
    own = metric_name(evaluator)
    prefixes = ("", TRAIN_PREFIX) if settings.train_scores else ("",)
    taken = {*_OUR_KEYS, *_keys(own, prefixes)}
    names, groups, lacking = [], [], []
    for metric in settings.metrics:
        is_name = isinstance(metric, str)
        name = metric if is_name else metric_name(metric)
        if name == own and (is_name or _are_equal(metric, evaluator)):
            continue
        if is_name and not _may_have(evaluator, name):
            lacking.append(name)
            continue
        keys = _keys(name, prefixes)
        if not taken.isdisjoint(keys) or name.startswith(_COSTS):
            warn(
                f"the metric {name!r} is not computed: another metric has its keys in MLflow. Fix: "
                "remove it from metrics, or use an evaluator whose metric has another name."
            )
            continue
        taken.update(keys)
        if is_name:
            names.append(name)
        else:
            groups.append(Metrics((name,), metric))
    if lacking:
        warn(_not_computed(evaluator, lacking))
    further = (*([Metrics(tuple(names))] if names else []), *groups)
    if not settings.train_scores:
        return MetricPlan(further)
    return MetricPlan(further, (Metrics((own, *names)), *groups))


def with_metric(evaluator: Any, name: str) -> Any:
    """Evaluator with this ``metricName``: the same one, or a copy."""
    if metric_name(evaluator) == name:
        return evaluator
    return evaluator.copy({evaluator.metricName: name})


def is_from_spark(evaluator: Any) -> bool:
    """Whether an evaluator's class is one of pyspark's, not a subclass."""
    return type(evaluator).__module__.startswith("pyspark.ml.")


def _direction(evaluator: Any) -> Callable[[], bool]:
    return lambda: bool(evaluator.isLargerBetter())


def _keys(name: str, prefixes: Iterable[str]) -> set[str]:
    """Keys on child runs of a metric, with its averages and deviations."""
    return {
        mlflow_limits.sanitize_key(kind + prefix + name)
        for prefix in prefixes
        for kind in ("", "avg_", "std_")
    }


def _are_equal(one: Any, other: Any) -> bool:
    """Whether two evaluators are the same, or one is a copy of the other."""
    return one is other or attempt(
        lambda: one.uid == other.uid and values(one) == values(other), False
    )


def _valid_names(evaluator: Any) -> Sequence[str]:
    """Names of the metrics of an evaluator, if it is one of Spark's."""
    return EVALUATOR_METRICS.get(type(evaluator).__name__, ()) if is_from_spark(evaluator) else ()


def _may_have(evaluator: Any, name: str) -> bool:
    """Whether an evaluator may have a metric of this name."""
    valid = _valid_names(evaluator)
    return hasattr(evaluator, "metricName") and (not valid or name in valid)


def _not_computed(evaluator: Any, names: Sequence[str]) -> str:
    """Warning about names that an evaluator lacks."""
    quoted = ", ".join(map(repr, names))
    label = type(evaluator).__name__
    which = f"the metric {quoted} is" if len(names) == 1 else f"the metrics {quoted} are"
    valid = _valid_names(evaluator)
    if not valid:
        reason = f"{label} has no param metricName. Fix: pass an evaluator instead of a name"
    else:
        reason = f"{label} has only {', '.join(valid)}. Fix: use these, or pass an evaluator"
    return f"{which} not computed: {reason}."
