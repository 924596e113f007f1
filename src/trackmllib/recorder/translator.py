"""Translator of events into operations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timezone

from trackmllib.domain import ranking
from trackmllib.domain.events import (
    CandidateScored,
    ChildRunNeeded,
    Event,
    FitCostMeasured,
    FitFailed,
    FitRetried,
    FitScored,
    FitStarted,
    RefitStarted,
    ScoreReused,
    SearchCostMeasured,
    SearchFailed,
    SearchFinished,
    SearchKeyed,
    SearchStarted,
    StagesComputed,
)
from trackmllib.domain.operations import (
    CloseSearch,
    Destination,
    EndRun,
    LogBatch,
    Operation,
    Recover,
    RunStatus,
)
from trackmllib.domain.search_state import SearchState
from trackmllib.recorder import child_runs, child_selection, description, parent_run

LAST_SIGN_OF_LIFE = "trackmllib.last_sign_of_life"


class Recorder:
    """Recorder of one search; all methods are pure.

    The event is always applied to ``state`` before. Operations are generated one by one, so that
    after an error of the recorder those before it can be kept.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination

    def operations(self, event: Event, state: SearchState) -> Iterator[Operation]:
        """Translate an event."""
        match event:
            case ChildRunNeeded():
                return child_runs.late_run(state, event.candidate)
            case SearchFinished():
                return self._finished(event, state)
            case SearchFailed():
                return self._failed(event, state)
        return child_selection.filter_recorded(self._in_progress(event, state), state)

    def process_ended(self, event: SearchFailed, state: SearchState) -> Iterator[Operation]:
        """End a search, and the user's run if it is still running."""
        yield from self._failed_runs(state)
        if not self._destination.owned:
            yield EndRun(
                search_id=event.search_id, status="KILLED", end_ms=event.time_ms, if_running=True
            )
        yield CloseSearch(search_id=event.search_id)

    def process_died(self, event: SearchFailed, state: SearchState) -> Iterator[Operation]:
        """End a search whose process has died; the event has its last activity."""
        when = datetime.fromtimestamp(event.time_ms / 1000, tz=timezone.utc)
        tags = ((LAST_SIGN_OF_LIFE, when.isoformat(timespec="milliseconds")),)
        yield Recover(search_id=event.search_id)
        # Not by EndRun, which adds no search id to tags on a run that several searches share.
        yield LogBatch(search_id=event.search_id, of_recovery=True, tags=tags)
        open_candidates = set(state.closed_at_end)
        for each in self.process_ended(event, state):
            operation = replace(each, of_recovery=True)
            if isinstance(operation, EndRun):
                was_open = operation.candidate in open_candidates
                operation = replace(operation, if_running=True, tags=tags if was_open else ())
            yield operation

    def abandon(
        self, event: SearchFinished | SearchFailed, state: SearchState, created: Iterable[int]
    ) -> Iterator[Operation]:
        """End all runs of a search whose end could not be translated.

        :param created: The candidates that have a child run.
        """
        search_id = state.search_id
        failure = event.failure if isinstance(event, SearchFailed) else None
        status: RunStatus = "FINISHED"
        if failure is not None:
            status = "KILLED" if failure.interrupted else "FAILED"
        for index in created:
            candidate = state.candidates[index]
            end_ms = candidate.end_ms or event.time_ms
            child_status = candidate.status if candidate.status != "RUNNING" else "KILLED"
            yield EndRun(search_id=search_id, candidate=index, status=child_status, end_ms=end_ms)
        yield description.only_status(search_id, status)
        if self._destination.owned:
            yield EndRun(search_id=search_id, status=status, end_ms=event.time_ms)
        yield CloseSearch(search_id=search_id)

    def _in_progress(self, event: Event, state: SearchState) -> Iterator[Operation]:
        """Translate an event of a running search, as if ``children`` were ``all``."""
        match event:
            case SearchStarted():
                yield from parent_run.opened(state, self._destination)
                yield from parent_run.primary_metric(event)
            case FitStarted():
                if len(state.candidates[event.candidate].fits) == 1:
                    yield from child_runs.create(state, event.candidate)
            case FitScored():
                yield child_runs.scored(state, event.candidate, event.fold)
                yield from child_runs.fold_model_scored(state, event.candidate, event.fold)
                yield parent_run.fits_finished(state, event.time_ms)
                if description.is_due(event, state):
                    yield description.describe(state, event.time_ms)
            case SearchKeyed():
                yield parent_run.keyed(event)
            case ScoreReused():
                if len(state.candidates[event.candidate].fits) == 1:
                    yield from child_runs.create(state, event.candidate)
                yield child_runs.scored(state, event.candidate, event.fold)
                yield parent_run.fits_finished(state, event.time_ms)
                yield from parent_run.reused(state, event)
            case FitRetried():
                yield child_runs.retried(event)
            case FitFailed():
                yield from child_runs.error(state, event.candidate, event.failure)
                yield child_runs.end(state, event.candidate)
            case FitCostMeasured():
                yield child_runs.costed(state, event.candidate, event.fold, event.time_ms)
            case SearchCostMeasured():
                yield parent_run.costed(event)
            case StagesComputed():
                yield parent_run.stages_computed(state, event.time_ms)
            case CandidateScored():
                if state.description.averaged:
                    yield child_runs.summary(state, event.candidate)
                    yield from child_runs.fold_models_averaged(state, event.candidate)
                yield child_runs.end(state, event.candidate)
                yield parent_run.candidates_finished(state, event.time_ms)
            case RefitStarted():
                yield child_runs.mark_best(state, event.best)
                if description.is_long(event, state):
                    yield description.describe(state, event.time_ms)

    def _finished(self, event: SearchFinished, state: SearchState) -> Iterator[Operation]:
        changes = self._children_finished(state)
        yield from child_selection.filter_recorded(changes, state)
        yield from _last_of_children(state)
        yield from parent_run.finished(state, self._destination)
        yield CloseSearch(search_id=event.search_id)

    def _children_finished(self, state: SearchState) -> Iterator[Operation]:
        for index in state.changed_at_end:
            if not state.candidates[index].measured:
                yield from child_runs.create(state, index)
            yield child_runs.summary(state, index)
            yield from child_runs.fold_models_averaged(state, index)
        for index in state.closed_at_end:
            yield child_runs.end(state, index)
        if state.best != state.best_at_refit:
            if state.best_at_refit is not None:
                yield child_runs.mark_best(state, state.best_at_refit, best=False)
            if state.best is not None:
                yield child_runs.mark_best(state, state.best)

    def _failed(self, event: SearchFailed, state: SearchState) -> Iterator[Operation]:
        yield from self._failed_runs(state)
        yield CloseSearch(search_id=event.search_id)

    def _failed_runs(self, state: SearchState) -> Iterator[Operation]:
        closed = (child_runs.end(state, index) for index in state.closed_at_end)
        yield from child_selection.filter_recorded(closed, state)
        yield from _last_of_children(state)
        yield from parent_run.failed(state, self._destination)


def _last_of_children(state: SearchState) -> Iterator[Operation]:
    """Create the late runs, log ranks, and score the model of the refit."""
    ranks = ranking.ranks(state) if state.rank_tags else {}
    recorded = set(child_selection.recorded(state))
    for index in child_selection.created_at_end(state):
        yield from child_runs.late_run(state, index)
    for index in sorted(recorded.intersection(ranks)):
        yield child_runs.rank(state, index, ranks[index])
    if state.best in recorded:
        yield from child_runs.refit_model_scored(state)
