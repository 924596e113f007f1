"""Factory of search trackers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from trackmllib.config.settings import Settings
from trackmllib.domain.descriptions import Dataset, ParentFit, SearchDescription
from trackmllib.spark.evaluation.further_metrics import FurtherMetrics
from trackmllib.spark.instrumentation.callbacks import Callbacks
from trackmllib.spark.instrumentation.middleware_context import SearchMiddlewareContext
from trackmllib.spark.instrumentation.search_events import SearchEvents
from trackmllib.spark.instrumentation.search_tracker import SearchTracker
from trackmllib.spark.instrumentation.thread_context import ThreadContext
from trackmllib.spark.introspection.conf import SessionConf
from trackmllib.spark.introspection.scores import winner_of_model
from trackmllib.spark.introspection.tuner import describe_search
from trackmllib.spark.job_metrics.collector import CostCollector
from trackmllib.spark.job_metrics.search_metrics import SearchMetrics
from trackmllib.spark.job_metrics.status_store import JobsDropped
from trackmllib.spark.middleware.base import MiddlewareStack
from trackmllib.spark.middleware.registry import enabled_middleware
from trackmllib.spark.middleware.score_reuse.seeds import recorded_seeds
from trackmllib.support.guard import attempt
from trackmllib.support.patching import SharedPatches


class SearchFactory:
    """Creates the tracker and the middleware of each search.

    ``spark_fits`` holds Spark's own implementations of ``_fit``. ``supports_pyspark`` is False if
    this pyspark is not supported.
    """

    def __init__(
        self, callbacks: Callbacks, new_id: Callable[[], str], context: ThreadContext
    ) -> None:
        self.spark_fits: set[Any] = set()
        self.supports_pyspark = True
        # Installed while middleware may exclude candidates.
        self.choice_patches: list[SharedPatches] = []
        self._callbacks = callbacks
        self._new_id = new_id
        self._context = context
        self._conf = SessionConf()
        self._collector = CostCollector(self._warn_about_costs)
        self._process = os.getpid()

    def settings_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Settings | None:
        """Settings of the search that ``fit()`` starts; None to ignore the call.

        Calls in a forked process, and those whose settings turn recording off, are ignored. So are
        calls with a list of param maps, because Spark calls ``fit()`` again for each map. A nested
        search has the settings of its outer search.
        """
        dataset, params = fit_arguments(args, kwargs)
        if os.getpid() != self._process or isinstance(params, (list, tuple)):
            return None
        settings = self._callbacks.settings
        if self._context.is_in_search:
            return self._context.settings or settings
        with self._callbacks.guard("", "reading the Spark conf"):
            settings = self._callbacks.search_settings(self._conf.read(dataset))
        return settings if settings.enabled else None

    def with_recorded_seeds(
        self, tuner: Any, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments of ``fit()``, with a prior search's seeds for unset ones."""
        dataset, params = fit_arguments(args, kwargs)
        with self._callbacks.guard("", "looking for the seeds of an earlier search"):
            look_up = partial(self._callbacks.prior_seeds, settings=settings)
            recorded = recorded_seeds(tuner, look_up)
            if recorded:
                return (dataset, {**recorded, **(params or {})}), {}
        return args, kwargs

    def new_tracker(
        self,
        tuner: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        settings: Settings,
        parent: ParentFit | None,
        *,
        delegates: bool = False,
    ) -> SearchTracker:
        """Create the tracker of the search that a call of ``fit()`` starts."""
        dataset, params = fit_arguments(args, kwargs)
        events = SearchEvents(self._callbacks, self._new_id(), settings, parent)
        mlflow_dataset = None
        if parent is None:
            # Before the jobs of the search are counted.
            mlflow_dataset = self._callbacks.mlflow_dataset(dataset, settings)
        metrics = SearchMetrics(
            events.search_id,
            self._collector,
            events.clock,
            partial(events.emit, after_close=True),
            dataset,
            is_inner=parent is not None,
        )
        further = FurtherMetrics(settings, partial(self._callbacks.warn, settings=settings))
        describe = partial(
            self._describe, tuner, dataset, params, settings, further, parent, mlflow_dataset
        )
        choose_winner = partial(self._choose_winner, tuner)
        return SearchTracker(
            events, metrics, tuner, describe, choose_winner, further, delegates=delegates
        )

    @contextmanager
    def middleware(
        self, search: SearchTracker, tuner: Any, dataset: Any
    ) -> Iterator[MiddlewareStack | None]:
        """Context with the middleware that the settings of a search enable."""
        context = SearchMiddlewareContext(search.events, tuner, dataset, search.further)
        stack = enabled_middleware(search.settings, context)
        if stack is None:
            yield None
            return
        try:
            with ExitStack() as patches:
                for patch in self.choice_patches:
                    patches.enter_context(patch)
                yield stack
            if not search.superseded:
                stack.warn_if_unused(context)
        finally:
            with search.events.guard("closing the middleware"):
                stack.close()

    def _describe(
        self,
        tuner: Any,
        dataset: Any,
        params: Any,
        settings: Settings,
        further: FurtherMetrics,
        parent: ParentFit | None,
        mlflow_dataset: Dataset | None,
        maps: Any,
        spark_loops: bool,
    ) -> SearchDescription:
        if isinstance(params, dict) and params:
            # Spark applies params given to fit() to a copy, too.
            tuner = tuner.copy(params)
        record = None
        if parent is None and settings.from_mlflow:
            own = {} if maps is None else {tuner.estimatorParamMaps: maps}
            with self._callbacks.guard("", "describing the search as MLflow does"):
                record = self._callbacks.mlflow_record(tuner.copy(own), dataset, settings)
        description = describe_search(
            tuner,
            dataset if self._conf.answers(dataset) else None,
            maps,
            settings.redaction.hides,
            # MLflow does not log the data of nested searches, and describes others itself.
            with_dataset=settings.log_datasets and not settings.from_mlflow,
            history_server=settings.history_server,
        )
        dataset = mlflow_dataset or description.dataset
        description = replace(description, dataset=dataset, mlflow=record)
        evaluator = attempt(tuner.getEvaluator, None)
        with self._callbacks.guard("", "planning further metrics"):
            if evaluator is not None and (plan := further.make_plan(evaluator)):
                described = plan.describe(evaluator)
                description = replace(description, further_metrics=described)
        middleware = self._context.work.middleware
        if middleware is not None and spark_loops:
            description = middleware.describe(description, tuner, maps)
        return description

    def _choose_winner(self, tuner: Any, model: Any, maps: Any, by_spark: int) -> int | None:
        """The winner: by Spark's rule, or of a subclass as its model shows."""
        if type(tuner)._fit in self.spark_fits and self.supports_pyspark:
            return by_spark
        maps = tuner.getEstimatorParamMaps() if maps is None else maps
        return winner_of_model(model, tuner.getEstimator(), maps, by_spark)

    def _warn_about_costs(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        if isinstance(error, JobsDropped):
            reason = "spark.ui.retainedJobs or spark.ui.retainedStages is too low for them"
        self._callbacks.warn_once(
            f"The costs of Spark's jobs cannot be read ({reason}): searches of this Spark session "
            "are recorded without costs. The training is not affected."
        )


def fit_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """``dataset`` and ``params`` of ``fit``, ``transform`` or ``evaluate``."""
    dataset = args[0] if args else kwargs.get("dataset")
    params = args[1] if len(args) > 1 else kwargs.get("params")
    return dataset, params
