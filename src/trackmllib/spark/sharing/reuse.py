"""The intervention ``reuse_stages``: candidates begin where the stages they share end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from pyspark.ml import Pipeline, PipelineModel, base

from trackmllib.events import SearchDescription, SharedStages
from trackmllib.guard import attempt
from trackmllib.settings import Settings
from trackmllib.spark.interventions import (
    FoldCall,
    Intervention,
    LayOut,
    SearchAt,
    SearchIsOver,
    Task,
)
from trackmllib.spark.own import is_sparks_own
from trackmllib.spark.sharing.kept import KeptFold, KeptSegment
from trackmllib.spark.sharing.plan import Plan, Segment, is_plain_pipeline, plan_for
from trackmllib.spark.sharing.turns import Turns


def reuse_stages(settings: Settings, search: SearchAt) -> Intervention | None:
    """The intervention, where it is asked for."""
    return ReuseStages(search) if settings.reuse_stages else None


class ReuseStages(Intervention):
    """Stages of a Pipeline that candidates have in common are computed once a fold."""

    name = "reuse_stages"

    def __init__(self, search: SearchAt) -> None:
        self._search = search
        self._folds: list[SharingPipeline] = []

    def describe(self, description: SearchDescription, tuner: Any, maps: Any) -> SearchDescription:
        pipeline = tuner.getEstimator()
        if not is_plain_pipeline(pipeline):
            return description
        maps = tuner.getEstimatorParamMaps() if maps is None else maps
        return replace(description, shared=tuple(map(_shared, plan_for(pipeline, maps).segments)))

    def lay_out(self, call: FoldCall, lay_out: LayOut) -> list[Task]:
        if not is_plain_pipeline(call.estimator):
            self._search.say(
                f"reuse_stages has no effect on a search of {_name(call.estimator)}: only stages "
                "of a pyspark.ml.Pipeline can be shared. The search goes Spark's way."
            )
            return lay_out(call)
        # None if the grid cannot be read; Spark raises that error itself. Planned again for each
        # fold, because a subclass may have changed the pipeline since the last one.
        plan = attempt(lambda: plan_for(call.estimator, call.maps), None)
        if plan is None or not plan.segments:
            return lay_out(call)
        pipeline = SharingPipeline(call, plan, self._search, fold=len(self._folds))
        for candidate in call.taken:
            pipeline.kept.done(candidate)
        self._folds.append(pipeline)
        left = [candidate for candidate in range(len(call.maps)) if candidate not in call.taken]
        before = call.order or (lambda: left)
        # In user code, a candidate may depend on the candidates computed before it.
        may_reorder = is_sparks_own(plan.stages, call.maps, call.evaluator)
        sharing = replace(
            call,
            estimator=pipeline,
            order=(lambda: plan.together(before())) if may_reorder else before,
            prepare=pipeline.prepare,
        )
        tasks = [pipeline.freeing(task) for task in lay_out(sharing)]
        if not may_reorder or not call.in_turn or plan.together(left) == left:
            return tasks
        turns = iter(Turns([tasks[at] for at in left], left, pipeline.candidate_here).tasks())
        return [task if at in call.taken else next(turns) for at, task in enumerate(tasks)]

    def close(self) -> None:
        for fold in self._folds:
            fold.kept.close()
        self._folds = []


class SharingPipeline:
    """Stands for the user's Pipeline in one fold."""

    fits_any = True

    def __init__(self, call: FoldCall, plan: Plan, search: SearchAt, *, fold: int) -> None:
        self._call = call
        self._plan = plan
        self._here = threading.local()
        self._begun: dict[int, KeptSegment | None] = {}

        def told(segment: Segment, seconds: float) -> None:
            search.shared(fold, _shared(segment), seconds)

        self.kept = KeptFold(
            plan, call.maps, call.train, call.validation, time.monotonic, told, search.say
        )

    def fitMultiple(self, dataset: Any, maps: Any) -> Iterator[tuple[int, Any]]:
        alone = self._call.estimator.fitMultiple(dataset, maps)
        iterator: Iterator[tuple[int, Any]] = base._FitMultipleIterator(
            partial(self._fit_single, alone.fitSingleModel), len(maps)
        )
        return iterator

    def freeing(self, task: Task) -> Task:
        """The task of a cell, after which nothing is kept on its behalf."""

        def freeing() -> Any:
            self._here.candidate = None
            if self.kept.closed:
                # Spark's pool goes on after an error, and nobody waits for it.
                raise SearchIsOver
            try:
                return task()
            finally:
                if self._here.candidate is not None:
                    self.kept.done(self._here.candidate)

        return freeing

    def candidate_here(self) -> int | None:
        """The candidate of the last fit in this thread, if known."""
        candidate: int | None = self._here.candidate
        return candidate

    def prepare(self, candidate: int) -> None:
        """Have what this candidate begins with."""
        self._here.candidate = candidate
        if self._call.prepare is not None:
            self._call.prepare(candidate)
        self._begun[candidate] = self.kept.take(candidate)

    def _fit_single(self, alone: Callable[[int], Any], candidate: int) -> Any:
        begun = self._begun.pop(candidate, None)
        return alone(candidate) if begun is None else self._fit(candidate, begun)

    def _fit(self, candidate: int, begun: KeptSegment) -> Any:
        """The model of a candidate's Pipeline: fitted from there on, and evaluated from there."""
        extra = self._call.maps[candidate]
        rest = Pipeline(stages=list(self._plan.stages[candidate][begun.segment.end :]))
        # A copy also where the candidate has no params of its own, as Spark fits one.
        fitted = rest.copy(extra).fit(begun.train)
        models = begun.models
        if self._call.collects_models:
            # Each of Spark's sub-models has models of its own.
            models = [model.copy() for model in models]
        whole = PipelineModel([*models, *fitted.stages])
        validation = begun.validation

        def transform(dataset: Any, params: Any = None) -> Any:
            if dataset is not self._call.validation:
                return PipelineModel.transform(whole, dataset, params)
            # Spark evaluates the model once.
            del whole.transform
            return fitted.transform(validation, params)

        whole.transform = transform
        return whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call.estimator, name)


def _name(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _shared(segment: Segment) -> SharedStages:
    names = tuple(type(stage).__name__ for stage in segment.stages)
    return SharedStages(stages=names, candidates=segment.candidates)
