"""Explanation of ``nested_fits`` for a tuner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from trackmllib.spark.introspection.estimators import fits_in_any_order
from trackmllib.spark.middleware.nested_fits.middleware import why_not_applicable
from trackmllib.spark.middleware.nested_fits.plan import NestedPlan
from trackmllib.spark.middleware.stage_sharing.plan import plan_without_segments
from trackmllib.support.formatting import table
from trackmllib.support.guard import attempt

MOST_CANDIDATES = 8


@dataclass(frozen=True, kw_only=True)
class NestedExplanation:
    """Nested candidates at one position of the pipeline.

    ``largest`` is the candidate that is fitted, and ``params`` are those in which the candidates
    may differ. If ``largest`` is None, each candidate is fitted separately; ``reason`` says why.
    """

    position: int
    stage: str
    params: tuple[str, ...]
    candidates: tuple[int, ...]
    largest: int | None
    reason: str = ""

    @property
    def computed(self) -> int:
        """Number of fits per fold."""
        return len(self.candidates) if self.largest is None else 1


def explain_nested(
    tuner: Any, estimator: Any, maps: Sequence[Any], *, on_connect: bool
) -> tuple[NestedExplanation, ...]:
    """Explain each group of candidates, by position."""
    if not fits_in_any_order(estimator):
        return ()
    collects = attempt(lambda: bool(tuner.getCollectSubModels()), False)
    why = partial(why_not_applicable, on_connect=on_connect, collects_models=collects)
    stages = plan_without_segments(estimator, maps)
    plan = NestedPlan(stages, why)
    found = [
        NestedExplanation(
            position=group.position,
            stage=type(group.stage).__name__,
            params=group.rule.params,
            candidates=group.candidates,
            largest=group.largest,
        )
        for group in plan.groups
    ]
    separate: dict[tuple[int, str], list[int]] = {}
    for fit in plan.separate:
        separate.setdefault((fit.position, fit.reason), []).append(fit.candidate)
    for (position, reason), candidates in separate.items():
        found.append(
            NestedExplanation(
                position=position,
                stage=type(stages.stages[candidates[0]][position]).__name__,
                params=(),
                candidates=tuple(candidates),
                largest=None,
                reason=reason,
            )
        )
    return tuple(sorted(found, key=lambda each: (each.position, each.candidates)))


def nested_lines(nested: Sequence[NestedExplanation], estimator: str) -> list[str]:
    """Format the explanation as lines of text."""
    if not nested:
        return [f"nested_fits on a {estimator}: no candidate's model contains that of another."]
    rows = [("", "stage", "candidates", "fitted per fold", "why separately")]
    for each in nested:
        fits = "all"
        if each.largest is not None:
            fits = f"candidate {each.largest}"
        names = [str(candidate) for candidate in each.candidates[:MOST_CANDIDATES]]
        more = ["…"] if len(each.candidates) > MOST_CANDIDATES else []
        stage = f"{each.stage} {', '.join(each.params)}".strip()
        rows.append((str(each.position), stage, ", ".join(names + more), fits, each.reason))
    computed = sum(each.computed for each in nested)
    instead = sum(len(each.candidates) for each in nested)
    return [
        "nested_fits",
        "",
        *table(rows),
        "",
        f"Each fold fits {computed} of these {instead} models.",
    ]
