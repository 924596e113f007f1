"""One search as a table of candidates x folds, built from the facts of the search."""

from __future__ import annotations

import copy
import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Literal

from trackmllib.events import (
    CandidateScored,
    CellCosted,
    CellFailed,
    CellRetried,
    CellScored,
    CellStarted,
    CellTakenUp,
    ChildRunNeeded,
    Cost,
    Event,
    Failure,
    FoldKeyed,
    RefitStarted,
    SearchCosted,
    SearchDescription,
    SearchFailed,
    SearchFinished,
    SearchKeyed,
    SearchStarted,
    StagesComputed,
)

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


@dataclass(kw_only=True, slots=True)
class Cell:
    """One candidate on one fold. Times in milliseconds since the epoch, durations in seconds.

    ``thread`` is the number of the thread that computed it; ``cost`` is None where Spark does not
    say it, and of what this search has not computed. Times of that are those of then.
    """

    start_ms: int
    thread: int = 0
    end_ms: int | None = None
    score: float | None = None
    fit_seconds: float | None = None
    evaluate_seconds: float | None = None
    failure: Failure | None = None
    cost: Cost | None = None
    exact: bool = True
    retried: tuple[CellRetried, ...] = ()
    # When its score was taken up, from which search, and the child run there if that is known.
    taken_ms: int | None = None
    taken_from: str | None = None
    taken_from_run: str | None = None


@dataclass(kw_only=True, slots=True)
class CandidateResult:
    """What is known of one candidate: its cells by fold, and what Spark made of their scores.

    ``measured`` is False for a candidate none of whose cells was seen, because a subclass loops on
    its own: its average is from the model, and it has no times of its own.
    """

    cells: dict[int, Cell] = field(default_factory=dict)
    average: float | None = None
    deviation: float | None = None
    status: Status = "RUNNING"
    measured: bool = True

    @property
    def scored(self) -> int:
        """How many folds have a score."""
        return sum(cell.score is not None for cell in self.cells.values())

    @property
    def seconds(self) -> float | None:
        """Seconds spent on fits and evaluations, added up over the folds that were scored."""
        spent = [
            (cell.fit_seconds or 0.0) + (cell.evaluate_seconds or 0.0)
            for cell in self.cells.values()
            if cell.score is not None
        ]
        return math.fsum(spent) if spent else None

    @property
    def cost(self) -> Cost | None:
        """What all its cells cost; None where that is known of none of them."""
        costs = [cell.cost for cell in self.cells.values() if cell.cost is not None]
        return sum(costs[1:], costs[0]) if costs else None

    @property
    def start_ms(self) -> int | None:
        return min((cell.taken_ms or cell.start_ms for cell in self.cells.values()), default=None)

    @property
    def end_ms(self) -> int | None:
        ends = [cell.taken_ms or cell.end_ms for cell in self.cells.values()]
        return max((end for end in ends if end is not None), default=None)

    @property
    def taken_up(self) -> int:
        """How many scores are of earlier searches."""
        return sum(cell.taken_ms is not None for cell in self.cells.values())


class SearchResult:
    """The state of a search so far. ``apply`` takes its events in the order they are emitted.

    ``candidates`` holds those that have begun, by index. ``best`` is the winner's index as soon as
    it is known (``best_at_refit`` before the model confirms it). The last event settles what was
    open: ``closed_at_end`` are the candidates whose status it decided, and ``changed_at_end`` those
    whose average or deviation it brought or corrected. ``children`` says which candidates get
    child runs; where that is not all of them, ``needed`` are those that got theirs on the way.
    """

    def __init__(self, started: SearchStarted) -> None:
        self.search_id = started.search_id
        self.description: SearchDescription = started.description
        self.parent = started.parent
        self.children = started.children
        self.needed: set[int] = set()
        self.start_ms = started.time_ms
        self.end_ms: int | None = None
        self.candidates: dict[int, CandidateResult] = {}
        self.folds_begun = 0
        self.cells_finished = 0
        self.candidates_finished = 0
        self.best: int | None = None
        self.best_at_refit: int | None = None
        self.closed_at_end: list[int] = []
        self.changed_at_end: list[int] = []
        self.failure: Failure | None = None
        self.refit_seconds: float | None = None
        self.cost: Cost | None = None
        # How often stages were computed for several candidates, and the seconds of it, which are in
        # none of theirs.
        self.shared_times = 0
        self.shared_seconds = 0.0
        # What later searches know its scores by, where they may take them up; keys by fold.
        self.keyed: SearchKeyed | None = None
        self.keys: dict[int, FoldKeyed] = {}
        # How many scores are of which earlier search.
        self.taken_from: Counter[str] = Counter()

    def apply(self, event: Event) -> None:
        """Take one more fact into the table."""
        match event:
            case CellStarted():
                candidate = self._candidate(event.candidate)
                self.folds_begun = max(self.folds_begun, event.fold + 1)
                candidate.cells[event.fold] = Cell(start_ms=event.time_ms, thread=event.thread)
                if candidate.status == "FINISHED":
                    # A subclass runs Spark's loop once more: open again, and closed at the end.
                    candidate.status = "RUNNING"
                    self.candidates_finished -= 1
            case CellScored():
                cell = self._candidate(event.candidate).cells[event.fold]
                cell.end_ms = event.time_ms
                cell.score = event.score
                cell.fit_seconds = event.fit_seconds
                cell.evaluate_seconds = event.evaluate_seconds
                cell.exact = event.exact
                self.cells_finished += 1
            case SearchKeyed():
                self.keyed = event
            case FoldKeyed():
                self.keys[event.fold] = event
            case CellTakenUp():
                self._take_up(event)
            case CellRetried():
                cell = self._candidate(event.candidate).cells[event.fold]
                cell.retried = (*cell.retried, event)
            case CellFailed():
                candidate = self._candidate(event.candidate)
                candidate.cells[event.fold].end_ms = event.time_ms
                candidate.cells[event.fold].failure = event.failure
                candidate.status = "KILLED" if event.failure.interrupted else "FAILED"
            case CellCosted():
                self._candidate(event.candidate).cells[event.fold].cost = event.cost
            case SearchCosted():
                self.cost = event.cost
            case StagesComputed():
                self.shared_times += 1
                self.shared_seconds += event.seconds
            case ChildRunNeeded():
                self.needed.add(event.candidate)
            case CandidateScored():
                candidate = self._candidate(event.candidate)
                candidate.average = event.average
                candidate.deviation = event.deviation
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
        """Count what is finished, in a table that was filled by other means than ``apply``."""
        found = self.candidates.values()
        begun = (fold + 1 for candidate in found for fold in candidate.cells)
        self.folds_begun = max(begun, default=0)
        self.cells_finished = sum(candidate.scored for candidate in found)
        cells = (cell for candidate in found for cell in candidate.cells.values())
        self.taken_from = Counter(cell.taken_from for cell in cells if cell.taken_from is not None)
        self.candidates_finished = sum(candidate.status == "FINISHED" for candidate in found)

    def snapshot(self) -> SearchResult:
        """This table as it is now, whatever else is applied to it."""
        taken = copy.copy(self)
        taken.needed = set(self.needed)
        taken.candidates = {
            index: replace(
                candidate, cells={fold: replace(cell) for fold, cell in candidate.cells.items()}
            )
            for index, candidate in self.candidates.items()
        }
        return taken

    def best_so_far(self) -> int | None:
        """The winner; of a search that did not finish, the best complete candidate."""
        finished = self.end_ms is not None and self.failure is None
        if finished or self.best is not None or self.description.larger_is_better is None:
            return self.best
        sign = 1.0 if self.description.larger_is_better else -1.0
        complete = {
            index: sign * candidate.average
            for index, candidate in sorted(self.candidates.items())
            if candidate.average is not None and not math.isnan(candidate.average)
        }
        return max(complete, key=complete.__getitem__, default=None)

    def ranked(self) -> list[int]:
        """The candidates that have begun, best first: the winner, then by average (equal ones by
        index), then those whose average is NaN, and last those that have none.
        """
        best = self.best_so_far()
        sign = 1.0 if self.description.larger_is_better is False else -1.0

        def place(index: int) -> tuple[int, float, int]:
            average = self.candidates[index].average
            if index == best:
                return (0, 0.0, index)
            if average is None:
                return (3, 0.0, index)
            return (2, 0.0, index) if math.isnan(average) else (1, sign * average, index)

        return sorted(self.candidates, key=place)

    @property
    def folds(self) -> int:
        """How many folds there are: as planned, or as many as a subclass made beyond that."""
        return max(self.description.folds, self.folds_begun)

    @property
    def status(self) -> Status:
        """What the search is doing, or how it ended."""
        if self.failure is not None:
            return "KILLED" if self.failure.interrupted else "FAILED"
        return "RUNNING" if self.end_ms is None else "FINISHED"

    def _candidate(self, index: int) -> CandidateResult:
        return self.candidates.setdefault(index, CandidateResult())

    def _take_up(self, event: CellTakenUp) -> None:
        earlier = event.earlier
        self.taken_from[earlier.search_id] += 1
        self.folds_begun = max(self.folds_begun, event.fold + 1)
        self._candidate(event.candidate).cells[event.fold] = Cell(
            start_ms=earlier.start_ms,
            end_ms=earlier.end_ms,
            score=earlier.score,
            fit_seconds=earlier.fit_seconds,
            evaluate_seconds=earlier.evaluate_seconds,
            taken_ms=event.time_ms,
            taken_from=earlier.search_id,
            taken_from_run=earlier.run_id,
        )
        self.cells_finished += 1

    def _finish(self, event: SearchFinished) -> None:
        self.end_ms = event.time_ms
        self.refit_seconds = event.refit_seconds
        averages = event.averages or ()
        deviations = event.deviations or (None,) * len(averages)
        for index, found in enumerate(zip(averages, deviations, strict=False)):
            if index not in self.candidates:
                self.candidates[index] = CandidateResult(measured=False)
            candidate = self.candidates[index]
            # One that was skipped had the worst of scores in Spark's eyes, and has none in ours.
            if candidate.status == "FAILED":
                continue
            if not _same((candidate.average, candidate.deviation), found):
                candidate.average, candidate.deviation = found
                self.changed_at_end.append(index)
        self._close("FINISHED")
        self.best = event.best

    def _close(self, status: Status) -> None:
        for index, candidate in sorted(self.candidates.items()):
            if candidate.status == "RUNNING":
                candidate.status = status
                self.closed_at_end.append(index)
        self.candidates_finished += len(self.closed_at_end) if status == "FINISHED" else 0


def _same(one: tuple[float | None, ...], other: tuple[float | None, ...]) -> bool:
    """Equal to the last bit; NaN is the same as NaN."""
    return all(repr(a) == repr(b) for a, b in zip(one, other, strict=True))
