"""Tables of searches in any state, made of events on numbers; nobody ran them."""

from __future__ import annotations

from dataclasses import replace

from made import description
from trackmllib.events import (
    Candidate,
    CandidateScored,
    CellFailed,
    CellScored,
    CellStarted,
    CellTakenUp,
    Earlier,
    Event,
    Failure,
    GridSetting,
    ParamSetting,
    RefitStarted,
    SearchDescription,
    SearchFailed,
    SearchFinished,
    SearchStarted,
    Value,
)
from trackmllib.search_result import SearchResult

START_MS = 1_700_000_000_000
ERROR = Failure(type="ValueError", message="no\nmore", traceback="Traceback", interrupted=False)
CTRL_C = Failure(type="KeyboardInterrupt", message="", traceback="Traceback", interrupted=True)


def plan(candidates: int = 3, folds: int = 3, values=(), **fields) -> SearchDescription:
    """A description; ``parallelism`` and ``trainRatio`` are params of its tuner, ``values`` the
    texts of the one param of its grid.
    """
    params = tuple(
        ParamSetting(name=name, value=Value(text=str(it), data=it), is_default=False)
        for name, it in ((name, fields.pop(name, None)) for name in ("parallelism", "trainRatio"))
        if it is not None
    )
    made = description(candidates)
    if values:
        fields["candidates"] = tuple(
            Candidate(
                index=index,
                settings=(
                    GridSetting(
                        name="value",
                        owner="stage_1",
                        owner_class="Stage",
                        owner_position=None,
                        value=Value(text=text, data=text),
                    ),
                ),
            )
            for index, text in enumerate(values)
        )
    return replace(made, tuner=replace(made.tuner, params=params), folds=folds, **fields)


class Search:
    """A search that goes on as a test says it; ``at`` is in seconds since its start."""

    def __init__(self, description: SearchDescription, search_id: str = "a", parent=None) -> None:
        started = SearchStarted(
            search_id=search_id, time_ms=START_MS, description=description, parent=parent
        )
        self.events: list[Event] = [started]
        self.result = SearchResult(started)

    def begin(self, candidate: int, fold: int, at: float = 0.0) -> Search:
        return self._take(CellStarted, at, candidate=candidate, fold=fold)

    def score(
        self, candidate: int, fold: int, score: float, at: float = 1.0, seconds: float = 1.0
    ) -> Search:
        self._take(
            CellScored,
            at,
            candidate=candidate,
            fold=fold,
            score=score,
            fit_seconds=seconds * 0.75,
            evaluate_seconds=seconds * 0.25,
        )
        return self._complete(candidate, at)

    def reuse(self, candidate: int, fold: int, score: float, at: float = 1.0) -> Search:
        earlier = Earlier(
            score=score,
            fit_seconds=0.75,
            evaluate_seconds=0.25,
            start_ms=START_MS - 2000,
            end_ms=START_MS - 1000,
            search_id="earlier",
        )
        self._take(CellTakenUp, at, candidate=candidate, fold=fold, earlier=earlier)
        return self._complete(candidate, at)

    def cell(self, candidate: int, fold: int, score: float, **times: float) -> Search:
        return self.begin(candidate, fold).score(candidate, fold, score, **times)

    def all_cells(self, scores, at: float = 10.0) -> Search:
        """Every cell; each candidate has the same score on each fold."""
        for fold in range(self.result.description.folds):
            for candidate, score in enumerate(scores):
                self.cell(candidate, fold, score, at=at)
        return self

    def fail_cell(self, candidate: int, fold: int, failure=ERROR, at: float = 1.0) -> Search:
        return self._take(CellFailed, at, candidate=candidate, fold=fold, failure=failure)

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
        """The average, as soon as the candidate has the score of each fold."""
        found = self.result.candidates[candidate]
        folds, averaged = self.result.description.folds, self.result.description.averaged
        if found.scored == folds:
            average = sum(cell.score for cell in found.cells.values()) / folds
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
    """A moment so many seconds after the start."""
    return START_MS + round(seconds * 1000)
