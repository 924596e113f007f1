"""State of a search, built from its events."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from trackmllib.domain import naming
from trackmllib.domain.descriptions import Cost, Failure, MetricAverage, SearchDescription
from trackmllib.domain.events import (
    CandidateScored,
    ChildRunNeeded,
    Event,
    FitCostMeasured,
    FitFailed,
    FitRetried,
    FitScored,
    FitStarted,
    FoldKeyed,
    ModelLogged,
    RefitStarted,
    ScoreReused,
    SearchCostMeasured,
    SearchFailed,
    SearchFinished,
    SearchKeyed,
    SearchStarted,
    StagesComputed,
)
from trackmllib.domain.naming import GridNames

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


@dataclass(kw_only=True, slots=True)
class FoldFit:
    """One candidate on one fold.

    Times are in milliseconds since the epoch, durations in seconds. ``thread`` numbers the threads
    of the search. ``cost`` is None if unknown. A reused score has the times of the original fit,
    the time of reuse in ``reused_ms``, the prior search in ``reused_from``, and the child run there
    in ``reused_from_run``, if known. ``model_id`` is its logged model of MLflow 3, if any.
    ``attempts`` are the start and end of each attempt that has ended, more than one after a retry.
    """

    start_ms: int
    thread: int = 0
    end_ms: int | None = None
    score: float | None = None
    fit_seconds: float | None = None
    evaluate_seconds: float | None = None
    failure: Failure | None = None
    cost: Cost | None = None
    # As in FitScored.
    dtype: str | None = None
    counts_as: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    metrics_seconds: float | None = None
    derived_from: int | None = None
    shares_work: bool = False
    retried: tuple[FitRetried, ...] = ()
    attempts: tuple[tuple[int, int], ...] = ()
    reused_ms: int | None = None
    reused_from: str | None = None
    reused_from_run: str | None = None
    model_id: str | None = None

    @property
    def has_own_cost(self) -> bool:
        """Whether its seconds and its cost cover all of its work.

        They do not if other candidates use the same work, or if an earlier search did the fit.
        """
        return not (self.shares_work or self.reused_ms is not None)

    def end_attempt(self, start_ms: int | None, end_ms: int) -> None:
        """Add an attempt; without ``start_ms``, it is the first one."""
        start_ms = self.start_ms if start_ms is None else start_ms
        self.attempts = (*self.attempts, (start_ms, max(start_ms, end_ms)))


@dataclass(kw_only=True, slots=True)
class CandidateResult:
    """The fits of one candidate by fold, and the average of their scores.

    ``measured`` is False if no fit was observed, because a subclass has its own loop. Then the
    average is the model's, and there are no times.
    """

    fits: dict[int, FoldFit] = field(default_factory=dict)
    average: float | None = None
    deviation: float | None = None
    status: Status = "RUNNING"
    measured: bool = True
    # Averages of further metrics, by name.
    metrics: Mapping[str, MetricAverage] = field(default_factory=dict)

    def fold_score(self, fold: int) -> float | None:
        """Score on a fold, or None."""
        fit = self.fits.get(fold)
        return None if fit is None else fit.score

    @property
    def scored(self) -> int:
        """Number of folds that have a score."""
        return sum(fit.score is not None for fit in self.fits.values())

    @property
    def seconds(self) -> float | None:
        """Seconds of fits and evaluations on the folds that have a score."""
        spent = [
            (fit.fit_seconds or 0.0) + (fit.evaluate_seconds or 0.0)
            for fit in self.fits.values()
            if fit.score is not None
        ]
        return math.fsum(spent) if spent else None

    @property
    def last_seconds(self) -> float | None:
        """Seconds of its last scored fit; None without a score."""
        scored = [fit for fit in reversed(self.fits.values()) if fit.score is not None]
        last = max(scored, key=lambda fit: fit.reused_ms or fit.end_ms or 0, default=None)
        return None if last is None else (last.fit_seconds or 0.0) + (last.evaluate_seconds or 0.0)

    @property
    def cost(self) -> Cost | None:
        """Cost of all its fits; None if unknown."""
        costs = [fit.cost for fit in self.fits.values() if fit.cost is not None]
        return sum(costs[1:], costs[0]) if costs else None

    @property
    def has_own_cost(self) -> bool:
        """Whether its seconds and its cost cover all of its work."""
        return all(fit.has_own_cost for fit in self.fits.values())

    @property
    def start_ms(self) -> int | None:
        return min(
            (fit.reused_ms or fit.start_ms for fit in self.fits.values()),
            default=None,
        )

    @property
    def end_ms(self) -> int | None:
        ends = [fit.reused_ms or fit.end_ms for fit in self.fits.values()]
        return max((end for end in ends if end is not None), default=None)

    @property
    def is_running(self) -> bool:
        """Whether one of its fits is running."""
        return any(fit.end_ms is None for fit in self.fits.values())

    @property
    def failures(self) -> list[Failure]:
        """Errors of its fits, by fold."""
        fits = (fit for _, fit in sorted(self.fits.items()))
        return [fit.failure for fit in fits if fit.failure is not None]

    @property
    def reused(self) -> int:
        """Number of reused scores."""
        return sum(fit.reused_ms is not None for fit in self.fits.values())


class SearchState:
    """State of a search, which ``apply`` updates event by event.

    * ``candidates`` holds those that have started, by index.
    * ``best`` is the winner, None until it is known; ``best_at_refit`` the winner at the refit,
      before the model confirms it.
    * The last event set the status of the candidates in ``closed_at_end``, and the average or
      deviation of those in ``changed_at_end``.
    * ``children`` selects the candidates that get child runs. Unless all do, ``needed`` has those
      that got theirs before the end.
    * ``model_id`` is the logged model of the refit, if any.
    * ``shared_work`` was done once for several candidates; no fit's seconds include it.
    """

    def __init__(self, started: SearchStarted) -> None:
        self.search_id = started.search_id
        self.description: SearchDescription = started.description
        self.parent = started.parent
        self.children = started.children
        self.rank_tags = started.rank_tags
        self.extra_tags = started.extra_tags
        self.needed: set[int] = set()
        self.model_id: str | None = None
        self.start_ms = started.time_ms
        self.end_ms: int | None = None
        self.candidates: dict[int, CandidateResult] = {}
        # Numbers of threads by their ids.
        self._threads: dict[int, int] = {}
        self.folds_begun = 0
        self.fits_finished = 0
        self.candidates_finished = 0
        self.best: int | None = None
        self.best_at_refit: int | None = None
        self.closed_at_end: list[int] = []
        self.changed_at_end: list[int] = []
        self.failure: Failure | None = None
        self.refit_seconds: float | None = None
        self.cost: Cost | None = None
        self.shared_work: list[StagesComputed] = []
        self._sharing: set[tuple[int, int]] = set()
        # For later searches that reuse scores; keys by fold.
        self.keyed: SearchKeyed | None = None
        self.keys: dict[int, FoldKeyed] = {}
        # Number of scores reused, by prior search.
        self.reused_from: Counter[str] = Counter()

    @cached_property
    def grid(self) -> GridNames:
        """Names of the grid's params."""
        return GridNames(self.description.candidates)

    def run_name(self, candidate: int) -> str:
        """Name of a candidate and its child run: ``maxDepth=4, maxBins=8``."""
        return naming.child_run(self.description.candidates[candidate], self.grid)

    def apply(self, event: Event) -> None:
        """Apply the next event."""
        match event:
            case FitStarted():
                candidate = self._candidate(event.candidate)
                self.folds_begun = max(self.folds_begun, event.fold + 1)
                candidate.fits[event.fold] = FoldFit(
                    start_ms=event.time_ms, thread=self._number(event.thread)
                )
                if candidate.status == "FINISHED":
                    # A subclass runs Spark's loop again.
                    candidate.status = "RUNNING"
                    self.candidates_finished -= 1
            case FitScored():
                fit = self._candidate(event.candidate).fits[event.fold]
                fit.end_ms = event.time_ms
                fit.score = event.score
                fit.fit_seconds = event.fit_seconds
                fit.evaluate_seconds = event.evaluate_seconds
                fit.dtype = event.dtype
                fit.counts_as = event.counts_as
                fit.metrics = dict(event.metrics)
                fit.metrics_seconds = event.metrics_seconds
                fit.derived_from = event.derived_from
                fit.shares_work = event.shares_work
                fit.end_attempt(event.start_ms, event.time_ms)
                self.fits_finished += 1
            case ModelLogged():
                if event.candidate is None or event.fold is None:
                    self.model_id = event.model_id
                else:
                    self._candidate(event.candidate).fits[event.fold].model_id = event.model_id
            case SearchKeyed():
                self.keyed = event
            case FoldKeyed():
                self.keys[event.fold] = event
            case ScoreReused():
                self._reuse_score(event)
            case FitRetried():
                fit = self._candidate(event.candidate).fits[event.fold]
                fit.retried = (*fit.retried, event)
                fit.end_attempt(event.start_ms, event.time_ms)
            case FitFailed():
                candidate = self._candidate(event.candidate)
                fit = candidate.fits[event.fold]
                fit.end_ms = event.time_ms
                fit.failure = event.failure
                fit.end_attempt(event.start_ms, event.time_ms)
                candidate.status = "KILLED" if event.failure.interrupted else "FAILED"
            case FitCostMeasured():
                self._candidate(event.candidate).fits[event.fold].cost = event.cost
            case SearchCostMeasured():
                self.cost = event.cost
            case StagesComputed():
                self.shared_work.append(replace(event, thread=self._number(event.thread)))
                self._sharing.update((each, event.fold) for each in event.shared.candidates)
            case ChildRunNeeded():
                self.needed.add(event.candidate)
            case CandidateScored():
                candidate = self._candidate(event.candidate)
                candidate.average = event.average
                candidate.deviation = event.deviation
                candidate.metrics = dict(event.metric_averages)
                candidate.status = "FINISHED"
                self.candidates_finished += 1
            case RefitStarted():
                self.best = self.best_at_refit = event.best
            case SearchFinished():
                self._finish(event)
            case SearchFailed():
                self.end_ms = event.time_ms
                self.failure = event.failure
                self._close("KILLED")

    def count(self) -> None:
        """Set the counters of a state that was not built by ``apply``."""
        found = self.candidates.values()
        begun = (fold + 1 for candidate in found for fold in candidate.fits)
        self.folds_begun = max(begun, default=0)
        self.fits_finished = sum(candidate.scored for candidate in found)
        fits = (fit for candidate in found for fit in candidate.fits.values())
        self.reused_from = Counter(fit.reused_from for fit in fits if fit.reused_from is not None)
        self.candidates_finished = sum(candidate.status == "FINISHED" for candidate in found)

    def snapshot(self) -> SearchState:
        """Copy of the state that later events do not change."""
        copied = copy.copy(self)
        copied.needed = set(self.needed)
        copied.shared_work = list(self.shared_work)
        copied.candidates = {
            index: replace(
                candidate,
                fits={fold: replace(fit) for fold, fit in candidate.fits.items()},
            )
            for index, candidate in self.candidates.items()
        }
        return copied

    @property
    def shared_seconds(self) -> float:
        """Total seconds of ``shared_work``."""
        return math.fsum(work.seconds for work in self.shared_work)

    def shares_work(self, candidate: int, fold: int) -> bool:
        """Whether a fit uses work that was done once for several candidates."""
        return (candidate, fold) in self._sharing

    @property
    def folds(self) -> int:
        """Number of folds; a subclass may make more than planned."""
        return max(self.description.folds, self.folds_begun)

    @property
    def status(self) -> Status:
        """Status of the search, as MLflow's run status."""
        if self.failure is not None:
            return "KILLED" if self.failure.interrupted else "FAILED"
        return "RUNNING" if self.end_ms is None else "FINISHED"

    def _number(self, thread: int) -> int:
        """Number of the thread with this id, in the order of the first work."""
        return self._threads.setdefault(thread, len(self._threads))

    def _candidate(self, index: int) -> CandidateResult:
        return self.candidates.setdefault(index, CandidateResult())

    def _reuse_score(self, event: ScoreReused) -> None:
        prior = event.prior
        self.reused_from[prior.search_id] += 1
        self.folds_begun = max(self.folds_begun, event.fold + 1)
        self._candidate(event.candidate).fits[event.fold] = FoldFit(
            start_ms=prior.start_ms,
            end_ms=prior.end_ms,
            score=prior.score,
            fit_seconds=prior.fit_seconds,
            evaluate_seconds=prior.evaluate_seconds,
            metrics=dict(prior.metrics),
            reused_ms=event.time_ms,
            reused_from=prior.search_id,
            reused_from_run=prior.run_id,
        )
        self.fits_finished += 1

    def _finish(self, event: SearchFinished) -> None:
        self.end_ms = event.time_ms
        self.refit_seconds = event.refit_seconds
        averages = event.averages or ()
        deviations = event.deviations or (None,) * len(averages)
        for index, found in enumerate(zip(averages, deviations, strict=False)):
            if index not in self.candidates:
                self.candidates[index] = CandidateResult(measured=False)
            candidate = self.candidates[index]
            # Spark has the worst possible score for a skipped candidate.
            if candidate.status == "FAILED":
                continue
            if not _same((candidate.average, candidate.deviation), found):
                candidate.average, candidate.deviation = found
                if not candidate.metrics:
                    candidate.metrics = _averages(list(candidate.fits.values()))
                self.changed_at_end.append(index)
        self._close("FINISHED")
        self.best = event.best

    def _close(self, status: Status) -> None:
        for index, candidate in sorted(self.candidates.items()):
            if candidate.status == "RUNNING":
                candidate.status = status
                self.closed_at_end.append(index)
        self.candidates_finished += len(self.closed_at_end) if status == "FINISHED" else 0


def _averages(fits: list[FoldFit]) -> dict[str, MetricAverage]:
    """Averages of the metrics that all fits have, for a tuner's own loop."""
    averages = {}
    for name in fits[0].metrics if fits else ():
        values = [fit.metrics[name] for fit in fits if name in fit.metrics]
        if len(values) == len(fits):
            average = sum(values) / len(values)
            # A product, because a power raises if it is too large.
            squares = [(value - average) * (value - average) for value in values]
            deviation = math.sqrt(sum(squares) / len(values))
            averages[name] = MetricAverage(average=average, deviation=deviation)
    return averages


def _same(one: tuple[float | None, ...], other: tuple[float | None, ...]) -> bool:
    """Whether numbers are equal to the last bit; NaN equals NaN."""
    return all(repr(a) == repr(b) for a, b in zip(one, other, strict=True))
