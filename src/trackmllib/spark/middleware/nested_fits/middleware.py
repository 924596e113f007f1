"""Middleware ``nested_fits``: fits the largest of nested candidates."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from trackmllib.config.settings import Settings
from trackmllib.domain.descriptions import SearchDescription, SharedStages
from trackmllib.spark.introspection.distributions import name_of
from trackmllib.spark.introspection.estimators import fits_in_any_order
from trackmllib.spark.introspection.user_code import is_spark_code
from trackmllib.spark.middleware.base import CallNext, FoldCall, Middleware, MiddlewareContext, Task
from trackmllib.spark.middleware.grid_order import GridOrder
from trackmllib.spark.middleware.nested_fits.base import Rule
from trackmllib.spark.middleware.nested_fits.fold import NestedEstimator, NestedFold
from trackmllib.spark.middleware.nested_fits.java import nested_models
from trackmllib.spark.middleware.nested_fits.plan import NestedGroup, NestedPlan
from trackmllib.spark.middleware.stage_sharing.pipeline_proxy import PipelineProxy
from trackmllib.spark.middleware.stage_sharing.plan import is_plain_pipeline, plan_without_segments
from trackmllib.support.formatting import error_summary
from trackmllib.support.guard import attempt

ON_CONNECT = "Spark Connect gives no access to the Java object of the model"
SUB_MODELS = "with collectSubModels=True, sub-models need a training summary"


def nested_fits(settings: Settings, search: MiddlewareContext) -> Middleware | None:
    """Create the middleware if ``nested_fits`` is on."""
    if not settings.is_on("nested_fits"):
        return None
    return NestedFits(
        search,
        shares_stages=settings.is_on("reuse_stages"),
        is_explicit=settings.nested_fits is True,
    )


def why_not_applicable(rule: Rule, *, on_connect: bool, collects_models: bool) -> str | None:
    """Return why a rule does not apply to a search; None if it does."""
    if rule.needs_jvm and on_connect:
        return ON_CONNECT
    return SUB_MODELS if rule.has_summary and collects_models else None


class NestedFits(Middleware):
    """Nested fits of one search.

    :param shares_stages: Whether ``reuse_stages`` fits the stages of pipelines.
    :param is_explicit: Whether to warn if there are no nested fits; not with ``accelerate``.
    """

    name = "nested_fits"

    def __init__(
        self, search: MiddlewareContext, *, shares_stages: bool, is_explicit: bool
    ) -> None:
        self._search = search
        self._shares_stages = shares_stages
        self._is_explicit = is_explicit
        self._folds: list[NestedFold] = []
        self._failed: set[int] = set()

    def describe(self, description: SearchDescription, tuner: Any, maps: Any) -> SearchDescription:
        maps = tuner.getEstimatorParamMaps() if maps is None else maps
        collects = bool(tuner.getCollectSubModels())
        on_connect = not hasattr(self._search.data, "_jdf")
        plan = _plan(tuner.getEstimator(), maps, on_connect, collects, ())
        nested = tuple(
            SharedStages(stages=(type(group.stage).__name__,), candidates=group.candidates)
            for group in ([] if plan is None else plan.groups)
        )
        return replace(description, nested_fits=nested)

    def fold_tasks(self, call: FoldCall, call_next: CallNext) -> list[Task]:
        on_connect = not hasattr(call.train, "_jdf")
        # Candidates that on_error skips are among those that cannot win.
        left_out = {*call.reused, *self._failed, *self._search.cannot_win}
        make_plan = partial(
            _plan, call.estimator, call.maps, on_connect, call.collects_models, left_out
        )
        # None if the grid cannot be read; Spark raises that error itself.
        plan = attempt(make_plan, None)
        groups = [] if plan is None else plan.groups
        can_derive = True
        if any(group.rule.needs_jvm for group in groups):
            can_derive = self._can_derive(call.train)
            groups = [group for group in groups if can_derive or not group.rule.needs_jvm]
        if not groups:
            if self._is_explicit and can_derive and not left_out:
                reason = "no candidate's model contains that of another"
                if plan is not None and plan.separate:
                    reason = plan.separate[0].reason
                self._search.warn_once(
                    f"nested_fits has no effect on a search of {name_of(type(call.estimator))}: "
                    f"{reason}. Each candidate is fitted separately."
                )
            return call_next(call)
        number = len(self._folds)
        stages = plan_without_segments(call.estimator, call.maps)
        fold = NestedFold(call, groups, stages, self._search, self._failed.add, fold=number)
        self._folds.append(fold)
        nested = replace(call, prepare=fold.prepare, run_fit=fold.run_fit, fit_stage=fold.fit_stage)
        if not is_plain_pipeline(call.estimator):
            nested = replace(nested, estimator=NestedEstimator(call.estimator, fold.fit_stage))
        elif not self._shares_stages:
            pipeline = PipelineProxy(nested, stages, self._search, fold=number)
            nested = replace(nested, estimator=pipeline)
        left = [each for each in range(len(call.maps)) if each not in call.reused]
        if not is_spark_code(stages.stages, call.maps, call.evaluator):
            # With user code, a score may depend on the order of the candidates.
            return call_next(nested)
        order = call.order or (lambda: left)
        threads = attempt(self._search.tuner.getParallelism, 1)
        nested = replace(nested, order=lambda: largest_first(order(), groups, threads))
        if not call.results_in_grid_order or largest_first(left, groups, threads) == left:
            return call_next(nested)
        tasks = call_next(replace(nested, results_in_grid_order=False))
        to_compute = [fold.resetting_candidate(tasks[candidate]) for candidate in left]
        in_grid_order = iter(GridOrder(to_compute, left, fold.last_candidate).tasks())
        return [
            task if candidate in call.reused else next(in_grid_order)
            for candidate, task in enumerate(tasks)
        ]

    def close(self) -> None:
        for fold in self._folds:
            fold.close()
        self._folds = []

    def _can_derive(self, data: Any) -> bool:
        """Whether the Java class that derives models compiles; warns if not."""
        try:
            nested_models(data.sparkSession)
        except Exception as error:  # noqa: BLE001 - of Janino or the JVM
            self._search.warn_once(
                "nested_fits cannot derive models in the JVM, because its Java class does not "
                f"compile against this version of Spark ({_java_message(error)}). Candidates are "
                "fitted separately, unless they differ only in params that transform() reads."
            )
            return False
        return True


def _plan(
    estimator: Any,
    maps: Sequence[Any],
    on_connect: bool,
    collects_models: bool,
    left_out: Collection[int],
) -> NestedPlan | None:
    """Plan the nested fits; None if the estimator has its own ``fitMultiple``."""
    if not fits_in_any_order(estimator):
        return None
    why = partial(why_not_applicable, on_connect=on_connect, collects_models=collects_models)
    return NestedPlan(plan_without_segments(estimator, maps), why, left_out)


def _java_message(error: Exception) -> str:
    """First line of an error's message; of Java's own, if it has one."""
    java = getattr(error, "java_exception", None)
    return error_summary(error) if java is None else str(java.toString()).partition("\n")[0]


def largest_first(order: Sequence[int], groups: Sequence[NestedGroup], threads: int) -> list[int]:
    """Reorder candidates so that the largest of each group comes first.

    With one thread, the others of its group follow at once, so that few large models are kept at a
    time. With several, the largest of all groups come first, so that few threads wait.
    """
    groups_of: dict[int, list[int]] = {each: [] for each in order}
    for number, group in enumerate(groups):
        for candidate in group.candidates:
            if candidate in groups_of:
                groups_of[candidate].append(number)
    place = {candidate: at for at, candidate in enumerate(order)}
    first = [
        min((place[each] for each in group.candidates if each in place), default=0)
        for group in groups
    ]

    def key(candidate: int) -> tuple[Any, ...]:
        numbers = groups_of[candidate]
        is_largest = all(groups[number].largest == candidate for number in numbers)
        if threads > 1:
            return not is_largest, place[candidate]
        begin = min((first[number] for number in numbers), default=place[candidate])
        return begin, not is_largest, place[candidate]

    return sorted(order, key=key)
