"""Makes ``version-<n>.db``, an outbox as this version of trackmllib writes it.

Run it once for each schema version, before the release. The file is committed and never made again,
because it represents the files on the disks of users. It holds a finished search whose rows all
wait, one of them rejected and one deferred; an open search whose process died; and the registries
of both.

    python tests/data/outboxes/make.py
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from itertools import count
from pathlib import Path

from trackmllib.domain.descriptions import (
    Candidate,
    Component,
    GridParam,
    ParamValue,
    SearchDescription,
    Value,
)
from trackmllib.domain.events import (
    CandidateScored,
    FitScored,
    FitStarted,
    RefitStarted,
    SearchFinished,
    SearchStarted,
)
from trackmllib.domain.operations import Destination
from trackmllib.domain.search_state import SearchState
from trackmllib.outbox import schema
from trackmllib.outbox.sqlite import SqliteOutbox
from trackmllib.recorder.translator import Recorder

FINISHED = "0a1b2c3d-0000-4000-8000-00000000f1a1"
OPEN = "0a1b2c3d-0000-4000-8000-0000000009e4"
START_MS = 1_790_000_000_000


def component(name, *stages, **params):
    return Component(
        class_name=name,
        module="pyspark.ml",
        uid=f"{name}_1",
        params=tuple(
            ParamValue(name=key, value=Value(text=str(value), data=value), is_default=False)
            for key, value in params.items()
        ),
        stages=stages,
    )


DESCRIPTION = SearchDescription(
    tuner=component("CrossValidator", numFolds=2, seed=42),
    estimator=component("Pipeline", component("Tokenizer"), component("LinearSVC", maxIter=10)),
    evaluator=component("BinaryClassificationEvaluator"),
    metric="areaUnderROC",
    larger_is_better=True,
    averaged=True,
    folds=2,
    candidates=tuple(
        Candidate(
            index=index,
            params=(
                GridParam(
                    name="regParam",
                    owner="LinearSVC_1",
                    owner_class="LinearSVC",
                    owner_position="1",
                    value=Value(text=repr(value), data=value),
                ),
            ),
        )
        for index, value in enumerate((0.1, 0.01))
    ),
    schema=(("label", "double"), ("text", "string")),
    versions=(("pyspark_version", "4.0.1"),),
    application_id="app-1",
)
SCORES = ((0.75, 0.1 + 0.2), (0.5, 0.625))


def events(search_id: str, start_ms: int):
    """Two candidates on two folds; each event is a second after the one before."""
    times = count(start_ms, 1000)

    def event(cls, **fields):
        return cls(search_id=search_id, time_ms=next(times), **fields)

    yield event(SearchStarted, description=DESCRIPTION)
    for fold in range(2):
        for candidate in range(2):
            where = {"candidate": candidate, "fold": fold}
            yield event(FitStarted, **where)
            score = SCORES[candidate][fold]
            yield event(FitScored, **where, score=score, fit_seconds=0.75, evaluate_seconds=0.25)
            if fold == 1:
                average = sum(SCORES[candidate]) / 2
                yield event(CandidateScored, candidate=candidate, average=average, deviation=0.125)
    yield event(RefitStarted, best=1)
    averages = tuple(sum(scores) / 2 for scores in SCORES)
    yield event(
        SearchFinished, refit_seconds=1.5, averages=averages, deviations=(0.125, 0.125), best=1
    )


def record(outbox: SqliteOutbox, of_search, destination: Destination) -> None:
    for event in of_search:
        if isinstance(event, SearchStarted):
            result = SearchState(event)
            recorder = Recorder(destination)
        result.apply(event)
        outbox.enqueue(list(recorder.operations(event, result)), event)


def make(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        outbox = SqliteOutbox(Path(folder, "outbox.db"))
        finished = Destination(tracking_uri="http://server:5000", experiment_name="trees")
        record(outbox, events(FINISHED, START_MS), finished)
        # Its process died during its second fit.
        died = list(events(OPEN, START_MS + 3_600_000))[:4]
        record(
            outbox, died, Destination(tracking_uri="databricks", run_id="of the user", owned=False)
        )
        rows = outbox.peek(1000)
        outbox.mark_sent([row.number for row in rows])
        _reject_the_mark_of_the_best(outbox)
        _defer_a_file(outbox)
        outbox.save_registry(FINISHED, {"server": "http://server:5000"})
        outbox.save_registry(OPEN, {"run": "of the user", "param/numFolds": f"numFolds_{OPEN}"})
        outbox.record_error(OPEN, "databricks: failed with error code 503")
        outbox.close()
        # One plain file, without a log beside it.
        connection = sqlite3.connect(outbox.path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("VACUUM")
        connection.close()
        path.write_bytes(outbox.path.read_bytes())


def _reject_the_mark_of_the_best(outbox: SqliteOutbox) -> None:
    with sqlite3.connect(outbox.path) as connection:
        numbers = _numbers_of(connection, "trackmllib.best")
    connection.close()
    assert len(numbers) == 1
    outbox.reject(numbers, "http://server:5000: the run was deleted for a while")


def _defer_a_file(outbox: SqliteOutbox) -> None:
    with sqlite3.connect(outbox.path) as connection:
        number = _numbers_of(connection, "search.json")[0]
    connection.close()
    outbox.defer([number], "http://server:5000: HTTP 504")


def _numbers_of(connection: sqlite3.Connection, text: str) -> list[int]:
    query = "SELECT number FROM operations WHERE instr(body, ?)"
    return [number for (number,) in connection.execute(query, (text,))]


if __name__ == "__main__":
    target = Path(__file__).with_name(f"version-{schema.VERSION}.db")
    if target.exists():
        sys.exit(f"{target} is there already. If its version is not released yet, remove it first.")
    make(target)
    print(f"{target}: {target.stat().st_size} bytes")
