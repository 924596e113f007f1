"""Which stages of a Pipeline several candidates of a grid have in common; without running anything.

The candidates of a grid are a tree: they part at the first stage that differs. Stages that two or
more have in common, with nothing between them at which some part, are a *segment*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pyspark.ml import Estimator, Pipeline

from trackmllib.guard import attempt
from trackmllib.spark.sharing.safe import why_not


@dataclass(frozen=True, eq=False)
class Segment:
    """Stages that these candidates have in common, from position ``start`` on, on the output of
    the segment before (``parent``) or else on the data of the fold.
    """

    stages: tuple[Any, ...]
    start: int
    candidates: tuple[int, ...]
    parent: Segment | None

    @property
    def end(self) -> int:
        """The position of the first stage behind it."""
        return self.start + len(self.stages)


@dataclass(frozen=True, eq=False)
class Plan:
    """The segments of a grid, a parent before its children; for each candidate, its stages, and
    the last of its segments.
    """

    stages: tuple[tuple[Any, ...], ...]
    segments: list[Segment] = field(default_factory=list)
    last_segment: dict[int, Segment] = field(default_factory=dict)


def plan_for(pipeline: Any, maps: Sequence[Any]) -> Plan:
    """How the candidates of these param maps share the stages of a pipeline."""
    plan = Plan(tuple(tuple(_stages(pipeline, extra)) for extra in maps))
    _Planner(plan, maps).part(0, tuple(range(len(maps))), None)
    return plan


def is_plain_pipeline(estimator: Any) -> bool:
    """Whether an estimator is Spark's own Pipeline, which fits its stages in their order."""
    return type(estimator) is Pipeline


def last_estimator(stages: Sequence[Any]) -> int:
    """The position of the last stage that is fitted; that one is each candidate's own. Or -1."""
    return max((at for at, stage in enumerate(stages) if isinstance(stage, Estimator)), default=-1)


class _Planner:
    def __init__(self, plan: Plan, maps: Sequence[Any]) -> None:
        self._plan = plan
        self._maps = maps
        self._most = [last_estimator(stages) for stages in plan.stages]

    def part(self, depth: int, candidates: tuple[int, ...], parent: Segment | None) -> None:
        """What some of these candidates share, which have all stages before ``depth`` in common."""
        for group in self._groups(depth, candidates):
            if len(group) < 2:
                continue
            end = depth + 1
            while self._groups(end, group) == [group]:
                end += 1
            stages = self._plan.stages[group[0]][depth:end]
            segment = Segment(stages, depth, group, parent)
            self._plan.segments.append(segment)
            self._plan.last_segment.update(dict.fromkeys(group, segment))
            self.part(end, group, segment)

    def _groups(self, depth: int, candidates: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Candidates with the same stage there, where it can be shared."""
        groups: list[tuple[Any, dict[str, Any], list[int]]] = []
        for candidate in candidates:
            if depth >= self._most[candidate]:
                continue
            stage = self._plan.stages[candidate][depth]
            values = own_params(stage, self._maps[candidate])
            for other, others, members in groups:
                if stage is other and _same(values, others):
                    members.append(candidate)
                    break
            else:
                if why_not_for(stage, self._maps[candidate]) is None:
                    groups.append((stage, values, [candidate]))
        return [tuple(members) for _, _, members in groups]


def why_not_for(stage: Any, extra: Any) -> str | None:
    """Why a stage with these params of a candidate cannot be shared; None if it can."""
    unknown: str | None = "its params cannot be read"
    return attempt(lambda: why_not(stage, own_params(stage, extra)), unknown)


def own_params(stage: Any, extra: Any) -> dict[str, Any]:
    """The values of the params of a stage, as a candidate with this param map has them."""
    values = stage.extractParamMap(extra)
    return {param.name: value for param, value in values.items() if param.parent == stage.uid}


def _stages(pipeline: Any, extra: Any) -> Sequence[Any]:
    stages: Sequence[Any] = extra.get(pipeline.stages, None) or pipeline.getStages()
    return stages


def _same(values: dict[str, Any], others: dict[str, Any]) -> bool:
    """Whether params are equal, and of equal types; what cannot be compared is not the same."""
    return values.keys() == others.keys() and attempt(
        lambda: all(_equal(value, others[name]) for name, value in values.items()), False
    )


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
