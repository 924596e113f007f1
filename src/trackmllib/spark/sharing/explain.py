"""What ``reuse_stages`` would share in a search, and why not more; without running anything."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyspark.ml.tuning import CrossValidator, TrainValidationSplit

from trackmllib import plural
from trackmllib.guard import attempt
from trackmllib.spark.components import uid_of
from trackmllib.spark.resuming.keys import resumable
from trackmllib.spark.sharing.plan import (
    Plan,
    is_plain_pipeline,
    key,
    last_estimator,
    own_params,
    plan_for,
    why_not_for,
)

_TUNERS = (CrossValidator, TrainValidationSplit)


@dataclass(frozen=True, kw_only=True)
class StageExplanation:
    """One stage of the pipeline: its class and uid, and its position.

    ``computed`` is how many times a fold computes it (fits it, if it is fitted, and transforms the
    data) with ``reuse_stages``, ``instead_of`` how many times without: once for each candidate.
    ``shared_by`` are the groups of candidates that share it, by index. ``reason`` says why it is
    not shared by more, or is empty.
    """

    position: int
    stage: str
    uid: str
    computed: int
    instead_of: int
    shared_by: tuple[tuple[int, ...], ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What ``trackmllib.explain()`` found, a table when printed. ``reason`` says why nothing can be
    shared at all, ``note`` where all of it depends on something; or they are empty. ``resume`` says
    whether a later search can reuse its scores.
    """

    tuner: str
    candidates: int
    folds: int
    stages: tuple[StageExplanation, ...] = ()
    reason: str = ""
    note: str = ""
    resume: str = ""

    def __str__(self) -> str:
        return f"{self._shared()}\n\nresume: {self.resume}"

    def _shared(self) -> str:
        folds = f" and {self.folds} folds" if self.folds > 1 else ""
        head = (
            f"reuse_stages on a {self.tuner} of {plural.count(self.candidates, 'candidate')}{folds}"
        )
        if self.reason:
            return f"{head}: nothing is shared, because {self.reason}."
        rows = [("", "stage", "computed in each fold", "why not less")]
        rows += [
            (str(stage.position), stage.stage, _times(stage), stage.reason) for stage in self.stages
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        computed = sum(stage.computed for stage in self.stages)
        instead = sum(stage.instead_of for stage in self.stages)
        saved = (
            f"Each fold computes {plural.count(computed, 'stage')} instead of {instead}."
            if computed < instead
            else "Nothing is shared."
        )
        note = [self.note] if self.note else []
        return "\n".join([head, "", *lines, "", saved, *note])

    __repr__ = __str__


def explain(tuner: Any, code_version: str | None = None) -> Explanation:
    """What candidates of a tuner share; see ``trackmllib.explain``."""
    if not isinstance(tuner, _TUNERS):
        raise TypeError(
            f"explain() takes a CrossValidator or a TrainValidationSplit of pyspark.ml.tuning, and "
            f"not a {type(tuner).__name__}"
        )
    pipeline = attempt(tuner.getEstimator, None)
    maps: list[Any] = attempt(lambda: list(tuner.getEstimatorParamMaps()), [])
    if pipeline is None or not maps:
        raise ValueError(
            "This tuner has no estimator or no estimatorParamMaps yet; explain() needs both"
        )
    folds = tuner.getNumFolds() if isinstance(tuner, CrossValidator) else 1
    plan = attempt(lambda: plan_for(pipeline, maps), None) if is_plain_pipeline(pipeline) else None
    reason = note = ""
    if not any(_is_that_of(tuner, known) for known in _TUNERS):
        note = (
            f"{type(tuner).__name__} fits in a way of its own: stages are shared only where it "
            "goes over its folds by Spark's own loop."
        )
    if not is_plain_pipeline(pipeline):
        reason = f"its estimator is a {type(pipeline).__name__} and no Pipeline"
    elif plan is None:
        reason = "its stages or its grid cannot be read"
    stages = () if plan is None or reason else tuple(_Explainer(plan, maps).stages())
    return Explanation(
        tuner=type(tuner).__name__,
        candidates=len(maps),
        folds=folds,
        stages=stages,
        reason=reason,
        note=note,
        resume=resumable(tuner, pipeline, maps, code_version),
    )


def _is_that_of(tuner: Any, known: Any) -> bool:
    """Whether a tuner fits as one of pyspark's does."""
    return all(
        inspect.unwrap(getattr(type(tuner), name)) is inspect.unwrap(getattr(known, name))
        for name in ("fit", "_fit")
    )


def _times(stage: StageExplanation) -> str:
    if stage.computed == stage.instead_of:
        return _counted(stage.computed)
    computed = "once" if stage.computed == 1 else str(stage.computed)
    return f"{computed} instead of {_counted(stage.instead_of)}"


def _counted(times: int) -> str:
    return "once" if times == 1 else f"{times} times"


class _Explainer:
    def __init__(self, plan: Plan, maps: Any) -> None:
        self._plan = plan
        self._maps = maps

    def stages(self) -> list[StageExplanation]:
        """Each stage at each position where a candidate has it, in the order of the first."""
        having: dict[tuple[int, Any], list[int]] = {}
        for candidate, stages in enumerate(self._plan.stages):
            for position, stage in enumerate(stages):
                having.setdefault((position, uid_of(stage) or id(stage)), []).append(candidate)
        return [
            self._stage(position, candidates)
            for (position, _), candidates in sorted(having.items(), key=lambda one: one[0][0])
        ]

    def _stage(self, position: int, candidates: list[int]) -> StageExplanation:
        stage = self._plan.stages[candidates[0]][position]
        groups = tuple(
            segment.candidates
            for segment in self._plan.segments
            if segment.start <= position < segment.end and segment.candidates[0] in candidates
        )
        computed = len(groups) + len(candidates) - sum(map(len, groups))
        return StageExplanation(
            position=position,
            stage=type(stage).__name__,
            uid=uid_of(stage) or "",
            computed=computed,
            instead_of=len(candidates),
            shared_by=groups,
            reason="" if computed == 1 else self._why_not(position, candidates, bool(groups)),
        )

    def _why_not(self, position: int, candidates: list[int], some: bool) -> str:
        """Why candidates compute a stage for themselves, or in several groups."""
        stages = self._plan.stages[candidates[0]]
        if position == last_estimator(stages):
            return "the last stage that is fitted is each candidate's own"
        if position > last_estimator(stages):
            return "it stands behind the last stage that is fitted"
        for before in range(position + 1):
            reason = why_not_for(stages[before], self._maps[candidates[0]])
            if reason is not None and before == position:
                return reason
            if reason is not None:
                return f"its input is not shared: {type(stages[before]).__name__}, before it"
        for before in range(position + 1):
            if how := self._part(before, candidates):
                name = type(stages[before]).__name__
                return f"it {how}" if before == position else f"{name}, before it, {how}"
        return "the grid has one candidate"

    def _part(self, position: int, candidates: list[int]) -> str:
        """How candidates part at a stage: by another stage, or by its params; or nothing."""
        keys = set()
        values = set()
        for candidate in candidates:
            stage, extra = self._plan.stages[candidate][position], self._maps[candidate]
            found = attempt(partial(key, stage, extra), None)
            if found is None:
                return "has a param that cannot be compared"
            keys.add(found)
            values.add((stage.uid, repr(own_params(stage, extra))))
        if len(keys) == 1:
            return ""
        if len(values) == 1:
            return "has a param that only some candidates set, if to the same value"
        return "differs between candidates"
