"""Statistical test of the candidates against the best one.

The corrected resampled t-test of Nadeau and Bengio, "Inference for the Generalization Error",
Machine Learning 52 (2003), as in scikit-learn's example "Statistical comparison of models using
grid search". Scores are paired by fold, and the differences have the standard error of
``domain.standard_error``. The test is two-sided, at 5 %, with ``k - 1`` degrees of freedom.

It needs five folds. With 2, it found a difference between equally good classifiers in 10.7 % of our
simulations, not in 5 %, because two folds often have the same difference by chance. With 3, the
mean difference must exceed 3.9 standard deviations, so the outcome depends more on the spread of
three numbers than on their mean. With 5 and with 10, the simulations in the tests stay within 5 %.

Each candidate is tested separately, so one with uneven scores may be indistinct although a
better-ranked one is not. A verdict that is monotone in rank would be worse: either an uneven
candidate at the end of the ranking makes all before it indistinct, or candidates count as different
without having been tested, and more than 5 % do so by chance. The test is corrected neither for the
number of candidates nor for the choice of the best one by its score.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trackmllib.domain import ranking, standard_error
from trackmllib.domain.search_state import CandidateResult, SearchState

MIN_FOLDS = 5
RULE = "corrected resampled t-test of Nadeau and Bengio (2003), paired over folds, two-sided at 5 %"
SYMBOL = "≈"
UNCORRECTED = (
    "The test is corrected neither for the number of candidates nor for the choice of the best one."
)
UNEVEN = (
    f"Where {SYMBOL} skips a better-ranked candidate, that one differs from the best more evenly "
    "across the folds."
)
# The 97.5 % quantiles of Student's t for 1 to 10 degrees of freedom.
_QUANTILES = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
_NORMAL = 1.959963985


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Result of the test, with the words that every output uses for it.

    ``indistinct`` are the candidates that are not significantly different from ``best``;
    ``is_monotone`` says whether they are the best-ranked ones. ``compared`` others were tested
    against it, ``left_out`` were not. ``reason`` is a sentence that says why nothing was compared,
    or None.
    """

    best: int | None
    folds: int = 0
    indistinct: frozenset[int] = frozenset()
    is_monotone: bool = True
    compared: int = 0
    left_out: int = 0
    reason: str | None = None

    @property
    def phrase(self) -> str:
        """What ``≈`` means, with the test and its number of folds."""
        return f"not {self._different}"

    @property
    def legend(self) -> str:
        """``≈ not significantly different from the best (…)``."""
        return f"{SYMBOL} {self.phrase}"

    @property
    def clause(self) -> str | None:
        """``4 of the 8 others are not significantly different …``, or None."""
        alike, compared = len(self.indistinct), self.compared
        scored = " with all scores" if self.left_out else ""
        if compared == 0:
            return None
        if compared == 1:
            return f"the other one{scored} is {self.phrase if alike else self._different}"
        if alike == 0:
            return f"all {compared:,} others{scored} are {self._different}"
        if alike == compared:
            return f"none of the {compared:,} others{scored} is {self._different}"
        verb = "is" if alike == 1 else "are"
        return f"{alike:,} of the {compared:,} others{scored} {verb} {self.phrase}"

    def mark(self, candidate: int) -> str:
        """``≈`` for an indistinct candidate, else nothing."""
        return SYMBOL if candidate in self.indistinct else ""

    def notes(self, shown: Iterable[int]) -> tuple[str, ...]:
        """Sentences below a table of these candidates."""
        if self.reason is not None:
            return (self.reason,)
        if self.indistinct.isdisjoint(shown):
            return ()
        return (self.legend,) if self.is_monotone else (self.legend, UNEVEN)

    @property
    def _different(self) -> str:
        test = f"corrected resampled t-test, {self.folds} folds"
        return f"significantly different from the best ({test})"


def compare(search: SearchState) -> Comparison:
    """Compare the best candidate with all complete ones."""
    best = ranking.best(search)
    scores = {
        index: found
        for index, candidate in search.candidates.items()
        if (found := _all_folds(candidate, search.folds))
    }
    if len(ranking.averages(search)) < 2:
        return Comparison(best=best)
    reason = _why_not(search, best, scores)
    if best is None or reason is not None:
        return Comparison(best=best, reason=reason)
    others = [index for index in ranking.ranked(search) if index in scores and index != best]
    alike = [index for index in others if not differ(scores[best], scores[index])]
    return Comparison(
        best=best,
        folds=search.folds,
        indistinct=frozenset(alike),
        is_monotone=alike == others[: len(alike)],
        compared=len(others),
        left_out=len(search.description.candidates) - 1 - len(others),
    )


def _why_not(search: SearchState, best: int | None, scores: dict[int, list[float]]) -> str | None:
    """Reason why nothing can be compared with the best candidate."""
    if not search.description.averaged:
        return (
            "One split does not show how far scores vary by chance; use a CrossValidator to see it."
        )
    if search.folds < 2:
        return "One fold does not show how far scores vary by chance."
    if not standard_error.is_known(search):
        return "These folds are not Spark's own, so what they share is not known."
    if search.folds < MIN_FOLDS:
        return (
            f"A test for significant differences needs at least {MIN_FOLDS} folds; this search has "
            f"{search.folds}."
        )
    if best is None:
        return "No candidate is the best one, so none is compared."
    if search.description.larger_is_better is None:
        return "Whether larger is better is not known, so no candidate is compared."
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
    corrected = math.sqrt(variance * standard_error.variance_factor(k))
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
