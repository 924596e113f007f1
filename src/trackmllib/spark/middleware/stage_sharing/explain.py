"""Explanation of ``reuse_stages`` for a tuner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from trackmllib.spark.introspection.components import uid_of
from trackmllib.spark.middleware.stage_sharing.plan import (
    Plan,
    last_estimator_position,
    stage_key,
    stage_params,
    why_not_shared,
)
from trackmllib.support.guard import attempt


@dataclass(frozen=True, kw_only=True)
class StageExplanation:
    """One stage of the pipeline.

    ``computed`` is how often a fold computes the stage with ``reuse_stages``, ``instead_of`` how
    often without: once per candidate. ``shared_by`` has the groups of candidates that share it.
    ``reason`` says why it is not computed once, or is empty.
    """

    position: int
    stage: str
    uid: str
    computed: int
    instead_of: int
    shared_by: tuple[tuple[int, ...], ...]
    reason: str


def explain_stages(plan: Plan, maps: Sequence[Any]) -> tuple[StageExplanation, ...]:
    """Explain each stage, by position; one may occur at several positions."""
    candidates_with: dict[tuple[int, Any], list[int]] = {}
    for candidate, stages in enumerate(plan.stages):
        for position, stage in enumerate(stages):
            key = (position, uid_of(stage) or id(stage))
            candidates_with.setdefault(key, []).append(candidate)
    return tuple(
        _explain_stage(plan, maps, position, candidates)
        for (position, _), candidates in sorted(candidates_with.items(), key=lambda one: one[0][0])
    )


def _explain_stage(
    plan: Plan, maps: Sequence[Any], position: int, candidates: list[int]
) -> StageExplanation:
    stage = plan.stages[candidates[0]][position]
    groups = tuple(
        segment.candidates
        for segment in plan.segments
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
        reason="" if computed == 1 else _why_not_once(plan, maps, position, candidates),
    )


def _why_not_once(plan: Plan, maps: Sequence[Any], position: int, candidates: list[int]) -> str:
    stages = plan.stages[candidates[0]]
    if position == last_estimator_position(stages):
        return "the last fitted stage is never shared"
    if position > last_estimator_position(stages):
        return "it comes after the last fitted stage"
    names = [type(stage).__name__ for stage in stages]
    for at in range(position + 1):
        reason = why_not_shared(stages[at], maps[candidates[0]])
        if reason is not None:
            return (
                reason if at == position else f"its input is not shared, because {names[at]} is not"
            )
    for at in range(position + 1):
        if difference := _difference(plan, maps, at, candidates):
            return (
                f"it {difference}"
                if at == position
                else f"its input is not shared by all, because {names[at]} {difference}"
            )
    return "the grid has one candidate"


def _difference(plan: Plan, maps: Sequence[Any], position: int, candidates: list[int]) -> str:
    """Return how a stage differs between candidates; empty if it does not."""
    keys = set()
    values = set()
    for candidate in candidates:
        stage, extra = plan.stages[candidate][position], maps[candidate]
        key = attempt(partial(stage_key, stage, extra), None)
        if key is None:
            return "has a param that cannot be compared"
        keys.add(key)
        values.add((stage.uid, repr(stage_params(stage, extra))))
    if len(keys) == 1:
        return ""
    if len(values) == 1:
        return "has a param that only some candidates set, although to the same value"
    return "differs between candidates"
