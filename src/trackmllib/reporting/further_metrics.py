"""Table of further metrics in a report."""

from __future__ import annotations

from dataclasses import dataclass

from trackmllib.domain import further_metrics, ranking
from trackmllib.domain.descriptions import FurtherMetric
from trackmllib.reporting.figures.context import SearchContext
from trackmllib.support import formatting


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """Score and rank of the best candidate by one metric.

    ``first`` is the candidate that is best by this metric, ``first_score`` its average.
    """

    name: str
    score: str
    rank: str
    first: str
    first_score: str


def rows(context: SearchContext) -> list[MetricRow]:
    """A row for each further metric that a candidate has."""
    made = (_row(context, each) for each in context.search.description.further_metrics)
    return [row for row in made if row is not None]


def _row(context: SearchContext, metric: FurtherMetric) -> MetricRow | None:
    search, name = context.search, metric.name
    labels = ranking.rank_labels(search, name)
    if not any(name in found.metrics for found in search.candidates.values()):
        return None
    first = ranking.best_average(search, name)
    smaller = " (smaller is better)" if metric.larger_is_better is False else ""
    best = context.best
    rank = None if best is None else labels.get(best)
    return MetricRow(
        name=formatting.visible(name, 60) + smaller,
        score="–" if best is None else further_metrics.score_text(search, best, name),
        rank="–" if rank is None else f"{rank} of {len(labels):,}",
        first="–" if first is None else context.name(first, 120),
        first_score="" if first is None else further_metrics.score_text(search, first, name),
    )
