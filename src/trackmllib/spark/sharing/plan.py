"""Which stages of a Pipeline several candidates of a grid have in common; without running anything.

The candidates of a grid are a tree: they part at the first stage that differs. Stages that two or
more have in common, with nothing between them at which some part, are a *segment*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
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

    def together(self, order: Sequence[int]) -> list[int]:
        """These candidates in this order, but for those of a segment, which come one after the
        other, as soon as the first of them does: so its output is kept no longer than need be.
        """
        place = {candidate: at for at, candidate in enumerate(order)}
        first = {
            one: min((place[each] for each in one.candidates if each in place), default=0)
            for one in self.segments
        }

        def key(candidate: int) -> list[int]:
            path = path_to(self.last_segment.get(candidate))
            return [*(first[segment] for segment in reversed(path)), place[candidate]]

        return sorted(order, key=key)


def path_to(segment: Segment | None) -> list[Segment]:
    """A segment, and those before it, up to the first."""
    path = []
    while segment is not None:
        path.append(segment)
        segment = segment.parent
    return path


def plan_for(pipeline: Any, maps: Sequence[Any]) -> Plan:
    """How the candidates of these param maps share the stages of a pipeline, as it is now: Spark,
    too, copies it before it fits the candidates of a fold.
    """
    pipeline = pipeline.copy()
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
        groups: dict[Any, list[int]] = {}
        for candidate in candidates:
            if depth < self._most[candidate]:
                stage, extra = self._plan.stages[candidate][depth], self._maps[candidate]
                found = attempt(partial(key, stage, extra), None)
                if found is not None and (found in groups or why_not_for(stage, extra) is None):
                    groups.setdefault(found, []).append(candidate)
        return list(map(tuple, groups.values()))


def why_not_for(stage: Any, extra: Any) -> str | None:
    """Why a stage with these params of a candidate cannot be shared; None if it can."""
    unknown: str | None = "its params cannot be read"
    return attempt(lambda: why_not(stage, own_params(stage, extra)), unknown)


def own_params(stage: Any, extra: Any) -> dict[str, Any]:
    """The values of the params of a stage, as a candidate with this param map has them."""
    values = stage.extractParamMap(extra)
    return {param.name: value for param, value in values.items() if param.parent == stage.uid}


def _stages(pipeline: Any, extra: Any) -> Sequence[Any]:
    stages: Sequence[Any] = extra.get(pipeline.stages)
    return pipeline.getStages() if stages is None else stages


def key(stage: Any, extra: Any) -> Any:
    """What is equal for two candidates that have one stage in common, down to the types of its
    values and which of them are set; TypeError where a value has no hash.
    """
    values = stage.extractParamMap(extra)
    own = frozenset(
        (param.name, param in extra or stage.isSet(param), _exact(value))
        for param, value in values.items()
        if param.parent == stage.uid
    )
    return id(stage), own


def _exact(value: Any) -> Any:
    if isinstance(value, float):
        return ("float", value.hex())
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, tuple(map(_exact, value)))
    return (type(value).__name__, value)
