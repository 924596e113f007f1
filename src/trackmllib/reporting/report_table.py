"""Table of all candidates in a report."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from trackmllib.domain import further_metrics, ranking
from trackmllib.domain.descriptions import Candidate
from trackmllib.domain.search_state import CandidateResult
from trackmllib.domain.standard_error import is_known, standard_error
from trackmllib.reporting.figures.context import SearchContext
from trackmllib.reporting.run_links import RunLinks
from trackmllib.reporting.table import status, status_text
from trackmllib.support import formatting

MAX_FOLDS = 10
MAX_VALUE = 40
MAX_METRICS_ON_PAPER = 4
# Total characters of long values that titles of fields show in full.
_ROOM_FOR_TITLES = 400_000


@dataclass(frozen=True, kw_only=True)
class Column:
    """Head of a column; ``full`` is its name if ``text`` is truncated.

    Printed pages omit columns that are not ``on_paper``.
    """

    text: str
    full: str | None = None
    is_number: bool = True
    on_paper: bool = True


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a row.

    ``sort`` is the number to sort by, unless it is ``text``. ``page`` is the address of a link.
    """

    text: str
    full: str | None = None
    sort: str | None = None
    page: str | None = None
    is_number: bool = True
    on_paper: bool = True


@dataclass(frozen=True, kw_only=True)
class ReportRow:
    """One candidate; ``mark`` is ``best``, ``alike`` or nothing."""

    fields: tuple[Field, ...]
    mark: str


def table(context: SearchContext, runs: RunLinks) -> tuple[list[Column], list[ReportRow]]:
    """Columns, and a row for each candidate, best first."""
    made = _Table(context, runs)
    return made.columns(), made.rows()


class _Table:
    def __init__(self, context: SearchContext, runs: RunLinks) -> None:
        self._context = context
        self._runs = runs
        self._search = context.search
        self._params = context.grid.params
        self._folds = range(self._search.folds if 1 < self._search.folds <= MAX_FOLDS else 0)
        self._further = {
            each.name: context.places_of(each.name)
            for each in self._search.description.further_metrics
        }
        self._has_errors = is_known(self._search)
        self._has_costs = any(found.cost is not None for found in self._search.candidates.values())

    def columns(self) -> list[Column]:
        numeric = {param.key for param in self._context.params if param.is_numeric}
        keys = [self._context.grid.key(param) for param in self._params.values()]
        description = self._search.description
        columns = [Column(text="Rank"), *(_head(key, key in numeric) for key in keys)]
        columns.append(_head(description.metric, True))
        if self._has_errors:
            columns.append(Column(text="±"))
        columns += [
            _head(name, True, on_paper=place < MAX_METRICS_ON_PAPER)
            for place, name in enumerate(self._further)
        ]
        columns += [Column(text=f"Fold {fold}", on_paper=False) for fold in self._folds]
        columns.append(Column(text="Seconds"))
        if self._has_costs:
            columns.append(Column(text="Executor s", full="executorRunTime in seconds"))
        columns.append(Column(text="State", is_number=False))
        if self._runs.children:
            columns.append(Column(text="Run", is_number=False, on_paper=False))
        return columns

    def rows(self) -> list[ReportRow]:
        ranked = ranking.ranked(self._search)
        begun = set(ranked)
        candidates = self._search.description.candidates
        order = [*ranked, *(each.index for each in candidates if each.index not in begun)]
        labels = ranking.rank_labels(self._search)
        room = self._room()
        rows = []
        for place, index in enumerate(order, 1):
            # Sorting by this column restores the order of the table, even without ranks.
            rank = Field(text=labels.get(index, ""), sort=str(place))
            fields = (rank, *self._values(candidates[index], room), *self._results(index))
            alike = "alike" if self._context.comparison.mark(index) else ""
            rows.append(
                ReportRow(fields=fields, mark="best" if index == self._context.best else alike)
            )
        return rows

    def _values(self, candidate: Candidate, room: int) -> Iterator[Field]:
        """A field for each param; ``room`` limits the title of a long value."""
        params = {(each.owner, each.name): each for each in candidate.params}
        for place in self._params:
            param = params.get(place)
            if param is None:
                yield Field(text="", is_number=False)
                continue
            value = param.value
            text = formatting.visible(value.text, MAX_VALUE)
            full = formatting.visible(value.text, room) if text != value.text else None
            is_number = isinstance(value.data, (int, float)) and not isinstance(value.data, bool)
            yield Field(text=text, full=full, is_number=is_number)

    def _results(self, index: int) -> Iterator[Field]:
        """Fields from the average to the run."""
        found = self._search.candidates.get(index, CandidateResult())
        places = self._context.places
        yield _number(found.average, places)
        if self._has_errors:
            yield _number(standard_error(self._search, found.deviation), places)
        for place, (name, decimals) in enumerate(self._further.items()):
            average = further_metrics.average_of(found, name)
            yield _number(average, decimals, on_paper=place < MAX_METRICS_ON_PAPER)
        for fold in self._folds:
            yield _number(found.fold_score(fold), places, on_paper=False)
        yield _number(found.seconds, 2)
        if self._has_costs:
            cost = found.cost
            yield _number(None if cost is None else cost.executor_run_time / 1000, 2)
        yield Field(text=status_text(status(self._search, index)), is_number=False)
        if self._runs.children:
            run_id = self._runs.children.get(index, "")
            page = self._runs.page(index)
            yield Field(text=run_id[:8], page=page, is_number=False, on_paper=False)

    def _room(self) -> int:
        """Maximum length of the title of a long value."""
        long = sum(
            len(param.value.text) > MAX_VALUE
            for candidate in self._search.description.candidates
            for param in candidate.params
        )
        return max(200, min(6000, _ROOM_FOR_TITLES // max(long, 1)))


def _head(key: str, is_number: bool, *, on_paper: bool = True) -> Column:
    text = formatting.visible(key, 28)
    full = None if text == key else formatting.visible(key, 500)
    return Column(text=text, full=full, is_number=is_number, on_paper=on_paper)


def _number(value: float | None, places: int, on_paper: bool = True) -> Field:
    if value is None:
        return Field(text="", on_paper=on_paper)
    text = formatting.number(value, places)
    exact = repr(float(f"{value:.12g}")) if math.isfinite(value) else ""
    return Field(text=text, sort=None if exact == text else exact, on_paper=on_paper)
