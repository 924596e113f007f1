"""Statistical test for candidates that are as good as the best.

The corrected resampled t-test of Nadeau and Bengio, "Inference for the Generalization Error",
Machine Learning 52 (2003), as in scikit-learn's example "Statistical comparison of models using
grid search". Scores are paired by fold. Because folds share training data, the variance of their
differences is multiplied by ``1/k + test/train``, which is ``1/k + 1/(k - 1)`` for ``k`` folds. The
test is two-sided, at 5 %, with ``k - 1`` degrees of freedom.

It cannot test a TrainValidationSplit, whose single split has no spread. With three folds, only
large differences show. It is corrected neither for the number of candidates nor for the choice of
the best one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trackmllib.domain import ranking
from trackmllib.domain.search_state import CandidateResult, SearchState

RULE = "corrected resampled t-test of Nadeau and Bengio (2003), paired over folds, two-sided at 5 %"
SYMBOL = "≈"
PHRASE = "cannot be told apart from the best"
APART = "can be told apart from the best"
LEGEND = f"{SYMBOL} {PHRASE}"
# The 97.5 % quantiles of Student's t for 1 to 10 degrees of freedom.
_QUANTILES = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
_NORMAL = 1.959963985


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Result of the test, with the words that every output uses for it.

    ``indistinct`` are the candidates that cannot be told apart from ``best``. ``compared`` others
    were tested against it, ``left_out`` were not. ``reason`` is a sentence that says why nothing
    was compared, or None.
    """

    best: int | None
    indistinct: frozenset[int] = frozenset()
    compared: int = 0
    left_out: int = 0
    reason: str | None = None

    @property
    def clause(self) -> str | None:
        """``4 of the 8 others cannot be told apart from the best``, or None."""
        alike, compared = len(self.indistinct), self.compared
        scored = " with all scores" if self.left_out else ""
        if compared == 0:
            return None
        if compared == 1:
            return f"the other one{scored} {PHRASE if alike else APART}"
        if alike == 0:
            return f"all {compared:,} others{scored} {APART}"
        if alike == compared:
            return f"none of the {compared:,} others{scored} {APART}"
        return f"{alike:,} of the {compared:,} others{scored} {PHRASE}"

    def mark(self, candidate: int) -> str:
        """``≈`` for an indistinct candidate, else nothing."""
        return SYMBOL if candidate in self.indistinct else ""


def compare(search: SearchState) -> Comparison:
    """Compare the best candidate with all complete ones."""
    best = ranking.best(search)
    scores = {
        index: found
        for index, candidate in search.candidates.items()
        if (found := _all_folds(candidate, search.folds))
    }
    reason = _why_not(search, best, scores)
    if best is None or reason is not None:
        return Comparison(best=best, reason=reason)
    others = [index for index in scores if index != best]
    return Comparison(
        best=best,
        compared=len(others),
        left_out=len(search.description.candidates) - 1 - len(others),
        indistinct=frozenset(index for index in others if not differ(scores[best], scores[index])),
    )


def _why_not(search: SearchState, best: int | None, scores: dict[int, list[float]]) -> str | None:
    """Reason why nothing can be compared with the best candidate."""
    if best is None:
        return "No candidate is the best one, so none is compared."
    if search.description.larger_is_better is None:
        return "Whether larger is better is not known, so no candidate is compared."
    if not search.description.averaged:
        return (
            "One split does not show how far scores vary by chance; use a CrossValidator to see it."
        )
    if search.folds < 2:
        return "One fold does not show how far scores vary by chance."
    if search.folds != search.description.folds:
        return "These folds are not Spark's own, so what they share is not known."
    if best not in scores:
        return "The best candidate has no score for each fold, so none is compared with it."
    if ranking.better_than(search, best) is not None:
        return "The tuner chose a candidate without the best average, so none is compared."
    return None


def differ(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether scores on the same two folds or more differ beyond chance."""
    k = len(one)
    # Scaled, so that the square of every score fits into a double.
    largest = max(map(abs, (*one, *other))) or 1.0
    differences = [a / largest - b / largest for a, b in zip(one, other, strict=True)]
    mean = math.fsum(differences) / k
    variance = math.fsum((each - mean) ** 2 for each in differences) / (k - 1)
    corrected = math.sqrt(variance * (1 / k + 1 / (k - 1)))
    return abs(mean) > quantile(k - 1) * corrected


def quantile(freedom: int) -> float:
    """97.5 % quantile of Student's t.

    From 11 degrees of freedom, by the Cornish-Fisher expansion (Abramowitz and Stegun, 26.7.5),
    exact to three decimals.
    """
    if freedom <= len(_QUANTILES):
        return _QUANTILES[freedom - 1]
    z = _NORMAL
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


def _all_folds(candidate: CandidateResult, folds: int) -> list[float] | None:
    if candidate.average is None or not math.isfinite(candidate.average):
        return None
    scores = [candidate.fold_score(fold) for fold in range(folds)]
    finite = [each for each in scores if each is not None and math.isfinite(each)]
    return finite if len(finite) == folds else None
