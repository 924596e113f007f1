"""Post-training metrics of the models of searches."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from trackmllib.config.settings import Settings
from trackmllib.domain.descriptions import Dataset
from trackmllib.domain.evaluations import Evaluation
from trackmllib.recorder.evaluations import evaluated
from trackmllib.runtime.active_searches import ActiveSearch
from trackmllib.runtime.late_operations import LateOperations
from trackmllib.runtime.problems import Problems
from trackmllib.spark.instrumentation.post_training import PostTrainingInstrumentation
from trackmllib.support.clock import Clock
from trackmllib.support.guard import Guard
from trackmllib.support.redaction import Hides
from trackmllib.tracking import mlflow_autologging
from trackmllib.tracking.post_training import (
    MetricNames,
    are_datasets_logged_by_mlflow,
    is_logged_by_mlflow,
)


class PostTrainingMetrics:
    """Logs what evaluators return for the models of recorded searches."""

    def __init__(
        self,
        instrumentation: PostTrainingInstrumentation,
        late_operations: LateOperations,
        problems: Problems,
        clock: Clock,
    ) -> None:
        self._instrumentation = instrumentation
        self._late_operations = late_operations
        self._problems = problems
        self._clock = clock
        # Entries live as long as a model or a prediction of the search.
        self._sinks: weakref.WeakValueDictionary[str, _Sink] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()
        self._process = os.getpid()

    def start(self, settings: Settings) -> None:
        """Patch the evaluators, if the next search may log metrics."""
        chosen = settings.log_post_training_metrics
        is_on = is_logged_by_mlflow(is_run_of_user=False) if chosen is None else chosen
        if is_on and settings.record:
            self._instrumentation.install()

    def stop(self) -> None:
        """Remove all patches, and forget all models."""
        self._instrumentation.uninstall()

    def watch(self, search: ActiveSearch, model: Any) -> None:
        """Log metrics of a model from now on, if the search has them on."""
        if _is_on(search) and not mlflow_autologging.is_in_fit():
            sink = _Sink(search, self._log, self._problems)
            self._sinks[search.search_id] = sink
            self._instrumentation.watch(model, sink)

    def may_log(self, search: ActiveSearch) -> bool:
        """Whether a metric of the search may still be logged."""
        return search.search_id in self._sinks

    def _log(self, search: ActiveSearch, names: MetricNames, evaluation: Evaluation) -> None:
        if os.getpid() != self._process or not _is_on(search) or mlflow_autologging.is_in_fit():
            return
        # So that the last file enqueued lists all metrics.
        with self._lock:
            key, calls = names.metric(evaluation)
            now_ms = self._clock.now_ms()
            operations = evaluated(search.search_id, evaluation, key, calls, now_ms)
            self._late_operations.enqueue(search, operations)


class _Sink:
    """``EvaluationSink`` of one search."""

    def __init__(
        self,
        search: ActiveSearch,
        log: Callable[[ActiveSearch, MetricNames, Evaluation], None],
        problems: Problems,
    ) -> None:
        self._search = search
        self._log = log
        self._problems = problems
        self._names = MetricNames(search.destination.run_id or search.search_id)

    @property
    def hides(self) -> Hides:
        return self._search.settings.redaction.hides

    @property
    def logs_datasets(self) -> bool:
        by_mlflow = _is_logged_by_mlflow(self._search) and are_datasets_logged_by_mlflow()
        return self._search.settings.log_datasets or by_mlflow

    def describe_dataset(self, data: Any) -> Dataset | None:
        if self._search.state.description.mlflow is None:
            return None
        return mlflow_autologging.describe_dataset(data)

    def guard(self) -> Guard:
        return self._problems.guard(self._search.search_id, "logging a post-training metric")

    def dataset_name(self, dataset: Any) -> str:
        return self._names.dataset_name(dataset)

    def log(self, evaluation: Evaluation) -> None:
        self._log(self._search, self._names, evaluation)


def _is_on(search: ActiveSearch) -> bool:
    """Whether post-training metrics of a search are logged now."""
    chosen = search.settings.log_post_training_metrics
    return _is_logged_by_mlflow(search) if chosen is None else chosen


def _is_logged_by_mlflow(search: ActiveSearch) -> bool:
    return is_logged_by_mlflow(is_run_of_user=not search.destination.owned)
