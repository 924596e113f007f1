"""What the tracking server will be told: frozen plain data, in the order it must be applied.

A run is named by its search and its candidate (``None`` is the main run), because the server's run
id is not known yet when an operation is written down. Times are milliseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where the record of a search goes, settled when ``fit()`` begins.

    ``run_id`` is given when the main run exists already. ``owned`` says that trackmllib starts and
    ends the main run; the active run of the user is not owned. Without a run id the run is made in
    ``experiment_id``, or in the experiment of that name, which is made if need be.
    """

    tracking_uri: str
    run_id: str | None = None
    experiment_id: str | None = None
    experiment_name: str | None = None
    owned: bool = True


class Metric(NamedTuple):
    """One point of a metric. A ``series`` goes on over many points of one key."""

    key: str
    value: float
    time_ms: int
    step: int = 0
    series: bool = False


@dataclass(frozen=True, kw_only=True)
class Operation:
    """Something to do to one run of a search: the main run, or the child run of a candidate."""

    search_id: str
    candidate: int | None = None


@dataclass(frozen=True, kw_only=True)
class OpenMainRun(Operation):
    """Make the main run, or find the one that ``destination`` names. Always the first."""

    destination: Destination
    name: str
    start_ms: int


@dataclass(frozen=True, kw_only=True)
class CreateChildRun(Operation):
    """Make the child run of a candidate, nested under the main run."""

    name: str
    start_ms: int
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class LogBatch(Operation):
    """Add params, metrics and tags to a run."""

    params: tuple[tuple[str, str], ...] = ()
    metrics: tuple[Metric, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class LogArtifact(Operation):
    """Write a text file into the run's ``trackmllib/`` folder."""

    file_name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class EndRun(Operation):
    """Give a run its final status and its measured end time."""

    status: RunStatus
    end_ms: int


class Row(NamedTuple):
    """An operation in the outbox, with the number that puts it in its place in the order."""

    number: int
    operation: Operation


def coalesce(rows: Iterable[Row]) -> Iterator[tuple[tuple[int, ...], Operation]]:
    """Merge the batches of each run as far as the order within the run allows.

    Takes rows in order; yields the numbers that each (perhaps merged) operation stands for. A
    batch is merged into an earlier one of the same run unless another operation on that run lies
    between the two.
    """
    merged: list[tuple[tuple[int, ...], Operation]] = []
    open_batch: dict[tuple[str, int | None], int] = {}
    for number, operation in rows:
        run = (operation.search_id, operation.candidate)
        if not isinstance(operation, LogBatch):
            open_batch.pop(run, None)
        elif run in open_batch:
            numbers, earlier = merged[open_batch[run]]
            assert isinstance(earlier, LogBatch)
            both = LogBatch(
                search_id=operation.search_id,
                candidate=operation.candidate,
                params=earlier.params + operation.params,
                metrics=earlier.metrics + operation.metrics,
                tags=earlier.tags + operation.tags,
            )
            merged[open_batch[run]] = ((*numbers, number), both)
            continue
        else:
            open_batch[run] = len(merged)
        merged.append(((number,), operation))
    yield from merged
