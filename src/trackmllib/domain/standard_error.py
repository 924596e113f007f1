"""Standard error of an average over folds.

Corrected as in Nadeau and Bengio, "Inference for the Generalization Error", Machine Learning 52
(2003). Folds share training data, so the usual ``s / sqrt(k)`` is too small. The variance ``s²``
of the scores is multiplied by ``1/k + test/train``, which is ``1/k + 1/(k - 1)`` for ``k`` folds.
"""

from __future__ import annotations

import math

from trackmllib.domain.search_state import SearchState
from trackmllib.support import formatting

PLUS_MINUS = (
    "± is the standard error, corrected because folds share training data "
    "(Nadeau and Bengio, 2003)."
)


def variance_factor(folds: int) -> float:
    """Variance of an average over folds, relative to that of one score."""
    return 1 / folds + 1 / (folds - 1)


def is_known(search: SearchState) -> bool:
    """Whether the search has several folds, and all of them are Spark's own."""
    own = search.folds == search.description.folds
    return search.description.averaged and own and search.folds > 1


def standard_error(search: SearchState, deviation: float | None) -> float | None:
    """Standard error of an average from the deviation of its scores.

    ``deviation`` is the population standard deviation, as in ``model.stdMetrics``.
    """
    if deviation is None or not is_known(search):
        return None
    k = search.folds
    return deviation * math.sqrt(k / (k - 1) * variance_factor(k))


def score_text(search: SearchState, average: float | None, deviation: float | None) -> str:
    """Average with its standard error: ``0.842 ± 0.006``."""
    return formatting.score(average, standard_error(search, deviation))
