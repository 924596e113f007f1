"""Tracker of one search."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any

from pyspark.ml.base import Model

from trackmllib.config.settings import Settings
from trackmllib.domain.descriptions import ParentFit, SearchDescription
from trackmllib.domain.events import SearchFailed, SearchFinished
from trackmllib.domain.ranking import choice_of_spark
from trackmllib.exceptions import SearchStopped
from trackmllib.spark.evaluation.further_metrics import FurtherMetrics
from trackmllib.spark.instrumentation.fit_tracker import FitTracker
from trackmllib.spark.instrumentation.search_events import SearchEvents
from trackmllib.spark.instrumentation.stop_gate import StopGate
from trackmllib.spark.introspection.failures import describe_failure
from trackmllib.spark.introspection.scores import results_of
from trackmllib.spark.job_metrics.search_metrics import SearchMetrics
from trackmllib.support.guard import attempt

# Describes the search. Arguments: the grid that Spark uses (None: the tuner's own), and whether
# Spark's own loop starts.
Describe = Callable[[Any, bool], SearchDescription]
# Returns the winner. Arguments: the model, the grid, and the winner by Spark's rule.
ChooseWinner = Callable[[Any, Any, int], int | None]


class SearchTracker:
    """Context around one ``fit()`` of a tuner.

    A tracker emits nothing once it is ``superseded``: the ``fit()`` of a subclass has called that
    of its base class, which has its own tracker.

    :param further: Further metrics of each fit.
    :param delegates: Whether this ``fit()`` may call that of its base class.
    """

    def __init__(
        self,
        events: SearchEvents,
        metrics: SearchMetrics,
        tuner: Any,
        describe: Describe,
        choose_winner: ChooseWinner,
        further: FurtherMetrics,
        *,
        delegates: bool = False,
    ) -> None:
        self.events = events
        self.further = further
        self.superseded = False
        self.stop_gate = StopGate(partial(events.callbacks.stop_requested, events.search_id))
        self._metrics = metrics
        self._tuner = tuner
        self._describe = describe
        self._choose_winner = choose_winner
        self._delegates = delegates
        self._start_ms = events.clock.now_ms()
        self._begun = False
        # Whether Spark's own loop made all folds so far.
        self._loop_is_sparks = True
        self._maps: Any = None
        self._model: Any = None
        self._refit_seconds: float | None = None
        self._deferred_interrupt = ExitStack()
        self._defers_interrupt = False

    def __enter__(self) -> SearchTracker:
        with self.events.guard("labelling Spark's jobs"):
            self._metrics.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) and not self.superseded:
            self._defer_interrupt()
        with self._deferred_interrupt:
            try:
                with self.events.guard("removing the labels of Spark's jobs"):
                    self._metrics.labels.stop()
            finally:
                try:
                    if not self.superseded:
                        self._end(error)
                    if isinstance(error, SearchStopped) and error.results is None:
                        with self.events.guard("returning the results"):
                            error.results = self.events.callbacks.results(self._tuner)
                finally:
                    self._metrics.close()

    @property
    def settings(self) -> Settings:
        return self.events.settings

    @property
    def has_folds(self) -> bool:
        return self.events.folds_begun > 0

    @property
    def as_parent(self) -> ParentFit:
        """Parent of a search that starts in ``fit()``, but outside of all fits."""
        state = self.events.state
        in_refit = state is not None and state.best_at_refit is not None
        return ParentFit(search_id=self.events.search_id, refit=in_refit)

    def is_of(self, tuner: Any) -> bool:
        """Whether a tuner is that of this search, or a copy of it."""
        return tuner is self._tuner or attempt(lambda: bool(tuner.uid == self._tuner.uid), False)

    def is_delegated_to(self, tuner: Any) -> bool:
        """Whether the ``fit()`` of this tuner, called now, takes over the search."""
        return self._delegates and not self._begun and self.is_of(tuner)

    def begin(self, maps: Any = None, *, spark_loops: bool = False) -> None:
        """Start the search, on this grid if given. Idempotent."""
        if self._begun:
            return
        self._begun = True
        self._maps = maps
        with self.events.guard("describing the search"):
            self.events.start(self._describe(maps, spark_loops), self._start_ms)
            with self.events.guard("registering the tuner"):
                self.events.callbacks.register(self.events.search_id, self._tuner)

    def begin_with_own_grid(self) -> bool:
        """Start the search before its first fold, because a nested search starts.

        :returns: Whether the search has started. It has not if the tuner has no grid yet.
        """
        if not self._begun:
            maps = attempt(lambda: self._tuner.getEstimatorParamMaps(), None)
            if maps:
                self.begin(maps)
        return self._begun

    def begin_fold(self, maps: Any, *, spark_loops: bool) -> Callable[[], FitTracker] | None:
        """Start a fold on this grid.

        :param spark_loops: Whether Spark's own loop makes the fold.
        :returns: A factory of fit trackers; None if the search has another grid.
        """
        self.begin(maps, spark_loops=spark_loops)
        if self._maps is None:
            self._maps = maps
        if maps is not self._maps and not attempt(lambda: list(maps) == list(self._maps), False):
            return None
        with self.events.guard("labelling Spark's jobs"):
            self._metrics.labels.fold_starts()
        self._loop_is_sparks = self._loop_is_sparks and spark_loops
        fold, state = self.events.number_fold(), self.events.state
        planned = 0 if state is None else state.description.folds
        by_spark = self._loop_is_sparks and fold < planned
        return partial(FitTracker, self.events, self._metrics, fold, by_spark=by_spark)

    def returned(self, model: Any, data: Any) -> None:
        """Record that Spark returned this model, fitted on this data."""
        self._model = model
        events = self.events
        if events.refit_began is not None:
            self._refit_seconds = events.clock.monotonic() - events.refit_began
        if self.superseded:
            return
        self.begin()
        self._defer_interrupt()
        if events.parent is None and events.settings.log_models != "none":
            with events.guard("logging the best model"):
                winner = self._winner(self._results()[0])
                events.callbacks.log_model(events.search_id, winner, None, model, data)

    def _defer_interrupt(self) -> None:
        if not self._defers_interrupt:
            self._defers_interrupt = True
            deferred = self.events.callbacks.defer_interrupt(self.events.search_id)
            self._deferred_interrupt.enter_context(deferred)

    def _end(self, error: BaseException | None) -> None:
        self.begin()
        self.events.close()
        end_ms = self.events.clock.now_ms()
        if error is None or isinstance(error, Exception):
            try:
                with self.events.guard("reading the costs of Spark's jobs"):
                    self._metrics.emit_all(self._start_ms, end_ms)
            except BaseException as raised:
                # A Ctrl-C ends the search. An error of ours, raised in strict mode only, does not.
                self._emit_end(end_ms, error if isinstance(raised, Exception) else raised)
                raise
        self._emit_end(end_ms, error)

    def _emit_end(self, end_ms: int, error: BaseException | None) -> None:
        search_id = self.events.search_id
        with self.events.guard("recording the end of the search"):
            if error is not None:
                failure = describe_failure(error)
                self.events.emit_end(
                    SearchFailed(search_id=search_id, time_ms=end_ms, failure=failure)
                )
                return
            if self.events.state is None:
                return
            averages, deviations = self._results()
            winner = self._winner(averages)
            model, self._model = self._model, None
            with self.events.guard("registering the model"):
                self.events.callbacks.register(search_id, model)
            if isinstance(model, Model):
                self.events.callbacks.model_returned(search_id, model)
            self.events.emit_end(
                SearchFinished(
                    search_id=search_id,
                    time_ms=end_ms,
                    refit_seconds=self._refit_seconds,
                    averages=averages,
                    deviations=deviations,
                    best=winner,
                )
            )

    def _results(self) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
        """Averages and deviations of the model, by candidate; None if it has none."""
        state = self.events.state
        if state is None:
            return None, None
        return results_of(self._model, state.description.averaged)

    def _winner(self, averages: tuple[float, ...] | None) -> int | None:
        state = self.events.state
        if state is None:
            return None
        by_spark = choice_of_spark(
            dict(enumerate(averages or ())),
            state.description.larger_is_better,
            self.events.cannot_win,
        )
        if by_spark is None:
            return state.best_at_refit
        otherwise: int | None = by_spark
        return attempt(lambda: self._choose_winner(self._model, self._maps, by_spark), otherwise)
