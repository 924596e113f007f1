"""Emitter of the events of one search."""

from __future__ import annotations

import threading
from collections.abc import Collection
from functools import partial

from trackmllib.config.settings import Settings
from trackmllib.domain.descriptions import MetricAverage, ParentFit, SearchDescription
from trackmllib.domain.events import (
    CandidateScored,
    Event,
    FitFailed,
    FitScored,
    RefitStarted,
    ScoreReused,
    SearchFailed,
    SearchFinished,
    SearchStarted,
)
from trackmllib.domain.ranking import choice_of_spark
from trackmllib.domain.search_state import SearchState
from trackmllib.spark.instrumentation.callbacks import Callbacks
from trackmllib.spark.introspection.scores import average_and_deviation, score_for_average
from trackmllib.support.guard import Guard


class SearchEvents:
    """Emits the events of one search, one at a time, from any thread.

    ``state`` is the state that the events have built; None until the search has started. After
    ``close``, fits emit no events: Spark's threads may continue after ``fit()`` has returned or
    raised.

    :param parent: Fit of the outer search; None if the search is not nested.
    """

    def __init__(
        self, callbacks: Callbacks, search_id: str, settings: Settings, parent: ParentFit | None
    ) -> None:
        self.callbacks = callbacks
        self.clock = callbacks.clock
        self.search_id = search_id
        self.settings = settings
        self.parent = parent
        self.state: SearchState | None = None
        # Candidates that Spark must not choose in its current loop over the folds.
        self.cannot_win: Collection[int] = ()
        self.folds_begun = 0
        # By the monotonic clock.
        self.refit_began: float | None = None
        self.is_closed = False
        self._lock = threading.Lock()

    def guard(self, doing: str) -> Guard:
        return self.callbacks.guard(self.search_id, doing)

    def start(self, description: SearchDescription, time_ms: int) -> None:
        """Emit the start of the search."""
        started = SearchStarted(
            search_id=self.search_id,
            time_ms=time_ms,
            description=description,
            parent=self.parent,
        )
        self.callbacks.emit(started, self.settings)
        self.state = self.callbacks.state(self.search_id)

    def number_fold(self) -> int:
        """Count another fold, and return its index."""
        self.folds_begun += 1
        return self.folds_begun - 1

    def last_seconds(self) -> dict[int, float]:
        """Seconds that the last scored fit of each candidate took."""
        with self._lock:
            found = {} if self.state is None else self.state.candidates
            seconds = {index: each.last_seconds for index, each in found.items()}
        return {index: each for index, each in seconds.items() if each is not None}

    def emit(self, event: Event, *, after_close: bool = False) -> None:
        """Emit an event, unless the search is closed."""
        with self._lock:
            if self.state is not None and (after_close or not self.is_closed):
                self.callbacks.emit(event)

    def emit_end(self, event: SearchFinished | SearchFailed) -> None:
        """Emit the last event; may wait for delivery."""
        if self.state is not None:
            self.callbacks.emit(event)

    def fit_ended(
        self, event: FitScored | ScoreReused | FitFailed, *, by_spark: bool
    ) -> int | None:
        """Emit the end of a fit, and the events that follow in Spark's own loop.

        :returns: The winner if this was the last fit and the refit starts; otherwise None.
        """
        with self._lock:
            state = self.state
            if state is None or self.is_closed:
                return None
            self.callbacks.emit(event)
            if not by_spark:
                return None
            self._emit_average(state, event)
            winner = self._winner(state)
            if winner is not None:
                self.refit_began = self.clock.monotonic()
                self.callbacks.emit(
                    RefitStarted(search_id=self.search_id, time_ms=_end_ms(event), best=winner)
                )
            return winner

    def close(self) -> None:
        with self._lock:
            self.is_closed = True

    def _emit_average(self, state: SearchState, event: FitScored | ScoreReused | FitFailed) -> None:
        found = state.candidates[event.candidate]
        fits = [found.fits.get(fold) for fold in range(state.description.folds)]
        scored = [fit for fit in fits if fit is not None and fit.score is not None]
        if found.status != "RUNNING" or len(scored) < len(fits):
            return
        averages = partial(
            average_and_deviation,
            candidates=len(state.description.candidates),
            averaged=state.description.averaged,
        )
        average, deviation = averages([score_for_average(fit) for fit in scored])
        metrics = [
            (each.name, averages([fit.metrics[each.name] for fit in scored]))
            for each in state.description.further_metrics
            if all(each.name in fit.metrics for fit in scored)
        ]
        self.callbacks.emit(
            CandidateScored(
                search_id=self.search_id,
                time_ms=event.time_ms,
                candidate=event.candidate,
                average=average,
                deviation=deviation,
                metric_averages=tuple(
                    (name, MetricAverage(average=mean, deviation=spread))
                    for name, (mean, spread) in metrics
                ),
            )
        )

    def _winner(self, state: SearchState) -> int | None:
        """Candidate that Spark will refit; None before the last fit."""
        candidates = range(len(state.description.candidates))
        is_early = state.candidates_finished + len(self.cannot_win) < len(candidates)
        if is_early or state.best_at_refit is not None:
            return None
        averages: dict[int, float] = {}
        for index in candidates:
            found = state.candidates.get(index)
            if found is None:
                return None
            if found.average is not None:
                averages[index] = found.average
            elif index not in self.cannot_win or found.is_running:
                return None
        return choice_of_spark(averages, state.description.larger_is_better, self.cannot_win)


def _end_ms(event: FitScored | ScoreReused | FitFailed) -> int:
    """When a fit ended, with its further metrics."""
    further = event.metrics_seconds if isinstance(event, FitScored) else None
    return event.time_ms + round(1000 * (further or 0.0))
