"""Middleware ``reuse_stages``: fits shared stages once per fold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from trackmllib.config.settings import Settings
from trackmllib.domain.descriptions import SearchDescription
from trackmllib.spark.introspection.distributions import name_of
from trackmllib.spark.introspection.user_code import is_spark_code
from trackmllib.spark.middleware.base import CallNext, FoldCall, Middleware, MiddlewareContext, Task
from trackmllib.spark.middleware.grid_order import GridOrder
from trackmllib.spark.middleware.stage_sharing.pipeline_proxy import PipelineProxy, shared_stages
from trackmllib.spark.middleware.stage_sharing.plan import is_plain_pipeline, plan_for
from trackmllib.support.guard import attempt


def reuse_stages(settings: Settings, search: MiddlewareContext) -> Middleware | None:
    """Create the middleware if ``reuse_stages`` is on."""
    if not settings.is_on("reuse_stages"):
        return None
    return StageSharing(search, is_explicit=settings.reuse_stages is True)


class StageSharing(Middleware):
    """Shared stages of one search.

    :param is_explicit: Whether to warn if nothing can be shared; not with ``accelerate``.
    """

    name = "reuse_stages"

    def __init__(self, search: MiddlewareContext, *, is_explicit: bool) -> None:
        self._search = search
        self._is_explicit = is_explicit
        self._folds: list[PipelineProxy] = []

    def describe(self, description: SearchDescription, tuner: Any, maps: Any) -> SearchDescription:
        pipeline = tuner.getEstimator()
        if not is_plain_pipeline(pipeline):
            return description
        maps = tuner.getEstimatorParamMaps() if maps is None else maps
        segments = plan_for(pipeline, maps).segments
        return replace(description, shared=tuple(map(shared_stages, segments)))

    def fold_tasks(self, call: FoldCall, call_next: CallNext) -> list[Task]:
        if not is_plain_pipeline(call.estimator):
            if self._is_explicit:
                # nested_fits may have replaced the estimator of this call.
                kind = type(self._search.tuner.getEstimator())
                self._search.warn_once(
                    f"reuse_stages has no effect on a search of {name_of(kind)}: "
                    "only the stages of a pyspark.ml.Pipeline can be shared."
                )
            return call_next(call)
        # None if the grid cannot be read; Spark raises that error itself. A subclass may change the
        # pipeline between folds, so each fold has its own plan.
        plan = attempt(lambda: plan_for(call.estimator, call.maps), None)
        if plan is None or not (plan.segments or call.fit_stage):
            return call_next(call)
        pipeline = PipelineProxy(call, plan, self._search, fold=len(self._folds))
        for candidate in call.reused:
            pipeline.cache.release(candidate)
        self._folds.append(pipeline)
        left = [candidate for candidate in range(len(call.maps)) if candidate not in call.reused]
        order = call.order or (lambda: left)
        # With user code, a score may depend on the candidates computed before it.
        may_reorder = is_spark_code(plan.stages, call.maps, call.evaluator)
        sharing = replace(
            call,
            estimator=pipeline,
            order=(lambda: plan.grouped(order())) if may_reorder else order,
            prepare=pipeline.prepare,
        )
        tasks = [pipeline.releasing(task) for task in call_next(sharing)]
        if not may_reorder or not call.results_in_grid_order or plan.grouped(left) == left:
            return tasks
        to_compute = [tasks[candidate] for candidate in left]
        in_grid_order = iter(GridOrder(to_compute, left, pipeline.last_candidate).tasks())
        return [
            task if candidate in call.reused else next(in_grid_order)
            for candidate, task in enumerate(tasks)
        ]

    def close(self) -> None:
        for fold in self._folds:
            fold.cache.close()
        self._folds = []
