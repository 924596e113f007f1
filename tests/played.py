"""Searches that nobody ran, played by their events into a real store, with the table of each as it
was when it was live.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from made import description
from trackmllib.events import (
    Candidate,
    CandidateScored,
    CellCosted,
    CellFailed,
    CellScored,
    CellStarted,
    Cost,
    Event,
    Failure,
    GridSetting,
    Place,
    RefitStarted,
    SearchDescription,
    SearchFailed,
    SearchFinished,
    SearchStarted,
    Value,
)
from trackmllib.operations import Destination
from trackmllib.outbox.home import Home
from trackmllib.search_result import SearchResult
from trackmllib.session import Session
from trackmllib.settings import Settings

FAILURE = Failure(type="ValueError", message="no\nline", traceback="trace", interrupted=False)
COST = Cost(executor_run_time=12, executor_cpu_time=3_000_000, num_jobs=2, num_complete_tasks=4)


class Player:
    """A session whose searches go to ``uri``; ``tables`` has each search as it is live."""

    def __init__(self, folder: Path, uri: str, experiment_id: str = "0", **settings: Any) -> None:
        self.uri = uri
        self.experiment_id = experiment_id
        self.tables: dict[str, SearchResult] = {}
        # The run of the user that is active; None for a new run for each search.
        self.active: str | None = None
        quiet = {"wait": False, "silent": True, "flush_timeout": 0.0, "strict": False}
        self.session = Session(
            Settings(**{**quiet, **settings}),
            home=Home(folder / "outbox"),
            destination=self._destination,
        )

    def play(self, events: Iterable[Event]) -> str:
        """Emit events of one search, or of one and those inside of it, and wait until they are
        delivered; the id of the first.
        """
        first = self.emit(events)
        assert self.session.flush(60)
        return first

    def emit(self, events: Iterable[Event]) -> str:
        """Emit such events and leave their delivery to the session."""
        first = ""
        for event in events:
            first = first or event.search_id
            if isinstance(event, SearchStarted):
                self.tables[event.search_id] = SearchResult(event)
            self.tables[event.search_id].apply(event)
            self.session.emit(event)
        return first

    def _destination(self) -> Destination:
        return Destination(
            tracking_uri=self.uri,
            experiment_id=self.experiment_id,
            run_id=self.active,
            owned=self.active is None,
        )


def grid(*values: Any, name: str = "maxDepth") -> tuple[Candidate, ...]:
    """A candidate for each value of one param."""
    return tuple(
        Candidate(
            index=index,
            settings=(
                GridSetting(
                    name=name,
                    owner="DecisionTreeClassifier_1",
                    owner_class="DecisionTreeClassifier",
                    owner_position="1",
                    value=Value(text=str(value), data=value),
                ),
            ),
        )
        for index, value in enumerate(values)
    )


def described(candidates: Sequence[Candidate], folds: int = 2, **changes: Any) -> SearchDescription:
    before = description(1)
    return dataclasses.replace(before, candidates=tuple(candidates), folds=folds, **changes)


def now() -> int:
    return time.time_ns() // 1_000_000


def started(
    description: SearchDescription, search_id: str = "", parent: Place | None = None
) -> SearchStarted:
    return SearchStarted(
        search_id=search_id or str(uuid.uuid4()),
        time_ms=now(),
        description=description,
        parent=parent,
    )


def cell(search_id: str, candidate: int, fold: int, score: float, cost: bool = True):
    """One cell, with other seconds for each."""
    where: dict[str, Any] = {"search_id": search_id, "candidate": candidate, "fold": fold}
    yield CellStarted(**where, time_ms=now())
    yield CellScored(
        **where,
        time_ms=now(),
        score=score,
        fit_seconds=0.1 + candidate / 3,
        evaluate_seconds=0.2 + fold / 7,
    )
    if cost:
        costs = dataclasses.replace(COST, executor_run_time=7 * candidate + fold)
        yield CellCosted(**where, time_ms=now(), cost=costs)


def search(
    scores: Sequence[Sequence[float]],
    averages: Sequence[float],
    best: int,
    *,
    search_id: str = "",
    parent: Place | None = None,
    stop: int | None = None,
    **changes: Any,
) -> Iterator[Event]:
    """A search with these scores for each fold of each candidate; or its first ``stop`` events."""
    candidates = changes.pop("candidates", grid(*range(len(scores))))
    begin = started(described(candidates, len(scores[0]), **changes), search_id, parent)
    return itertools.islice(_events(begin, scores, averages, best), stop)


def _events(
    begin: SearchStarted, scores: Sequence[Sequence[float]], averages: Sequence[float], best: int
) -> Iterator[Event]:
    search_id, averaged = begin.search_id, begin.description.averaged
    deviations = [0.01 * (index + 1) for index in range(len(scores))]
    yield begin
    folds = len(scores[0])
    for fold in range(folds):
        for index, of_candidate in enumerate(scores):
            yield from cell(search_id, index, fold, of_candidate[fold])
            if fold == folds - 1:
                yield CandidateScored(
                    search_id=search_id,
                    time_ms=now(),
                    candidate=index,
                    average=averages[index],
                    deviation=deviations[index] if averaged else None,
                )
    yield RefitStarted(search_id=search_id, time_ms=now(), best=best)
    yield SearchFinished(
        search_id=search_id,
        time_ms=now(),
        refit_seconds=1.5,
        averages=tuple(averages),
        deviations=tuple(deviations) if averaged else None,
        best=best,
    )


def failing(search_id: str = "", **changes: Any) -> Iterator[Event]:
    """A search of three candidates: one with a score, one that fails, one that does not begin."""
    begin = started(described(grid(1, 2, 3), **changes), search_id)
    where: dict[str, Any] = {"search_id": begin.search_id}
    yield begin
    yield from cell(begin.search_id, 0, 0, 0.5)
    yield CellStarted(**where, time_ms=now(), candidate=1, fold=0)
    yield CellFailed(**where, time_ms=now(), candidate=1, fold=0, failure=FAILURE)
    yield SearchFailed(**where, time_ms=now(), failure=FAILURE)
