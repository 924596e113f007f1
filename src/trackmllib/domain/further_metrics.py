"""Further metrics of candidates, and their columns in tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from trackmllib.domain.descriptions import FurtherMetric, SearchDescription
from trackmllib.domain.search_state import CandidateResult, SearchState
from trackmllib.domain.standard_error import score_text as average_text

# Prefix of the names of metrics on the training data of a fold.
TRAIN_PREFIX = "train_"
MOST_IN_LINE = 10


def names(description: SearchDescription) -> list[str]:
    """Names of all metrics of a search, the tuner's own first."""
    return [description.metric, *(each.name for each in description.further_metrics)]


def larger_is_better(description: SearchDescription, metric: str | None) -> bool | None:
    """Direction of a metric, None meaning the tuner's own; None if unknown."""
    if metric is None:
        return description.larger_is_better
    return next(
        each.larger_is_better for each in description.further_metrics if each.name == metric
    )


def average_of(found: CandidateResult, metric: str | None) -> float | None:
    """Average of a metric, None meaning the tuner's own; None if missing."""
    if metric is None:
        return found.average
    average = found.metrics.get(metric)
    return None if average is None else average.average


def score_text(search: SearchState, candidate: int, metric: str) -> str:
    """Average of a further metric for people: ``0.842 ± 0.006``, or ``–``."""
    found = search.candidates[candidate].metrics.get(metric)
    if found is None:
        return average_text(search, None, None)
    return average_text(search, found.average, found.deviation)


def line_of_best(search: SearchState, candidate: int, clean: Callable[[str], str]) -> str:
    """Averages of the best candidate on one line; empty if there are none.

    ``clean`` prepares a name for the place where the line is shown.
    """
    texts = [
        f"{clean(each.name)} {score_text(search, candidate, each.name)}"
        for each in search.description.further_metrics
        if each.name in search.candidates[candidate].metrics
    ]
    more = [f"and {len(texts) - MOST_IN_LINE:,} more"] if len(texts) > MOST_IN_LINE else []
    shown = ", ".join([*texts[:MOST_IN_LINE], *more])
    return f"Further metrics of the best candidate: {shown}" if texts else ""


def columns(
    metrics: Iterable[FurtherMetric], found: CandidateResult, folds: int
) -> dict[str, float | None]:
    """Values of a candidate, by column.

    A metric has the columns ``fold_0.f1``, …, ``avg_f1``, ``std_f1``. Missing values are None.
    """
    values: dict[str, float | None] = {}
    for each in metrics:
        for fold in range(folds):
            fit = found.fits.get(fold)
            values[f"fold_{fold}.{each.name}"] = None if fit is None else fit.metrics.get(each.name)
        average = found.metrics.get(each.name)
        values[f"avg_{each.name}"] = None if average is None else average.average
        values[f"std_{each.name}"] = None if average is None else average.deviation
    return values
