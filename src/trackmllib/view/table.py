"""The table of a search: a row for each candidate, also for those that have not begun."""

from __future__ import annotations

from typing import Any

from trackmllib.names import GridNames
from trackmllib.search_result import CandidateResult, SearchResult
from trackmllib.view.runs import Runs

SCHEDULED = "SCHEDULED"


def rows(search: SearchResult, grid: GridNames, runs: Runs) -> list[dict[str, Any]]:
    """A row for each candidate, by its number; all rows have the same keys in the same order.

    ``candidate``, ``params.<key>`` with the real value (None where the candidate does not set it),
    ``status`` (SCHEDULED: has not begun), ``fold_<n>`` with the scores, ``average``, ``deviation``
    (of an unfinished candidate None), ``seconds`` spent on its fits and evaluations, what it cost
    as ``spark.<name>`` if that is known of any candidate, and ``run_id``. Where scores were taken
    up from an earlier search, ``resumed`` says how many; their seconds are those of then.
    """
    keys = [grid.key(setting) for setting in grid.settings.values()]
    costs = _costs(search)
    takes_up = any(each.taken_up for each in search.candidates.values())
    folds = search.folds
    made = []
    for candidate in search.description.candidates:
        found = search.candidates.get(candidate.index, CandidateResult(status="RUNNING"))
        values = {grid.key(setting): setting.value.data for setting in candidate.settings}
        cost = {} if found.cost is None else found.cost.by_name()
        begun = candidate.index in search.candidates
        made.append(
            {
                "candidate": candidate.index,
                **{f"params.{key}": values.get(key) for key in keys},
                "status": found.status if begun else SCHEDULED,
                **{f"fold_{fold}": score(found, fold) for fold in range(folds)},
                "average": found.average,
                "deviation": found.deviation,
                "seconds": found.seconds,
                **({"resumed": found.taken_up} if takes_up else {}),
                **{f"spark.{name}": cost.get(name) for name in costs},
                "run_id": runs.children.get(candidate.index),
            }
        )
    return made


def score(found: CandidateResult, fold: int) -> float | None:
    """The score of a candidate on a fold, None if it has none."""
    cell = found.cells.get(fold)
    return None if cell is None else cell.score


def _costs(search: SearchResult) -> list[str]:
    """The names of costs, if any are known."""
    known = (candidate.cost for candidate in search.candidates.values())
    cost = next((cost for cost in known if cost is not None), None)
    return [] if cost is None else list(cost.by_name())
