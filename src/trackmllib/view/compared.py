"""Which candidates cannot be told apart from the best one, by a paired test over the folds.

The rule is the corrected resampled t-test of Nadeau and Bengio, "Inference for the Generalization
Error", Machine Learning 52 (2003), as scikit-learn's example "Statistical comparison of models
using grid search" uses it: scores are paired by fold, and because the folds share training data,
the variance of their differences is multiplied by ``1/k + test/train``, which is
``1/k + 1/(k - 1)`` for a CrossValidator of ``k`` folds. Two-sided, at 5 %, with ``k - 1`` degrees
of freedom.

Whatever shows a search asks here: the sentence, the mark and its legend are the same everywhere.

What it cannot do: one split has no spread, so it says nothing of a TrainValidationSplit; three
folds see large differences only; and it is not corrected for how many candidates are compared, nor
for the best one being chosen because its scores are high.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trackmllib.search_result import CandidateResult, SearchResult
from trackmllib.view.table import score

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
    """Result of the test.

    ``indistinct`` are the candidates that cannot be told apart from ``best``. ``compared`` is the
    number of candidates that the test compares with it, ``left_out`` that of the others.
    ``silence`` is a sentence that says why nothing is compared, else None.
    """

    best: int | None
    indistinct: frozenset[int] = frozenset()
    compared: int = 0
    left_out: int = 0
    silence: str | None = None

    @property
    def clause(self) -> str | None:
        """``4 of the 8 others cannot be told apart from the best``; None if none is compared."""
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
        """``≈`` for a candidate that cannot be told apart from the best, else nothing."""
        return SYMBOL if candidate in self.indistinct else ""


def compare(search: SearchResult) -> Comparison:
    """Compare the best candidate with each that has an average and a score for every fold."""
    best = search.best_so_far()
    if best is None:
        return Comparison(best=None, silence="No setting is the best one, so none is compared.")

    def silent(sentence: str) -> Comparison:
        return Comparison(best=best, silence=sentence)

    if search.description.larger_is_better is None:
        return silent("Whether larger is better is not known, so none is compared.")
    if search.description.averaged and search.folds < 2:
        return silent("There is one fold only, so nothing says how far scores vary by chance.")
    if not search.description.averaged:
        return silent(
            "There is one split only, so nothing says how far scores vary by chance; "
            "a CrossValidator would tell."
        )
    if search.folds != search.description.folds:
        return silent("These folds are not Spark's own, so what they share is not known.")
    folds = search.folds
    scores = {
        index: found
        for index, candidate in search.candidates.items()
        if (found := _all_folds(candidate, folds))
    }
    if best not in scores:
        return silent("The best setting has no score for each fold, so none is compared with it.")
    if better(search, best) is not None:
        return silent("The tuner chose a setting without the best average, so none is compared.")
    others = [index for index in scores if index != best]
    return Comparison(
        best=best,
        compared=len(others),
        left_out=len(search.description.candidates) - 1 - len(others),
        indistinct=frozenset(index for index in others if not differ(scores[best], scores[index])),
    )


def averages(search: SearchResult) -> dict[int, float]:
    """The averages by candidate, without NaN."""
    return {
        index: found.average
        for index, found in sorted(search.candidates.items())
        if found.average is not None and not math.isnan(found.average)
    }


def leader(search: SearchResult, among: Mapping[int, float]) -> int | None:
    """The candidate with the best of these averages, the first one if several are equal."""
    larger = search.description.larger_is_better
    if larger is None or not among:
        return None
    return (max if larger else min)(among, key=among.__getitem__)


def better(search: SearchResult, best: int) -> int | None:
    """The candidate with a better average than ``best``; None if there is none.

    There is one if a subclass chooses by a rule of its own.
    """
    among = averages(search)
    leads = leader(search, among)
    if leads is None or best not in among or among[leads] == among[best]:
        return None
    return leads


def differ(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two lists of scores on the same ``k`` ≥ 2 folds differ by more than chance."""
    k = len(one)
    # By the largest of them, so that no square of a score is too large or too small for a double.
    largest = max(map(abs, (*one, *other))) or 1.0
    differences = [a / largest - b / largest for a, b in zip(one, other, strict=True)]
    mean = math.fsum(differences) / k
    variance = math.fsum((each - mean) ** 2 for each in differences) / (k - 1)
    corrected = math.sqrt(variance * (1 / k + 1 / (k - 1)))
    return abs(mean) > quantile(k - 1) * corrected


def quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t; from 11 degrees of freedom by the expansion of Cornish
    and Fisher (Abramowitz and Stegun, 26.7.5), right to three places.
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
    scores = [score(candidate, fold) for fold in range(folds)]
    finite = [each for each in scores if each is not None and math.isfinite(each)]
    return finite if len(finite) == folds else None
