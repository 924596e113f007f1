"""Tracker of one fit, from its start to its score or its error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from trackmllib.config.settings import Settings
from trackmllib.domain.descriptions import Failure, ParentFit, PriorScore
from trackmllib.domain.events import FitFailed, FitRetried, FitScored, FitStarted, ScoreReused
from trackmllib.spark.instrumentation.search_events import SearchEvents
from trackmllib.spark.introspection.failures import describe_failure
from trackmllib.spark.introspection.scores import numpy_type
from trackmllib.spark.job_metrics import jvm_hook
from trackmllib.spark.job_metrics.search_metrics import SearchMetrics
from trackmllib.spark.middleware.base import Timer

ComputeMetrics = Callable[[], dict[str, float]]


class FitTracker:
    """Context around the task that Spark runs for one fit.

    The candidate is known when its fit starts. If the estimator returns models in its own order, it
    is known when the model is fitted.

    :param by_spark: The fold belongs to Spark's own loop, which averages and chooses as expected.
    """

    def __init__(
        self, events: SearchEvents, metrics: SearchMetrics, fold: int, *, by_spark: bool
    ) -> None:
        self.fold = fold
        self.candidate: int | None = None
        self.labels = metrics.labels.new_fit(of_pool=by_spark)
        # Set by middleware that limits the time of the fit.
        self.timer: Timer | None = None
        # The candidate from whose model this fit's model is derived.
        self.derived_from: int | None = None
        # The model and its training data, if the model is scored on them.
        self.trained: tuple[Any, Any] | None = None
        self._events = events
        self._metrics = metrics
        self._by_spark = by_spark
        self._phase = ""
        self._is_paused = False

    def __enter__(self) -> FitTracker:
        self.restart()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        jvm_hook.cancel()
        if error is not None and self.candidate is not None:
            with self._events.guard("recording the failure of a fit"):
                self._events.emit(self._failed(self.candidate, describe_failure(error)))
        with self._events.guard("removing the labels of Spark's jobs"):
            self.labels.stop()
            self._metrics.fit_ended(self.labels, self.candidate, self.fold)

    @property
    def search_id(self) -> str:
        return self._events.search_id

    @property
    def settings(self) -> Settings:
        return self._events.settings

    @property
    def as_parent(self) -> ParentFit:
        """Parent of a search that starts in this fit."""
        return ParentFit(search_id=self.search_id, candidate=self.candidate, fold=self.fold)

    @property
    def is_over(self) -> bool:
        """Whether another fit has ended the search with an error."""
        return self._events.is_closed

    def pause(self) -> None:
        """Stop the timer until ``restart``; the following work is not part of the fit."""
        self._is_paused = True
        if self.timer is not None:
            self.timer.stop()

    def restart(self) -> None:
        """Restart all time measurements of the fit."""
        self._is_paused = False
        self.restart_timer()
        self._start_ms = self._events.clock.now_ms()
        self._fit_began = self._events.clock.monotonic()

    def restart_timer(self) -> None:
        """Restart the timer only, unless it is paused."""
        if self.timer is not None and not self._is_paused:
            self.timer.restart()

    def exclude(self, seconds: float) -> None:
        """Exclude seconds that just passed from the duration of the fit."""
        self._fit_began += seconds

    def derived(self, candidate: int) -> None:
        """Record that the model is derived from that of another candidate."""
        self.derived_from = candidate

    def check_time(self) -> None:
        """Raise if the fit has exceeded its timeout."""
        if self.timer is not None:
            self.timer.check()

    def fitting_unknown(self) -> None:
        """Record the start of a fit whose candidate is not known yet."""
        self._label_jobs("")

    def started(self, candidate: int) -> None:
        """Record the start of a candidate's fit; idempotent, for retries."""
        if candidate == self.candidate:
            return
        with self._events.guard("recording the start of a fit"):
            self.candidate = candidate
            self._events.emit(
                FitStarted(
                    search_id=self.search_id,
                    time_ms=self._start_ms,
                    candidate=candidate,
                    fold=self.fold,
                    thread=threading.get_ident(),
                )
            )
        self._label_jobs("fit")

    def fitted(self, model: Any, data: Any) -> None:
        """Record that the model was fitted on this data."""
        self._fit_seconds = self._events.clock.monotonic() - self._fit_began
        if (
            self.settings.log_models == "all"
            and self._events.parent is None
            and self.candidate is not None
        ):
            with self._events.guard("logging the model of a fit"):
                self._events.callbacks.log_model(
                    self.search_id, self.candidate, self.fold, model, data
                )
        if self.settings.train_scores:
            self.trained = model, data
        self._label_jobs("evaluate")
        self._evaluation_began = self._events.clock.monotonic()

    def scored(self, score: Any, counts_as: Any, further: ComputeMetrics | None = None) -> None:
        """Record the evaluator's score; Spark receives ``counts_as`` instead.

        :param further: Computes further metrics, which are not part of the fit's time.
        """
        jvm_hook.cancel()
        with self._events.guard("recording a score"):
            if self.candidate is None:
                return
            clock = self._events.clock
            time_ms, evaluated = clock.now_ms(), clock.monotonic()
            evaluate_seconds = evaluated - self._evaluation_began
            metrics: dict[str, float] = {}
            if further is not None:
                self.pause()
                self._label_jobs("metrics")
                metrics = further()
                self.trained = None
                jvm_hook.cancel()
            event = FitScored(
                search_id=self.search_id,
                time_ms=time_ms,
                candidate=self.candidate,
                fold=self.fold,
                score=float(score),
                fit_seconds=self._fit_seconds,
                evaluate_seconds=evaluate_seconds,
                dtype=numpy_type(score),
                counts_as=None if counts_as is score else float(counts_as),
                metrics=tuple(metrics.items()),
                metrics_seconds=None if further is None else clock.monotonic() - evaluated,
                derived_from=self.derived_from,
                start_ms=self._start_ms,
                shares_work=self._shares_work(self.candidate),
            )
            self._label_refit(self._events.fit_ended(event, by_spark=self._by_spark))

    def reused(self, candidate: int, prior: PriorScore) -> None:
        """Record that the score of a prior search replaces the fit."""
        with self._events.guard("recording a reused score"):
            event = ScoreReused(
                search_id=self.search_id,
                time_ms=self._events.clock.now_ms(),
                candidate=candidate,
                fold=self.fold,
                prior=prior,
            )
            self._label_refit(self._events.fit_ended(event, by_spark=self._by_spark))

    def retried(self, tries: int, error: BaseException) -> None:
        """Record that the fit failed and is retried."""
        with self._events.guard("recording a retry"):
            self.derived_from = None
            self._last_failure = describe_failure(error)
            if self.candidate is not None:
                self._events.emit(
                    FitRetried(
                        search_id=self.search_id,
                        time_ms=self._events.clock.now_ms(),
                        candidate=self.candidate,
                        fold=self.fold,
                        tries=tries,
                        failure=self._last_failure,
                        start_ms=self._start_ms,
                    )
                )
        self.restart()

    def skipped(self, candidate: int, error: Exception | None) -> None:
        """Record that the search continues without the score of this fit.

        :param error: None if another fit of the candidate failed, before this fit or during its
            retries.
        """
        with self._events.guard("recording a skipped candidate"):
            if error is None and candidate != self.candidate:
                return
            failure = self._last_failure if error is None else describe_failure(error)
            event = self._failed(candidate, failure)
            self._label_refit(self._events.fit_ended(event, by_spark=self._by_spark))

    def _failed(self, candidate: int, failure: Failure) -> FitFailed:
        return FitFailed(
            search_id=self.search_id,
            time_ms=self._events.clock.now_ms(),
            candidate=candidate,
            fold=self.fold,
            failure=failure,
            start_ms=self._start_ms,
        )

    def _shares_work(self, candidate: int) -> bool:
        """Whether this fit used work that was done for several candidates."""
        state = self._events.state
        return self.derived_from is not None or (
            state is not None and state.shares_work(candidate, self.fold)
        )

    def _label_refit(self, winner: int | None) -> None:
        if winner is not None and self._events.state is not None:
            self._metrics.labels.refit_starts(self._events.state.run_name(winner))

    def _label_jobs(self, phase: str) -> None:
        """Label the thread's next jobs; costs nothing if there are none."""
        self._phase = phase
        if self._metrics.labels.context is not None:
            jvm_hook.schedule(self._label)

    def _label(self) -> None:
        with self._events.guard("labelling Spark's jobs"):
            self.labels.label(self._description_parts())

    def _description_parts(self) -> list[str]:
        """Parts of the job description: candidate, fold and phase."""
        state = self._events.state
        if state is None or self.candidate is None:
            return []
        words = [state.run_name(self.candidate)]
        if state.description.folds > 1:
            words.append(f"fold {self.fold + 1}/{state.description.folds}")
        return [*words, self._phase]
