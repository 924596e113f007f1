"""Events to operations, one search at a time: which run is told what, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timezone

from trackmllib.events import (
    CandidateScored,
    CellCosted,
    CellFailed,
    CellRetried,
    CellScored,
    CellStarted,
    CellTakenUp,
    ChildRunNeeded,
    Event,
    RefitStarted,
    SearchCosted,
    SearchFailed,
    SearchFinished,
    SearchKeyed,
    SearchStarted,
    StagesComputed,
)
from trackmllib.names import GridNames
from trackmllib.operations import (
    CloseSearch,
    Destination,
    EndRun,
    LogBatch,
    Operation,
    RunStatus,
    TakeOver,
)
from trackmllib.recorder import child_runs, chosen, description, main_run
from trackmllib.search_result import SearchResult

LAST_SIGN_OF_LIFE = "trackmllib.last_sign_of_life"


class Recorder:
    """The record of one search. What ``operations`` yields depends on its arguments alone."""

    def __init__(self, destination: Destination, result: SearchResult) -> None:
        self._destination = destination
        self._grid = GridNames(result.description.candidates)

    def operations(self, event: Event, result: SearchResult) -> Iterator[Operation]:
        """What follows from an event, given the state of the search with this event in it."""
        match event:
            case ChildRunNeeded():
                yield from chosen.made(result, self._grid, event.candidate)
            case SearchFinished():
                yield from self._finished(event, result)
            case SearchFailed():
                yield from self._failed(result)
                yield CloseSearch(search_id=event.search_id)
            case _:
                yield from chosen.told(self._on_the_way(event, result), result)

    def _on_the_way(self, event: Event, result: SearchResult) -> Iterator[Operation]:
        """What follows from an event before the end, where all candidates have child runs."""
        grid = self._grid
        match event:
            case SearchStarted():
                described = description.describe(result, grid, event.time_ms)
                yield from main_run.opened(result, grid, self._destination, described)
            case CellStarted():
                if len(result.candidates[event.candidate].cells) == 1:
                    yield from child_runs.create(result, grid, event.candidate)
            case CellScored():
                yield child_runs.scored(result, event)
                yield main_run.progress(
                    result, event.time_ms, key="cells_finished", count=result.cells_finished
                )
                if description.is_due(event, result):
                    yield description.describe(result, grid, event.time_ms)
            case SearchKeyed():
                yield main_run.keyed(event)
            case CellTakenUp():
                if len(result.candidates[event.candidate].cells) == 1:
                    yield from child_runs.create(result, grid, event.candidate)
                yield child_runs.taken_up(result, event.candidate, event.fold)
                yield main_run.progress(
                    result, event.time_ms, key="cells_finished", count=result.cells_finished
                )
                yield from main_run.taken_up(result, event)
            case CellRetried():
                yield child_runs.retried(event)
            case CellFailed():
                yield from child_runs.failed(result, event)
            case CellCosted():
                yield child_runs.costed(event)
            case SearchCosted():
                yield main_run.costed(event)
            case StagesComputed():
                yield main_run.shared(result, event.time_ms)
            case CandidateScored():
                if result.description.averaged:
                    yield child_runs.summary(result, event.candidate, event.time_ms)
                yield child_runs.end(result, event.candidate)
                yield main_run.progress(
                    result,
                    event.time_ms,
                    key="candidates_finished",
                    count=result.candidates_finished,
                )
            case RefitStarted():
                yield child_runs.mark_best(result, event.best)
                if description.is_long(event, result):
                    yield description.describe(result, grid, event.time_ms)

    def _finished(self, event: SearchFinished, result: SearchResult) -> Iterator[Operation]:
        grid = self._grid
        yield from chosen.told(self._children_finished(event, result), result)
        yield from chosen.made_at_end(result, grid)
        yield from main_run.finished(result, grid, self._destination)
        yield CloseSearch(search_id=event.search_id)

    def _children_finished(
        self, event: SearchFinished, result: SearchResult
    ) -> Iterator[Operation]:
        for index in result.changed_at_end:
            if not result.candidates[index].measured:
                yield from child_runs.create(result, self._grid, index)
            yield child_runs.summary(result, index, event.time_ms)
        for index in result.closed_at_end:
            yield child_runs.end(result, index)
        if result.best != result.best_at_refit:
            if result.best_at_refit is not None:
                yield child_runs.mark_best(result, result.best_at_refit, best=False)
            if result.best is not None:
                yield child_runs.mark_best(result, result.best)

    def _failed(self, result: SearchResult) -> Iterator[Operation]:
        closed = (child_runs.end(result, index) for index in result.closed_at_end)
        yield from chosen.told(closed, result)
        yield from chosen.made_at_end(result, self._grid)
        yield from main_run.failed(result, self._grid, self._destination)

    def process_ended(self, event: SearchFailed, result: SearchResult) -> Iterator[Operation]:
        """The end of a search whose process is about to be ended: nobody will end its runs but we.

        The active run of the user is ended too, unless it has been.
        """
        yield from self._failed(result)
        if not self._destination.owned:
            yield EndRun(
                search_id=event.search_id, status="KILLED", end_ms=event.time_ms, if_running=True
            )
        yield CloseSearch(search_id=event.search_id)

    def process_died(self, event: SearchFailed, result: SearchResult) -> Iterator[Operation]:
        """As ``process_ended``, by an heir, who knows no more than the last sign of life: that is
        the time of the event, and stands on each run that was open.
        """
        when = datetime.fromtimestamp(event.time_ms / 1000, tz=timezone.utc)
        tags = ((LAST_SIGN_OF_LIFE, when.isoformat(timespec="milliseconds")),)
        yield TakeOver(search_id=event.search_id)
        # On a run that several searches share, each has a tag, of another name if need be.
        yield LogBatch(search_id=event.search_id, of_recovery=True, tags=tags)
        was_open = set(result.closed_at_end)
        for each in self.process_ended(event, result):
            operation = replace(each, of_recovery=True)
            if isinstance(operation, EndRun):
                of_open = operation.candidate in was_open
                yield replace(operation, if_running=True, tags=tags if of_open else ())
            else:
                yield operation

    def abandon(
        self, event: SearchFinished | SearchFailed, result: SearchResult, made: Iterable[int]
    ) -> Iterator[Operation]:
        """The least that must be said at the end if the rest cannot be: no run stays RUNNING, of
        the candidates whose runs were ``made``, and of the search.
        """
        search_id = result.search_id
        failure = event.failure if isinstance(event, SearchFailed) else None
        status: RunStatus = "FINISHED"
        if failure is not None:
            status = "KILLED" if failure.interrupted else "FAILED"
        for index in made:
            candidate = result.candidates[index]
            # Said twice of a child run that has ended: the same once more.
            end_ms = candidate.end_ms or event.time_ms
            of_child = candidate.status if candidate.status != "RUNNING" else "KILLED"
            yield EndRun(search_id=search_id, candidate=index, status=of_child, end_ms=end_ms)
        yield description.least(search_id, status)
        if self._destination.owned:
            yield EndRun(search_id=search_id, status=status, end_ms=event.time_ms)
        yield CloseSearch(search_id=search_id)
