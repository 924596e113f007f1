"""The answer of a search: the best candidate, and how certain it is."""

from __future__ import annotations

from dataclasses import dataclass

from trackmllib.domain import naming, ranking
from trackmllib.domain.naming import GridNames
from trackmllib.domain.search_state import SearchState
from trackmllib.domain.significance import UNCORRECTED, UNEVEN, Comparison
from trackmllib.domain.standard_error import PLUS_MINUS, score_text, standard_error
from trackmllib.support import formatting

_ON_NAN = (
    "An evaluator returns NaN if it divides by zero, or if predictions are NaN. Spark ranks NaN "
    "above all numbers."
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Sentences about a search; ``best`` is the candidate that they call best."""

    sentence: str
    certainty: tuple[str, ...] = ()
    best: int | None = None


def answer(search: SearchState, grid: GridNames, comparison: Comparison) -> Answer:
    """Answer of a search in its current state."""
    return _Sentences(search, grid, comparison).answer()


class _Sentences:
    def __init__(self, search: SearchState, grid: GridNames, comparison: Comparison) -> None:
        self._search = search
        self._grid = grid
        self._comparison = comparison
        self._total = len(search.description.candidates)
        self._averages = ranking.averages(search)

    def answer(self) -> Answer:
        search = self._search
        if self._total == 0:
            return Answer(sentence=f"The search has no candidates: its grid is empty.{self._error}")
        best = ranking.best(search)
        if best is None or best not in search.candidates:
            return Answer(sentence=self._without_best())
        if ranking.nan_winner(search) is not None:
            return self._with_nan(best)
        if search.candidates[best].average is None:
            return Answer(sentence=f"Spark chose {self._name(best)}; its score is unknown.")
        better = ranking.better_than(search, best)
        if better is not None:
            return Answer(
                sentence=self._by_another_rule(best, better),
                certainty=self._certainty(best),
                best=best,
            )
        return Answer(sentence=self._best(best), certainty=self._certainty(best), best=best)

    def _best(self, best: int) -> str:
        search, name = self._search, self._name(best)
        scored = self._scored(best)
        if self._comparison.clause is not None:
            scored += f"; {self._comparison.clause}"
        average = self._averages[best]
        ties = sum(other == average for other in self._averages.values()) - 1
        tied = f", tied with {formatting.count(ties, 'other')}" if ties else ""
        if search.status == "RUNNING":
            if search.candidates_finished < self._total:
                return f"{name} is best so far{tied}: {scored}. {self._finished}"
            return f"{name} is best{tied}: {scored}. Spark is refitting it on all the data."
        if search.status != "FINISHED":
            when = f"when the search {self._stopped}"
            return f"{name} was best {when}{tied}: {scored}. {self._finished}{self._error}"
        if search.description.larger_is_better is None:
            return f"Spark chose {name}: {scored}. Whether larger is better is unknown."
        if self._total == 1:
            return f"{name} is the only candidate: {scored}."
        if ties == self._total - 1:
            return (
                f"All {self._total:,} candidates have the same score: {scored}. "
                f"Spark chose the first one, {name}."
            )
        first = " Spark chose the first one." if ties else ""
        return f"{name} is best{tied}: {scored}.{first}"

    def _by_another_rule(self, chosen: int, better: int) -> str:
        search = self._search
        text = (
            f"The tuner chose {self._name(chosen)}: {self._scored(chosen)}; {self._name(better)} "
            f"has the best average: {self._score(better)}."
        )
        if search.status == "RUNNING":
            return f"{text} Spark is refitting the chosen candidate on all the data."
        if search.status != "FINISHED":
            return f"{text} The search {self._stopped}. {self._finished}{self._error}"
        return text

    def _with_nan(self, chosen: int) -> Answer:
        metric, name = self._metric, self._name(chosen)
        best = ranking.best_average(self._search)
        if not self._averages:
            only = len(self._search.candidates) == 1
            every = "The only candidate" if only else "Every candidate"
            first = "" if only else f" Spark chose the first one, {name}."
            sentence = f"{every} scored NaN in {metric}, so none is best.{first}"
            return Answer(sentence=sentence, certainty=(_ON_NAN,))
        sentence = f"Spark chose {name}, but its {metric} is NaN."
        if best is not None:
            sentence += f" Of those with a score, {self._name(best)} is best: {self._scored(best)}."
        if self._search.failure is not None:
            sentence += f" The search {self._stopped}.{self._error}"
        certainty = () if best is None else self._certainty(best)
        return Answer(sentence=sentence, certainty=(_ON_NAN, *certainty), best=best)

    def _without_best(self) -> str:
        search, averages = self._search, self._averages
        complete = any(found.average is not None for found in search.candidates.values())
        all_nan = complete and not averages
        every = f"every candidate with all its scores has NaN in {self._metric}, so none is best"
        if search.status == "RUNNING":
            if averages:
                return f"Whether larger is better is unknown, so none is best. {self._finished}"
            if all_nan:
                return f"{_capitalized(every)} yet. {self._finished}"
            done = f"{search.candidates_finished:,} of {self._total:,} are finished"
            return f"No candidate has all its scores yet: {done}."
        if search.status != "FINISHED":
            stopped = f"The search {self._stopped}"
            if all_nan:
                return f"{stopped}; {every}. {self._finished}{self._error}"
            if averages:
                unknown = "which candidate was best is unknown"
                return f"{stopped}; {unknown}. {self._finished}{self._error}"
            return f"{stopped} before any candidate had all its scores.{self._error}"
        best = ranking.best_average(search)
        if best is None:
            return "The search is finished, but its model does not show which candidate was best."
        return (
            "The model does not show which candidate it was fitted with; "
            f"{self._name(best)} has the best score: {self._scored(best)}."
        )

    def _certainty(self, best: int) -> tuple[str, ...]:
        comparison = self._comparison
        error = standard_error(self._search, self._search.candidates[best].deviation)
        found: tuple[str, ...] = () if error is None else (PLUS_MINUS,)
        if comparison.reason is not None:
            return (*found, comparison.reason)
        if comparison.compared:
            found += (UNCORRECTED,)
        return found if comparison.is_monotone else (*found, UNEVEN)

    @property
    def _finished(self) -> str:
        total = formatting.count(self._total, "candidate")
        verb = "are" if self._search.status == "RUNNING" else "had"
        return f"{self._search.candidates_finished:,} of {total} {verb} finished."

    @property
    def _stopped(self) -> str:
        return "was interrupted" if self._search.status == "KILLED" else "failed"

    @property
    def _error(self) -> str:
        failure = self._search.failure
        if failure is None or failure.interrupted:
            return ""
        return f" The error was {formatting.visible(failure.summary, 200)}"

    @property
    def _metric(self) -> str:
        return formatting.visible(self._search.description.metric, 60)

    def _scored(self, index: int) -> str:
        """``weightedPrecision 0.842 ± 0.006 over 3 folds``."""
        description = self._search.description
        if not description.averaged:
            where = " on one split"
        else:
            folds = self._search.folds
            where = f" over {formatting.count(folds, 'fold')}" if folds else ""
        smaller = " (smaller is better)" if description.larger_is_better is False else ""
        return f"{self._metric} {self._score(index)}{where}{smaller}"

    def _score(self, index: int) -> str:
        """``0.842 ± 0.006``."""
        found = self._search.candidates[index]
        return score_text(self._search, found.average, found.deviation)

    def _name(self, index: int) -> str:
        name = naming.child_run(self._search.description.candidates[index], self._grid)
        return formatting.visible(name, 120)


def _capitalized(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
