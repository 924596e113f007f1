"""Plan of the Pipeline stages that candidates of a grid share.

The candidates form a tree, which branches at the first stage that differs. A *segment* is a
sequence of stages without a branch that at least two candidates share.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pyspark.ml import Estimator, Pipeline

from trackmllib.spark.middleware.stage_sharing.determinism import why_not_deterministic
from trackmllib.support.guard import attempt


@dataclass(frozen=True, eq=False)
class Segment:
    """Stages that ``candidates`` share, from position ``start``.

    Their input is the output of the ``parent`` segment, or without one the data of the fold.
    """

    stages: tuple[Any, ...]
    start: int
    candidates: tuple[int, ...]
    parent: Segment | None

    @property
    def end(self) -> int:
        """Position of the first stage after the segment."""
        return self.start + len(self.stages)


@dataclass(frozen=True, eq=False)
class Plan:
    """Segments, parents first; stages and last segment of each candidate.

    ``maps`` is the grid.
    """

    stages: tuple[tuple[Any, ...], ...]
    maps: Sequence[Any]
    segments: list[Segment] = field(default_factory=list)
    last_segment: dict[int, Segment] = field(default_factory=dict)

    def sharing(self, position: int, candidates: Sequence[int]) -> list[tuple[int, ...]]:
        """Group candidates by their stage at a position, if that can be shared."""
        groups: dict[Any, list[int]] = {}
        for candidate in candidates:
            stages, extra = self.stages[candidate], self.maps[candidate]
            if position < last_estimator_position(stages):
                stage = stages[position]
                key = attempt(partial(stage_key, stage, extra), None)
                if key is not None and (key in groups or why_not_shared(stage, extra) is None):
                    groups.setdefault(key, []).append(candidate)
        return list(map(tuple, groups.values()))

    def grouped(self, order: Sequence[int]) -> list[int]:
        """Reorder candidates so that those of a segment are adjacent.

        Then the output of a segment is cached no longer than necessary.
        """
        place = {candidate: at for at, candidate in enumerate(order)}
        first = {
            segment: min((place[each] for each in segment.candidates if each in place), default=0)
            for segment in self.segments
        }

        def key(candidate: int) -> list[int]:
            path = path_to(self.last_segment.get(candidate))
            return [*(first[segment] for segment in reversed(path)), place[candidate]]

        return sorted(order, key=key)


def path_to(segment: Segment | None) -> list[Segment]:
    """Return a segment and its ancestors."""
    path = []
    while segment is not None:
        path.append(segment)
        segment = segment.parent
    return path


def plan_for(pipeline: Any, maps: Sequence[Any]) -> Plan:
    """Plan which stages the candidates of these param maps share."""
    plan = plan_without_segments(pipeline, maps)
    _add_segments(plan, 0, tuple(range(len(maps))), None)
    return plan


def plan_without_segments(estimator: Any, maps: Sequence[Any]) -> Plan:
    """Plan without segments: only the stages of each candidate.

    An estimator that is not a pipeline is its own only stage.
    """
    if not is_plain_pipeline(estimator):
        return Plan(((estimator,),) * len(maps), maps)
    # Spark copies the pipeline for each fold, too.
    pipeline = estimator.copy()
    return Plan(tuple(tuple(_stages(pipeline, extra)) for extra in maps), maps)


def is_plain_pipeline(estimator: Any) -> bool:
    """Whether an estimator is Spark's own Pipeline, not a subclass."""
    return type(estimator) is Pipeline


def last_estimator_position(stages: Sequence[Any]) -> int:
    """Position of the last stage that is fitted, which is never shared; or -1."""
    return max((at for at, stage in enumerate(stages) if isinstance(stage, Estimator)), default=-1)


def _add_segments(
    plan: Plan, position: int, candidates: tuple[int, ...], parent: Segment | None
) -> None:
    """Add segments of candidates that share the stages before ``position``."""
    for group in plan.sharing(position, candidates):
        if len(group) < 2:
            continue
        end = position + 1
        while plan.sharing(end, group) == [group]:
            end += 1
        stages = plan.stages[group[0]][position:end]
        segment = Segment(stages, position, group, parent)
        plan.segments.append(segment)
        plan.last_segment.update(dict.fromkeys(group, segment))
        _add_segments(plan, end, group, segment)


def why_not_shared(stage: Any, extra: Any) -> str | None:
    """Return why a candidate's stage cannot be shared; None if it can."""
    unreadable: str | None = "its params cannot be read"
    return attempt(lambda: why_not_deterministic(stage, stage_params(stage, extra)), unreadable)


def stage_params(stage: Any, extra: Any) -> dict[str, Any]:
    """Return the params of a stage for the param map ``extra``."""
    values = stage.extractParamMap(extra)
    return {param.name: value for param, value in values.items() if param.parent == stage.uid}


def stage_key(stage: Any, extra: Any, except_for: Collection[str] = ()) -> Any:
    """Return a key that candidates with the same stage share.

    :param except_for: Names of params that may differ.
    :raises TypeError: A value has no hash.
    """
    values = stage.extractParamMap(extra)
    params = frozenset(
        (param.name, param in extra or stage.isSet(param), _exact(value))
        for param, value in values.items()
        if param.parent == stage.uid and param.name not in except_for
    )
    return id(stage), params


def _stages(pipeline: Any, extra: Any) -> Sequence[Any]:
    stages: Sequence[Any] = extra.get(pipeline.stages)
    return pipeline.getStages() if stages is None else stages


def _exact(value: Any) -> Any:
    """Return a form of a value that also distinguishes types and ``-0.0``."""
    if isinstance(value, float):
        return ("float", value.hex())
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, tuple(map(_exact, value)))
    return (type(value).__name__, value)
