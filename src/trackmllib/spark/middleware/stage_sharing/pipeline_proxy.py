"""Proxy of a Pipeline that starts each fit from a shared segment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from pyspark.ml import Pipeline, PipelineModel, base

from trackmllib.domain.descriptions import SharedStages
from trackmllib.spark.middleware.base import FoldCall, MiddlewareContext, SearchEnded, Task
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

        def on_computed(segment: Segment, seconds: float) -> None:
            search.record_shared_stages(fold, shared_stages(segment), seconds)

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
        return fit_whole(candidate) if segment is None else self._fit_rest(candidate, segment)

    def _fit_rest(self, candidate: int, segment: CachedSegment) -> Any:
        """Fit the stages after a segment; return a model of the whole Pipeline."""
        extra = self._call.maps[candidate]
        rest = Pipeline(stages=list(self._plan.stages[candidate][segment.segment.end :]))
        # Spark fits a copy even if the candidate has no params for these stages.
        fitted = rest.copy(extra).fit(segment.train)
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


def shared_stages(segment: Segment) -> SharedStages:
    """Describe a segment for the record."""
    names = tuple(type(stage).__name__ for stage in segment.stages)
    return SharedStages(stages=names, candidates=segment.candidates)
