"""Derived data of a search that its figures and tables share."""

from __future__ import annotations

import math
from collections import Counter
from functools import cached_property

from trackmllib.domain import further_metrics, naming, ranking
from trackmllib.domain.naming import GridNames
from trackmllib.domain.search_state import SearchState
from trackmllib.domain.significance import Comparison, compare
from trackmllib.domain.standard_error import standard_error
from trackmllib.reporting.figures.levels import Param, varied
from trackmllib.reporting.summary import Answer, answer
from trackmllib.support import formatting

MAX_NAME = 44
MAX_KEY = 28
MAX_VALUE = 24


class NothingToDraw(ValueError):
    """The search has no data for a figure; the message says why."""


class NotAskedFor(NothingToDraw):
    """The search lacks the data because no option requested it."""


class SearchContext:
    """A search with derived data, each computed once.

    Create a new context each time you show a running search.
    """

    def __init__(self, search: SearchState, grid: GridNames | None = None) -> None:
        self.search = search
        self.grid = grid or GridNames(search.description.candidates)

    @cached_property
    def comparison(self) -> Comparison:
        return compare(self.search)

    @cached_property
    def answer(self) -> Answer:
        return answer(self.search, self.grid, self.comparison)

    @property
    def best(self) -> int | None:
        """Candidate to highlight: the winner, or the best with a score."""
        return self.answer.best

    @cached_property
    def params(self) -> tuple[Param, ...]:
        """Params that vary."""
        return varied(self.search.description, self.grid)

    @cached_property
    def averages(self) -> dict[int, float]:
        """Finite averages by candidate."""
        found = ranking.averages(self.search)
        return {index: average for index, average in found.items() if math.isfinite(average)}

    @cached_property
    def ranked(self) -> list[int]:
        """Candidates with finite averages, best first."""
        return [index for index in ranking.ranked(self.search) if index in self.averages]

    @property
    def metric(self) -> str:
        return formatting.visible(self.search.description.metric, 40)

    @property
    def larger_is_better(self) -> bool:
        """Direction of the metric; True if unknown."""
        return self.search.description.larger_is_better is not False

    @cached_property
    def places(self) -> int:
        """Number of decimals for the scores of this search."""
        if not self.averages:
            return 3
        index = self.best if self.best in self.averages else next(iter(self.averages))
        error = standard_error(self.search, self.search.candidates[index].deviation)
        return formatting.decimals(self.averages[index], error)

    def places_of(self, metric: str) -> int:
        """Number of decimals for the averages of a further metric."""
        averages = ranking.averages(self.search, metric)
        index = self.best if self.best in averages else next(iter(averages), None)
        if index is None:
            return 3
        found = self.search.candidates[index].metrics[metric]
        return formatting.decimals(found.average, standard_error(self.search, found.deviation))

    @cached_property
    def further_metrics(self) -> str:
        """Line of the best candidate's further metrics; empty if none."""
        if self.best is None:
            return ""
        return further_metrics.line_of_best(
            self.search, self.best, lambda name: formatting.visible(name, 40)
        )

    def number(self, score: float | None) -> str:
        """Score with ``places`` decimals."""
        return formatting.number(score, self.places)

    def name(self, index: int, limit: int = MAX_NAME) -> str:
        """Name of a candidate, from the params that vary."""
        parts = [
            f"{formatting.visible(param.label, MAX_KEY)}="
            f"{formatting.visible(level.short, MAX_VALUE)}"
            for param in self.params
            if (level := param.level(index)) is not param.unset
        ]
        candidate = self.search.description.candidates[index]
        name = ", ".join(parts) or naming.child_run(candidate, self.grid)
        return formatting.visible(name, limit)

    @cached_property
    def short_names(self) -> tuple[str | None, dict[int, str]]:
        """A heading, and a short, unique name for each candidate.

        If a name would be too long, names are values only, and the heading has the params.
        """
        indexes = [candidate.index for candidate in self.search.description.candidates]
        names = {index: self.name(index, 1000) for index in indexes}
        heading = None
        if any(len(name) > MAX_NAME for name in names.values()) and len(self.params) > 1:
            heading = " · ".join(formatting.visible(param.key, MAX_KEY) for param in self.params)
            names = {index: self._values(index) for index in indexes}
        names = {index: formatting.truncate(name, MAX_NAME) for index, name in names.items()}
        count = Counter(names.values())
        return heading, {
            index: name if count[name] == 1 else formatting.truncate(f"#{index} {name}", MAX_NAME)
            for index, name in names.items()
        }

    def require_scores(self) -> None:
        """Raise NothingToDraw unless a candidate has a finite average."""
        if not self.averages:
            raise NothingToDraw("No candidate has a score that is a number.")

    def require_differences(self) -> None:
        """Raise NothingToDraw unless averages differ, or there is only one."""
        self.require_scores()
        if len(self.averages) > 1 and len(set(self.averages.values())) == 1:
            raise NothingToDraw("All scores are the same, whatever the params.")

    def _values(self, index: int) -> str:
        texts = [param.level(index).short for param in self.params]
        joined = " · ".join(formatting.visible(text, MAX_VALUE) for text in texts)
        if len(joined) <= MAX_NAME:
            return joined
        limit = max(6, MAX_NAME // len(texts) - 3)
        return " · ".join(formatting.visible(text, limit) for text in texts)
