"""Table of the candidates of a search."""

from __future__ import annotations

from typing import Any

from trackmllib.domain import further_metrics, ranking
from trackmllib.domain.naming import GridNames
from trackmllib.domain.search_state import CandidateResult, SearchState
from trackmllib.reporting.run_links import RunLinks

SCHEDULED = "SCHEDULED"


def rows(search: SearchState, grid: GridNames, runs: RunLinks) -> list[dict[str, Any]]:
    """A row for each candidate of the grid; see ``Results.to_pandas``.

    Missing values are None. ``seconds`` includes the original durations of reused scores.
    """
    keys = [grid.key(param) for param in grid.params.values()]
    costs = _cost_names(search)
    has_reused = any(found.reused for found in search.candidates.values())
    ranks = ranking.ranks(search)
    further = search.description.further_metrics
    made = []
    for candidate in search.description.candidates:
        found = search.candidates.get(candidate.index, CandidateResult())
        values = {grid.key(param): param.value.data for param in candidate.params}
        cost = {} if found.cost is None else found.cost.by_name()
        made.append(
            {
                "candidate": candidate.index,
                **{f"params.{key}": values.get(key) for key in keys},
                "status": status(search, candidate.index),
                **{f"fold_{fold}": found.fold_score(fold) for fold in range(search.folds)},
                "average": found.average,
                "deviation": found.deviation,
                "rank": ranks.get(candidate.index),
                "seconds": found.seconds,
                **({"resumed": found.reused} if has_reused else {}),
                **further_metrics.columns(further, found, search.folds),
                **{f"spark.{name}": cost.get(name) for name in costs},
                "run_id": runs.children.get(candidate.index),
            }
        )
    return made


def status(search: SearchState, candidate: int) -> str:
    """Status of a candidate, SCHEDULED before its first fit."""
    found = search.candidates.get(candidate)
    return SCHEDULED if found is None else found.status


def status_text(status: str) -> str:
    """Status for people: ``finished``, ``not begun``."""
    return "not begun" if status == SCHEDULED else status.lower()


def _cost_names(search: SearchState) -> list[str]:
    costs = (found.cost for found in search.candidates.values())
    known = next((cost for cost in costs if cost is not None), None)
    return [] if known is None else list(known.by_name())
