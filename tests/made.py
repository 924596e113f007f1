"""Searches that nobody ran: their events, as Spark's own loop would have made them, without Spark.

made.py FOLDER URI CANDIDATES SEARCH_ID EVENTS CHILDREN leaves such a search behind, as a process
does that was killed after so many events; the end counts as one.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from trackmllib.errors import Unavailable
from trackmllib.events import (
    Candidate,
    CandidateScored,
    CellScored,
    CellStarted,
    Component,
    Event,
    GridSetting,
    SearchDescription,
    SearchFinished,
    SearchStarted,
    Value,
)
from trackmllib.operations import Destination, Operation
from trackmllib.outbox.home import Home
from trackmllib.session import Session
from trackmllib.settings import Settings

FOLDS = 3


def description(candidates: int) -> SearchDescription:
    def component(name: str) -> Component:
        return Component(class_name=name, module="pyspark.ml", uid=f"{name}_1")

    def setting(name: str, number: int) -> GridSetting:
        return GridSetting(
            name=name,
            owner="DecisionTreeClassifier_1",
            owner_class="DecisionTreeClassifier",
            owner_position="1",
            value=Value(text=str(number), data=number),
        )

    return SearchDescription(
        tuner=component("CrossValidator"),
        estimator=component("Pipeline"),
        evaluator=component("MulticlassClassificationEvaluator"),
        metric="weightedPrecision",
        larger_is_better=True,
        averaged=True,
        folds=FOLDS,
        candidates=tuple(
            Candidate(index=i, settings=(setting("maxDepth", i), setting("maxBins", i % 32)))
            for i in range(candidates)
        ),
        schema=(("features", "vector"), ("label", "double")),
        versions=(("version", "0"),),
        application_id=None,
    )


def events(search_id: str, candidates: int) -> Iterator[Event]:
    """The events of a search, in the order in which Spark's loop makes them."""

    def now() -> int:
        return time.time_ns() // 1_000_000

    yield SearchStarted(search_id=search_id, time_ms=now(), description=description(candidates))
    scores = [(i * 7919 % candidates) / candidates for i in range(candidates)]
    for fold in range(FOLDS):
        for i in range(candidates):
            where = {"search_id": search_id, "candidate": i}
            yield CellStarted(**where, time_ms=now(), fold=fold)
            yield CellScored(
                **where,
                time_ms=now(),
                fold=fold,
                score=scores[i],
                fit_seconds=0.123456789,
                evaluate_seconds=0.0123456789,
            )
            if fold == FOLDS - 1:
                yield CandidateScored(**where, time_ms=now(), average=scores[i], deviation=0.0)
    yield SearchFinished(
        search_id=search_id,
        time_ms=now(),
        refit_seconds=1.0,
        averages=tuple(scores),
        deviations=(0.0,) * candidates,
        best=scores.index(max(scores)),
    )


class Away:
    """A server that never answers well."""

    def apply(self, operation: Operation, again: bool = False) -> None:
        raise Unavailable("away")

    def forget(self, search_id: str) -> None: ...


def new_session(
    home: Path,
    uri: str,
    target: Away | None = None,
    *,
    experiment_id: str = "0",
    children: str = "all",
) -> Session:
    """A session that waits for nothing, with its outbox in ``home``; searches go to ``uri``."""
    return Session(
        Settings(wait=False, silent=True, flush_timeout=0.0, report=False, children=children),
        home=Home(home / "outbox"),
        target=target,
        destination=lambda: Destination(tracking_uri=uri, experiment_id=experiment_id),
    )


def leave_behind(
    home: Path,
    uri: str,
    candidates: int,
    *,
    search_id: str = "",
    after: int = sys.maxsize,
    children: str = "all",
) -> str:
    """Let a process die in ``home`` whose server never answered; the id of its search."""
    search_id = search_id or str(uuid.uuid4())
    arguments = [str(home), uri, str(candidates), search_id, str(after), children]
    subprocess.run([sys.executable, __file__, *arguments], check=True, timeout=120)
    return search_id


def _main(home: str, uri: str, candidates: str, search_id: str, after: str, children: str) -> None:
    session = new_session(Path(home), uri, Away(), children=children)
    for event in itertools.islice(events(search_id, int(candidates)), int(after)):
        session.emit(event)
    os._exit(0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
