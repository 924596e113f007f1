"""The table of all settings in a report: what stands in each field, and by what it is sorted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from trackmllib.events import Candidate
from trackmllib.search_result import CandidateResult
from trackmllib.view import words
from trackmllib.view.figures.basis import Basis
from trackmllib.view.ranks import ranks
from trackmllib.view.runs import Runs
from trackmllib.view.table import SCHEDULED, score

MOST_FOLDS = 10
MAX_VALUE = 40
# Long values stand in full in the title of their field, as long as all of them stay under this.
_ROOM_FOR_TITLES = 400_000


@dataclass(frozen=True, kw_only=True)
class Column:
    """The head of a column; ``full`` is the whole name where ``text`` is cut. Paper has no room for
    what is not ``on_paper``.
    """

    text: str
    full: str | None = None
    is_number: bool = True
    on_paper: bool = True


@dataclass(frozen=True, kw_only=True)
class Field:
    """``sort`` is the number to sort by where the text does not say it; ``page`` is a link."""

    text: str
    full: str | None = None
    sort: str | None = None
    page: str | None = None
    is_number: bool = True
    on_paper: bool = True


@dataclass(frozen=True, kw_only=True)
class Row:
    """``mark``: best, alike (cannot be told apart from it) or nothing."""

    fields: tuple[Field, ...]
    mark: str


def table(basis: Basis, runs: Runs) -> tuple[list[Column], list[Row]]:
    """A row for each setting, best first, those that have not begun last."""
    search = basis.search
    ranked = search.ranked()
    begun = set(ranked)
    order = [*ranked, *(c.index for c in search.description.candidates if c.index not in begun)]
    keys = [(basis.grid.key(each), where) for where, each in basis.grid.settings.items()]
    folds = search.folds if 1 < search.folds <= MOST_FOLDS else 0
    has_costs = any(found.cost is not None for found in search.candidates.values())
    numeric = {param.key for param in basis.params if param.kind in ("numeric", "log")}
    columns = [Column(text="Rank")]
    columns += [_head(key, key in numeric) for key, _ in keys]
    columns += [_head(basis.search.description.metric, True)]
    if search.description.averaged:
        columns.append(Column(text="±"))
    columns += [Column(text=f"Fold {fold}", on_paper=False) for fold in range(folds)]
    columns.append(Column(text="Seconds"))
    if has_costs:
        columns.append(Column(text="Executor s", full="executorRunTime in seconds"))
    columns.append(Column(text="State", is_number=False))
    if runs.children:
        columns.append(Column(text="Run", is_number=False, on_paper=False))
    room = _room(basis)
    marks = ranks(search)
    rows = []
    for place, index in enumerate(order):
        candidate = search.description.candidates[index]
        found = search.candidates.get(index, CandidateResult())
        # The order of the table comes back by sorting this column, also where there are no ranks.
        fields = [Field(text=marks.get(index, ""), sort=str(place + 1))]
        fields += _values(candidate, [where for _, where in keys], room)
        fields.append(_number(found.average, basis.places))
        if search.description.averaged:
            fields.append(_number(found.deviation, basis.places))
        fields += [
            _number(score(found, fold), basis.places, on_paper=False) for fold in range(folds)
        ]
        fields.append(_number(found.seconds, 2))
        if has_costs:
            run = None if found.cost is None else found.cost.executor_run_time / 1000
            fields.append(_number(run, 2))
        status = found.status if index in begun else SCHEDULED
        fields.append(Field(text=words.state(status), is_number=False))
        if runs.children:
            fields.append(_run(runs, index))
        alike = "alike" if basis.comparison.mark(index) else ""
        mark = "best" if index == basis.best else alike
        rows.append(Row(fields=tuple(fields), mark=mark))
    return columns, rows


def _head(key: str, is_number: bool) -> Column:
    text = words.visible(key, 28)
    return Column(text=text, full=None if text == key else key[:500], is_number=is_number)


def _values(candidate: Candidate, keys: list[tuple[str, str]], room: int) -> Iterator[Field]:
    settings = {(each.owner, each.name): each for each in candidate.settings}
    for where in keys:
        setting = settings.get(where)
        if setting is None:
            yield Field(text="", is_number=False)
            continue
        value = setting.value
        text = words.visible(value.text, MAX_VALUE)
        is_number = isinstance(value.data, (int, float)) and not isinstance(value.data, bool)
        yield Field(
            text=text,
            full=words.visible(value.text, room) if text != value.text else None,
            is_number=is_number,
        )


def _room(basis: Basis) -> int:
    """How many characters of a long value its title may have."""
    long = sum(
        len(setting.value.text) > MAX_VALUE
        for candidate in basis.search.description.candidates
        for setting in candidate.settings
    )
    return max(200, min(6000, _ROOM_FOR_TITLES // max(long, 1)))


def _number(value: float | None, places: int, on_paper: bool = True) -> Field:
    if value is None:
        return Field(text="", on_paper=on_paper)
    text = words.number(value, places)
    exact = repr(float(f"{value:.12g}")) if math.isfinite(value) else ""
    return Field(text=text, sort=None if exact == text else exact, on_paper=on_paper)


def _run(runs: Runs, index: int) -> Field:
    run_id = runs.children.get(index, "")
    return Field(text=run_id[:8], page=runs.page(index), is_number=False, on_paper=False)
