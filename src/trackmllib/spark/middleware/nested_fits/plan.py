"""Plan of the models that can be derived from larger ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyspark.ml import Estimator

from trackmllib.spark.middleware.nested_fits.base import Rule
from trackmllib.spark.middleware.nested_fits.rules import rule_of
from trackmllib.spark.middleware.stage_sharing.plan import (
    Plan,
    stage_key,
    stage_params,
)
from trackmllib.support.guard import attempt


@dataclass(frozen=True, eq=False)
class NestedGroup:
    """Nested candidates at one position of the pipeline.

    ``stage`` is the estimator at this position, without the candidates' params.
    """

    rule: Rule
    stage: Any
    position: int
    candidates: tuple[int, ...]
    largest: int


@dataclass(frozen=True, kw_only=True)
class SeparateFit:
    """Candidate with a rule that must be fitted separately nevertheless."""

    position: int
    candidate: int
    reason: str


WhyNoRule = Callable[[Rule], str | None]


class NestedPlan:
    """Groups of nested candidates, and fits that remain separate.

    :param plan: The stages of each candidate.
    :param why_not_applicable: Returns why a rule does not apply to this search, or None.
    :param left_out: Candidates that are not fitted, or that failed.
    """

    def __init__(
        self,
        plan: Plan,
        why_not_applicable: WhyNoRule,
        left_out: Collection[int] = (),
    ) -> None:
        self._plan = plan
        self._why_no_rule = why_not_applicable
        self.separate: list[SeparateFit] = []
        self.groups: list[NestedGroup] = []
        self._add_groups(0, [each for each in range(len(plan.maps)) if each not in left_out])

    def _add_groups(self, position: int, candidates: Sequence[int]) -> None:
        """Add groups of candidates that share all stages before a position."""
        by_stage: dict[int, list[int]] = {}
        for candidate in candidates:
            if position < len(self._plan.stages[candidate]):
                stage = self._plan.stages[candidate][position]
                by_stage.setdefault(id(stage), []).append(candidate)
        for same_stage in by_stage.values():
            self.groups += self._nested(position, same_stage)
        for shared in self._plan.sharing(position, candidates):
            self._add_groups(position + 1, shared)

    def _nested(self, position: int, candidates: list[int]) -> Iterator[NestedGroup]:
        """Group candidates by the params that are not nested."""
        stage = self._plan.stages[candidates[0]][position]
        rule = rule_of(stage) if isinstance(stage, Estimator) else None
        if rule is None:
            return
        groups: dict[Any, list[int]] = {}
        for candidate in candidates:
            key = attempt(partial(self._key, rule, position, candidate), None)
            if key is not None:
                groups.setdefault(key, []).append(candidate)
        for group in groups.values():
            if len(self._values(rule, position, group)) < 2:
                continue
            fits = []
            for candidate in group:
                reason = self._why_separate(rule, self._params(position, candidate))
                if reason is None:
                    fits.append(candidate)
                else:
                    self.separate.append(
                        SeparateFit(position=position, candidate=candidate, reason=reason)
                    )
            if len(self._values(rule, position, fits)) < 2:
                continue
            size = {each: rule.size(self._params(position, each)) for each in fits}
            largest = max(fits, key=size.__getitem__)
            yield NestedGroup(rule, stage, position, tuple(fits), largest)

    def _why_separate(self, rule: Rule, params: dict[str, Any]) -> str | None:
        unset = [name for name in rule.params if name not in params]
        if unset:
            return f"{unset[0]} has no value"
        return self._why_no_rule(rule) or rule.why_not(params)

    def _params(self, position: int, candidate: int) -> dict[str, Any]:
        return stage_params(self._plan.stages[candidate][position], self._plan.maps[candidate])

    def _key(self, rule: Rule, position: int, candidate: int) -> Any:
        stage, extra = self._plan.stages[candidate][position], self._plan.maps[candidate]
        return stage_key(stage, extra, except_for=rule.params)

    def _values(self, rule: Rule, position: int, candidates: Sequence[int]) -> set[Any]:
        """Distinct values of the nested params."""
        params = (self._params(position, candidate) for candidate in candidates)
        return {tuple(repr(each.get(name)) for name in rule.params) for each in params}
