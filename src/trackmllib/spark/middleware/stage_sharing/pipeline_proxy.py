"""Proxy of a Pipeline that starts each fit from a shared segment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from pyspark.ml import Estimator, Pipeline, PipelineModel, base

from trackmllib.domain.descriptions import SharedStages
from trackmllib.spark.middleware.base import (
    FitStage,
    FoldCall,
    MiddlewareContext,
    SearchEnded,
    Task,
)
from trackmllib.spark.middleware.stage_sharing.cache import CachedSegment, FoldCache
from trackmllib.spark.middleware.stage_sharing.plan import Plan, Segment


class PipelineProxy:
    """Proxy of the user's Pipeline in one fold."""

    fits_in_any_order = True

    def __init__(self, call: FoldCall, plan: Plan, search: MiddlewareContext, *, fold: int) -> None:
        self._call = call
        self._plan = plan
        self._thread = threading.local()
        self._acquired: dict[int, CachedSegment | None] = {}

        def on_computed(segment: Segment, seconds: float, elsewhere: float) -> None:
            search.record_shared_stages(fold, shared_stages(segment), seconds, elsewhere)

        self.cache = FoldCache(plan, call, on_computed, search.warn_once)

    def fitMultiple(self, dataset: Any, maps: Any) -> Iterator[tuple[int, Any]]:
        whole = self._call.estimator.fitMultiple(dataset, maps)
        iterator: Iterator[tuple[int, Any]] = base._FitMultipleIterator(
            partial(self._fit_single, whole.fitSingleModel), len(maps)
        )
        return iterator

    def releasing(self, task: Task) -> Task:
        """Wrap the task of a fit to release the segments of its candidate."""

        def run_and_release() -> Any:
            self._thread.candidate = None
            if self.cache.closed:
                # Spark's pool continues after an error, but ignores the results.
                raise SearchEnded
            try:
                return task()
            finally:
                if self._thread.candidate is not None:
                    self.cache.release(self._thread.candidate)

        return run_and_release

    def last_candidate(self) -> int | None:
        """Return the candidate of the last fit in this thread, if known."""
        candidate: int | None = self._thread.candidate
        return candidate

    def prepare(self, candidate: int) -> None:
        """Compute or await the segments of a candidate."""
        self._thread.candidate = candidate
        if self._call.prepare is not None:
            self._call.prepare(candidate)
        self._acquired[candidate] = self.cache.acquire(candidate)

    def _fit_single(self, fit_whole: Callable[[int], Any], candidate: int) -> Any:
        segment = self._acquired.pop(candidate, None)
        if segment is None and self._call.fit_stage is None:
            return fit_whole(candidate)
        return self._fit_rest(candidate, segment)

    def _fit_rest(self, candidate: int, segment: CachedSegment | None) -> Any:
        """Fit the stages after a segment, or all; return the whole model."""
        extra = self._call.maps[candidate]
        start = 0 if segment is None else segment.segment.end
        # Spark fits a copy even if the candidate has no params for these stages.
        rest = Pipeline(stages=list(self._plan.stages[candidate][start:])).copy(extra)
        if self._call.fit_stage is not None:
            stages = rest.getStages()
            rest.setStages(
                [
                    _DelegatedStage(self._call.fit_stage, stage, start + at)
                    if isinstance(stage, Estimator)
                    else stage
                    for at, stage in enumerate(stages)
                ]
            )
        if segment is None:
            return rest.fit(self._call.train)
        fitted = rest.fit(segment.train)
        models = segment.models
        if self._call.collects_models:
            # In Spark, each sub-model has its own stages.
            models = [model.copy() for model in models]
        whole = PipelineModel([*models, *fitted.stages])
        validation = segment.validation

        def transform(dataset: Any, params: Any = None) -> Any:
            if dataset is not self._call.validation:
                return PipelineModel.transform(whole, dataset, params)
            # Only Spark's evaluation, the first call, transforms the validation data.
            del whole.transform
            return fitted.transform(validation, params)

        whole.transform = transform
        return whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call.estimator, name)


class _DelegatedStage(Estimator):  # type: ignore[misc] # pyspark.ml is Any to mypy
    """Stage whose ``fit`` calls ``FoldCall.fit_stage``."""

    def __init__(self, fit_stage: FitStage, stage: Any, position: int) -> None:
        super().__init__()
        self._fit_stage = fit_stage
        self._stage = stage
        self._position = position

    def _fit(self, dataset: Any) -> Any:
        model, _ = self._fit_stage(self._stage, dataset, self._position)
        return model


def shared_stages(segment: Segment) -> SharedStages:
    """Describe a segment for the record."""
    names = tuple(type(stage).__name__ for stage in segment.stages)
    return SharedStages(stages=names, candidates=segment.candidates)
