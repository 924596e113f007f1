"""The candidates of a search as the columns of a table: params, scores, bars and states."""

from __future__ import annotations

import math
from typing import Any

from trackmllib.cli import terminal, words
from trackmllib.cli.table import Column
from trackmllib.search_result import SearchResult
from trackmllib.view import words as shared
from trackmllib.view.compared import SYMBOL, Comparison
from trackmllib.view.results import Results

BAR = 12


def columns(
    results: Results,
    rows: list[dict[str, Any]],
    marks: list[str],
    top: int,
    comparison: Comparison,
) -> list[Column]:
    """The columns of the table, cut to its first rows; bars and digits are those of all of it.

    ``marks`` are the ranks of the rows; ``comparison`` is with the best one.
    """
    search = results.search
    averages = [row["average"] for row in rows]
    digits = words.digits_for(averages)
    candidates = {candidate.index: candidate for candidate in search.description.candidates}
    shown = rows[:top]

    def texts(key: str, digits: int = 4) -> list[str]:
        return [words.number(row[key], digits) for row in shown]

    numbers = [str(row["candidate"]) for row in shown]
    made = [Column(title="candidate", cells=numbers, right=True, left_out=8)]
    if any(marks):
        made.insert(0, Column(title="rank", cells=marks[:top], right=True, left_out=4))
    for where, setting in results.grid.settings.items():
        values = [
            next(
                (
                    s.value.text
                    for s in candidates[row["candidate"]].settings
                    if (s.owner, s.name) == where
                ),
                "",
            )
            for row in shown
        ]
        made.append(Column(title=results.grid.label(setting), cells=values, gives_way=True))
    made.append(Column(title=search.description.metric, cells=texts("average", digits), right=True))
    if any(row["deviation"] is not None for row in shown):
        made.append(Column(title="±", cells=texts("deviation", digits), right=True, left_out=3))
    told = [comparison.mark(row["candidate"]) for row in shown]
    if any(told):
        made.append(Column(title=SYMBOL, cells=told, left_out=3))
    if any(marks):
        made.append(Column(title="", cells=bars(averages, search)[:top], left_out=2))
    for fold in range(search.folds if search.description.averaged else 0):
        made.append(
            Column(title=f"fold {fold}", cells=texts(f"fold_{fold}"), right=True, left_out=6)
        )
    seconds = ["" if row["seconds"] is None else f"{row['seconds']:.1f}" for row in shown]
    made.append(Column(title="seconds", cells=seconds, right=True, left_out=5))
    states = [shared.state(row["status"]) for row in shown]
    settled = all(row["status"] == "FINISHED" for row in rows)
    made.append(Column(title="state", cells=states, left_out=9 if settled else 1))
    ids = [(row["run_id"] or "")[: words.SHORT] for row in shown]
    made.append(Column(title="run", cells=ids, left_out=7))
    return made


def bars(averages: list[float | None], search: SearchResult) -> list[str]:
    """From nothing for the worst to a full bar for the best; NaN, and what has none, has no bar."""
    larger = search.description.larger_is_better is not False
    finite = [each for each in averages if each is not None and math.isfinite(each)]
    worst, best = min(finite, default=0.0), max(finite, default=0.0)
    if not larger:
        worst, best = best, worst

    def share(average: float) -> float:
        if math.isinf(average):
            return float((average > 0) == larger)
        # Halves, lest a difference overflow.
        return 1.0 if worst == best else (average / 2 - worst / 2) / (best / 2 - worst / 2)

    return [
        "" if average is None or math.isnan(average) else terminal.bar(share(average), BAR)
        for average in averages
    ]
