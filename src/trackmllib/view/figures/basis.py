"""What all figures of a search start from: its grid, its scores, its best candidate."""

from __future__ import annotations

import math
from collections import Counter
from functools import cached_property

from trackmllib import limits, names
from trackmllib.events import GridSetting
from trackmllib.names import GridNames
from trackmllib.search_result import SearchResult
from trackmllib.view import words
from trackmllib.view.answer import Answer, answer
from trackmllib.view.compared import Comparison, compare
from trackmllib.view.figures.levels import Param, varied

MAX_NAME = 44
MAX_KEY = 28


class NothingToDraw(ValueError):
    """There is nothing to draw; the message says why, in a sentence."""


class Basis:
    """A search, and what is derived from it once for all figures. The search may still run: make
    a new one for each look at it.
    """

    def __init__(self, search: SearchResult, grid: GridNames | None = None) -> None:
        self.search = search
        self.grid = grid or GridNames(search.description.candidates)

    @cached_property
    def comparison(self) -> Comparison:
        return compare(self.search)

    @cached_property
    def answer(self) -> Answer:
        return answer(self.search, self.grid, self.comparison)

    @cached_property
    def best(self) -> int | None:
        """The candidate to point out: the winner, or the best one with a score if that has none."""
        return self.answer.best

    @cached_property
    def params(self) -> tuple[Param, ...]:
        return varied(self.search.description, self.grid)

    @cached_property
    def averages(self) -> dict[int, float]:
        """The averages that can be drawn, by candidate."""
        return {
            index: found.average
            for index, found in sorted(self.search.candidates.items())
            if found.average is not None and math.isfinite(found.average)
        }

    @cached_property
    def ranked(self) -> list[int]:
        """The candidates whose averages can be drawn, best first."""
        return [index for index in self.search.ranked() if index in self.averages]

    @property
    def metric(self) -> str:
        return words.visible(self.search.description.metric, 40)

    @property
    def larger_is_better(self) -> bool:
        """Unknown counts as yes."""
        return self.search.description.larger_is_better is not False

    @cached_property
    def places(self) -> int:
        """How many decimals the scores of this search need."""
        if not self.averages:
            return 3
        at = self.best if self.best in self.averages else next(iter(self.averages))
        found = self.search.candidates[at]
        return words.decimals(self.averages[at], found.deviation)

    def number(self, score: float | None) -> str:
        """A score with the decimals that all scores of this search have."""
        return words.number(score, self.places)

    def name(self, index: int, limit: int = MAX_NAME) -> str:
        """A candidate by the params that differ."""
        return self._name(index, limit)

    def need_differences(self) -> None:
        """NothingToDraw where no score differs from another."""
        self.need_scores()
        if len(self.averages) > 1 and len(set(self.averages.values())) == 1:
            raise NothingToDraw("All scores are the same, whatever the params.")

    @cached_property
    def short_names(self) -> tuple[str | None, dict[int, str]]:
        """A name for each candidate that is short and no other's: ``maxDepth=4, maxBins=8``, and
        where that is too long for one the values only, with a head that names the params.
        """
        candidates = self.search.description.candidates
        found = {each.index: self._name(each.index, 1000) for each in candidates}
        head = None
        if any(len(name) > MAX_NAME for name in found.values()) and len(self.params) > 1:
            head = " · ".join(words.visible(param.key, MAX_KEY) for param in self.params)
            found = {each.index: self._values(each.index) for each in candidates}
        found = {index: limits.cut(name, MAX_NAME) for index, name in found.items()}
        count = Counter(found.values())
        return head, {
            index: name if count[name] == 1 else limits.cut(f"#{index} {name}", MAX_NAME)
            for index, name in found.items()
        }

    def need_scores(self) -> None:
        """NothingToDraw where no candidate has a score that can be drawn."""
        if not self.averages:
            raise NothingToDraw("No setting has a score that is a number.")

    def _values(self, index: int) -> str:
        texts = [param.levels[param.of[index]].short for param in self.params]
        whole = " · ".join(words.visible(text, 24) for text in texts)
        if len(whole) <= MAX_NAME:
            return whole
        room = max(6, MAX_NAME // len(texts) - 3)
        return " · ".join(words.visible(text, room) for text in texts)

    def _name(self, index: int, limit: int) -> str:
        candidate = self.search.description.candidates[index]
        parts = [
            f"{words.visible(self.grid.label(self._setting[param.key]), MAX_KEY)}="
            f"{words.visible(level.short, 24)}"
            for param in self.params
            if (level := param.levels[param.of[index]]) is not param.unset
        ]
        if not parts:
            return words.visible(names.child_run(candidate, self.grid), limit)
        return words.visible(", ".join(parts), limit)

    @cached_property
    def _setting(self) -> dict[str, GridSetting]:
        return {self.grid.key(setting): setting for setting in self.grid.settings.values()}
