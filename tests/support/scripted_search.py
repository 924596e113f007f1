"""Searches that a test advances step by step."""

from __future__ import annotations

from trackmllib.domain.descriptions import (
    Failure,
    PriorScore,
    SearchDescription,
    SharedStages,
)
from trackmllib.domain.events import (
    CandidateScored,
    Event,
    FitFailed,
    FitRetried,
    FitScored,
    FitStarted,
    RefitStarted,
    ScoreReused,
    SearchFailed,
    SearchFinished,
    SearchStarted,
    StagesComputed,
)
from trackmllib.domain.search_state import SearchState

START_MS = 1_700_000_000_000
ERROR = Failure(type="ValueError", message="no\nmore", traceback="Traceback", interrupted=False)
CTRL_C = Failure(type="KeyboardInterrupt", message="", traceback="Traceback", interrupted=True)


class Search:
    """A search advanced by its methods; ``at`` is in seconds since its start."""

    def __init__(self, description: SearchDescription, search_id: str = "a", parent=None) -> None:
        started = SearchStarted(
            search_id=search_id, time_ms=START_MS, description=description, parent=parent
        )
        self.events: list[Event] = [started]
        self.result = SearchState(started)

    def begin(self, candidate: int, fold: int, at: float = 0.0) -> Search:
        return self._take(FitStarted, at, candidate=candidate, fold=fold)

    def score(
        self,
        candidate: int,
        fold: int,
        score: float,
        at: float = 1.0,
        seconds: float = 1.0,
        metrics_seconds: float | None = None,
        start: float | None = None,
    ) -> Search:
        self._take(
            FitScored,
            at,
            candidate=candidate,
            fold=fold,
            score=score,
            fit_seconds=seconds * 0.75,
            evaluate_seconds=seconds * 0.25,
            metrics_seconds=metrics_seconds,
            start_ms=None if start is None else now(start),
        )
        return self._complete(candidate, at)

    def retry(self, candidate: int, fold: int, at: float) -> Search:
        return self._take(FitRetried, at, candidate=candidate, fold=fold, tries=1, failure=ERROR)

    def reuse(self, candidate: int, fold: int, score: float, at: float = 1.0) -> Search:
        prior = PriorScore(
            score=score,
            fit_seconds=0.75,
            evaluate_seconds=0.25,
            start_ms=START_MS - 2000,
            end_ms=START_MS - 1000,
            search_id="earlier",
        )
        self._take(ScoreReused, at, candidate=candidate, fold=fold, prior=prior)
        return self._complete(candidate, at)

    def fold_fit(self, candidate: int, fold: int, score: float, **times: float) -> Search:
        return self.begin(candidate, fold).score(candidate, fold, score, **times)

    def all_fits(self, scores, at: float = 10.0) -> Search:
        """Score every fit; a candidate has the same score on each fold."""
        for fold in range(self.result.description.folds):
            for candidate, score in enumerate(scores):
                self.fold_fit(candidate, fold, score, at=at)
        return self

    def fail_fit(self, candidate: int, fold: int, failure=ERROR, at: float = 1.0) -> Search:
        return self._take(FitFailed, at, candidate=candidate, fold=fold, failure=failure)

    def share(self, shared: SharedStages, fold: int, seconds: float, at: float = 0.0) -> Search:
        """Do work for several candidates once, until ``at``."""
        start_ms = now(at - seconds)
        return self._take(
            StagesComputed,
            at,
            fold=fold,
            shared=shared,
            seconds=seconds,
            start_ms=start_ms,
            thread=0,
        )

    def refit(self, best: int, at: float = 10.0) -> Search:
        return self._take(RefitStarted, at, best=best)

    def finish(self, best: int | None, at: float = 12.0, averages=None) -> Search:
        if averages is None:
            found = self.result.candidates
            averages = tuple(found[index].average for index in sorted(found))
        return self._take(
            SearchFinished,
            at,
            refit_seconds=2.0,
            averages=averages,
            deviations=(0.0625,) * len(averages),
            best=best,
        )

    def fail(self, failure=ERROR, at: float = 10.0) -> Search:
        return self._take(SearchFailed, at, failure=failure)

    def _complete(self, candidate: int, at: float) -> Search:
        """Emit the average once the candidate has all scores."""
        found = self.result.candidates[candidate]
        folds, averaged = self.result.description.folds, self.result.description.averaged
        if found.scored == folds:
            average = sum(fold_fit.score for fold_fit in found.fits.values()) / folds
            deviation = 0.0625 if averaged else None
            self._take(
                CandidateScored, at, candidate=candidate, average=average, deviation=deviation
            )
        return self

    def _take(self, kind, at: float, **fields) -> Search:
        event = kind(search_id=self.result.search_id, time_ms=START_MS + round(at * 1000), **fields)
        self.events.append(event)
        self.result.apply(event)
        return self


def now(seconds: float) -> int:
    """Return the time this many seconds after the start."""
    return START_MS + round(seconds * 1000)
