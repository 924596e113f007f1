"""Which candidates have child runs where only the best are to, and how these are made at the end.

With ``children="best:20"`` nobody knows before the end who is among them. So a child run is told
nothing on the way, and is made from the table of the search: with the times, scores and costs that
it would have been told. Costs stand at the end of their cell there, not when they became known. A
candidate whose run is needed before has it from then on, as all have otherwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from trackmllib.events import CellCosted, CellScored
from trackmllib.names import GridNames
from trackmllib.operations import Operation
from trackmllib.options.children import ALL, most
from trackmllib.recorder import child_runs
from trackmllib.search_result import Cell, SearchResult
from trackmllib.standing import standings


def told(operations: Iterator[Operation], result: SearchResult) -> Iterator[Operation]:
    """What is left of these operations: those of candidates without a run are dropped."""
    if result.children == ALL:
        return operations
    needed = result.needed
    return (each for each in operations if each.candidate is None or each.candidate in needed)


def with_runs(result: SearchResult) -> Iterable[int]:
    """The candidates that have a child run, as the search stands."""
    if result.children == ALL:
        return result.candidates
    return [*result.needed, *(at_end(result) if result.end_ms is not None else ())]


def at_end(result: SearchResult) -> list[int]:
    """The candidates that get their run with the end of the search: the best of those that have a
    score, best first, and then those that failed.
    """
    number = most(result.children)
    if number is None:
        return []
    failed = [index for index in sorted(result.candidates) if _failures(result, index)]
    without = set(failed)
    best = itertools.islice((index for index in _ranked(result) if index not in without), number)
    return [index for index in (*best, *failed) if index not in result.needed]


def made_at_end(result: SearchResult, grid: GridNames) -> Iterator[Operation]:
    """The runs of all that get theirs with the end of the search."""
    for index in at_end(result):
        yield from made(result, grid, index)


def made(result: SearchResult, grid: GridNames, index: int) -> Iterator[Operation]:
    """The run of a candidate with all that it would have been told by now."""
    found = result.candidates[index]
    yield from child_runs.create(result, grid, index)
    for fold, cell in sorted(found.cells.items()):
        yield from _of_cell(result, index, fold, cell)
    if index in result.changed_at_end:
        assert result.end_ms is not None
        yield child_runs.summary(result, index, result.end_ms)
    elif found.average is not None and result.description.averaged:
        yield child_runs.summary(result, index, found.end_ms or result.start_ms)
    if index == result.best:
        yield child_runs.mark_best(result, index)
    for cell in _failures(result, index):
        assert cell.failure is not None
        yield from child_runs.error(result, index, cell.failure)
    if found.status != "RUNNING":
        yield child_runs.end(result, index)


def _of_cell(result: SearchResult, index: int, fold: int, cell: Cell) -> Iterator[Operation]:
    """Score and costs of one fold, by the events that said them."""
    end_ms = cell.end_ms or result.end_ms or cell.start_ms
    yield from map(child_runs.retried, cell.retried)
    if cell.taken_ms is not None:
        yield child_runs.taken_up(result, index, fold)
    elif cell.score is not None:
        yield child_runs.scored(
            result,
            CellScored(
                search_id=result.search_id,
                time_ms=end_ms,
                candidate=index,
                fold=fold,
                score=cell.score,
                fit_seconds=cell.fit_seconds or 0.0,
                evaluate_seconds=cell.evaluate_seconds or 0.0,
            ),
        )
    if cell.cost is not None:
        yield child_runs.costed(
            CellCosted(
                search_id=result.search_id,
                time_ms=end_ms,
                candidate=index,
                fold=fold,
                cost=cell.cost,
            )
        )


def _failures(result: SearchResult, index: int) -> list[Cell]:
    cells = result.candidates[index].cells
    return [cell for _, cell in sorted(cells.items()) if cell.failure is not None]


def _ranked(result: SearchResult) -> Iterable[int]:
    """The candidates that have a score, best first: the winner and the complete ones, and then, of
    a search that was cut short, the others by the folds that they have in common.
    """
    complete = (
        index
        for index in result.ranked()
        if result.candidates[index].average is not None or index == result.best
    )
    others = (each.candidate for each in standings(result) if each.average is not None)
    return dict.fromkeys((*complete, *others))
