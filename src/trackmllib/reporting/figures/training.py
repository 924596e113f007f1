"""Scores on the training data against those on the validation data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trackmllib.domain import ranking
from trackmllib.domain.further_metrics import TRAIN_PREFIX, names
from trackmllib.reporting.figures.context import NotAskedFor, NothingToDraw, SearchContext

MOST = 50


@dataclass(frozen=True, kw_only=True)
class TrainingRow:
    """One candidate with its averages on training and validation data."""

    candidate: int
    name: str
    training: float
    validation: float
    best: bool


@dataclass(frozen=True, kw_only=True)
class Training:
    """Candidates to draw, from the worst training score to the best.

    ``heading`` names the params if the names of the rows are values only.
    """

    heading: str | None
    rows: tuple[TrainingRow, ...]
    finding: str
    caveat: str = (
        "A candidate whose training score is far better than its validation score overfits. One "
        "whose scores are both bad underfits."
    )


def training(context: SearchContext) -> Training:
    """Data of the figure ``training``.

    :raises NotAskedFor: The search has no training scores.
    :raises NothingToDraw: No candidate has both scores.
    """
    metric = TRAIN_PREFIX + context.search.description.metric
    if metric not in names(context.search.description):
        raise NotAskedFor("There are no training scores; autolog(train_scores=True) computes them.")
    context.require_scores()
    scores = ranking.averages(context.search, metric)
    both = {index for index in context.ranked if math.isfinite(scores.get(index, math.nan))}
    if not both:
        raise NothingToDraw("No candidate has both a training and a validation score.")
    heading, labels = context.short_names
    rows = [
        TrainingRow(
            candidate=index,
            name=labels[index],
            training=scores[index],
            validation=context.averages[index],
            best=index == context.best,
        )
        for index in reversed(ranking.ranked(context.search, metric))
        if index in both
    ]
    shown = set([index for index in context.ranked if index in both][:MOST])
    return Training(
        heading=heading,
        rows=tuple(row for row in rows if row.candidate in shown),
        finding=_finding(context, rows),
    )


def _finding(context: SearchContext, rows: list[TrainingRow]) -> str:
    def gap(row: TrainingRow) -> float:
        """How much better the training score is."""
        gained = row.training - row.validation
        return gained if context.larger_is_better else -gained

    sentences = [
        f"The best candidate scored {context.number(row.training)} on its training data, and "
        f"{context.number(row.validation)} on validation data."
        for row in rows
        if row.best
    ]
    widest = max(rows, key=gap)
    if gap(widest) <= 0:
        sentences.append("No candidate scored better on its training data.")
    elif len(rows) > 1:
        which = "the best candidate" if widest.best else widest.name
        sentences.append(f"The gap is widest for {which}: {context.number(gap(widest))}.")
    if len(rows) > MOST:
        sentences.append(f"The best {MOST} are shown.")
    return " ".join(sentences)
