"""Columns of the table of candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trackmllib.cli import values
from trackmllib.cli.table import TextColumn
from trackmllib.domain import further_metrics, ranking
from trackmllib.domain.significance import SYMBOL, Comparison
from trackmllib.domain.standard_error import standard_error
from trackmllib.reporting.results import Results
from trackmllib.reporting.table import status_text
from trackmllib.support import formatting

BAR_WIDTH = 12
_EIGHTHS = " ▏▎▍▌▋▊▉"


def columns(
    results: Results,
    rows: Sequence[Mapping[str, Any]],
    top: int,
    comparison: Comparison,
    metric: str | None = None,
) -> list[TextColumn]:
    """Columns with the first ``top`` rows; bars and decimals depend on all.

    :param metric: Further metric to show in detail instead of the tuner's own.
    """
    search = results.search
    description = search.description
    rank_labels = ranking.rank_labels(search, metric)
    average, deviation, suffix = "average", "deviation", ""
    if metric is not None:
        average, deviation, suffix = f"avg_{metric}", f"std_{metric}", f".{metric}"
    averages = [row[average] for row in rows]
    shown = rows[:top]

    def number_column(
        title: str, numbers: Sequence[float | None], decimals: int = 4, omit_order: int = 0
    ) -> TextColumn:
        texts = [formatting.column_number(number, decimals) for number in numbers]
        return TextColumn(title=title, values=texts, align_right=True, omit_order=omit_order)

    def values_of(key: str) -> list[float | None]:
        return [row[key] for row in shown]

    made = []
    if rank_labels:
        ranks = [rank_labels.get(row["candidate"], "") for row in shown]
        made.append(TextColumn(title="rank", values=ranks, align_right=True, omit_order=4))
    indexes = [str(row["candidate"]) for row in shown]
    made.append(TextColumn(title="candidate", values=indexes, align_right=True, omit_order=8))
    made += _params(results, [row["candidate"] for row in shown])
    decimals = formatting.column_digits(averages)
    made.append(number_column(metric or description.metric, values_of(average), decimals))
    errors = [standard_error(search, each) for each in values_of(deviation)]
    if any(error is not None for error in errors):
        made.append(number_column("±", errors, decimals, omit_order=3))
    marks = [comparison.mark(row["candidate"]) for row in shown]
    if any(marks):
        made.append(TextColumn(title=SYMBOL, values=marks, omit_order=3))
    if rank_labels:
        larger = further_metrics.larger_is_better(description, metric) is not False
        made.append(TextColumn(title="", values=bars(averages, larger=larger)[:top], omit_order=2))
    others = {each.name: f"avg_{each.name}" for each in description.further_metrics}
    if metric is not None:
        others = {description.metric: "average", **others}
        del others[metric]
    for name, key in others.items():
        made.append(number_column(name, values_of(key), omit_order=5))
    for fold in range(search.folds if description.averaged else 0):
        made.append(number_column(f"fold {fold}", values_of(f"fold_{fold}{suffix}"), omit_order=6))
    seconds = ["" if row["seconds"] is None else f"{row['seconds']:.1f}" for row in shown]
    made.append(TextColumn(title="seconds", values=seconds, align_right=True, omit_order=5))
    all_finished = all(row["status"] == "FINISHED" for row in rows)
    states = [status_text(row["status"]) for row in shown]
    made.append(TextColumn(title="state", values=states, omit_order=9 if all_finished else 1))
    run_ids = [values.short_id(row["run_id"]) for row in shown]
    made.append(TextColumn(title="run", values=run_ids, omit_order=7))
    return made


def _params(results: Results, shown: Sequence[int]) -> list[TextColumn]:
    """A column for each param of the grid."""
    candidates = {each.index: each for each in results.search.description.candidates}
    texts = [
        {(each.owner, each.name): each.value.text for each in candidates[index].params}
        for index in shown
    ]
    return [
        TextColumn(
            title=results.grid.label(param),
            values=[of_candidate.get(key, "") for of_candidate in texts],
            shrinks=True,
        )
        for key, param in results.grid.params.items()
    ]


def bars(averages: Sequence[float | None], *, larger: bool) -> list[str]:
    """Bars, empty for the worst average and full for the best; none for NaN."""
    finite = [each for each in averages if each is not None and math.isfinite(each)]
    worst, best = min(finite, default=0.0), max(finite, default=0.0)
    if not larger:
        worst, best = best, worst

    def share(average: float) -> float:
        if math.isinf(average):
            return float((average > 0) == larger)
        # Halves, because the difference could overflow.
        return 1.0 if worst == best else (average / 2 - worst / 2) / (best / 2 - worst / 2)

    return [
        "" if average is None or math.isnan(average) else _bar(share(average))
        for average in averages
    ]


def _bar(share: float) -> str:
    whole, eighths = divmod(round(share * BAR_WIDTH * 8), 8)
    return ("█" * whole + (_EIGHTHS[eighths] if eighths else "")).ljust(BAR_WIDTH)
