"""What the tracking server will be told: frozen plain data, in the order it must be applied.

A run is named by its search and its candidate (``None`` is the main run), because the server's run
id is not known yet when an operation is written down. Times are milliseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
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

    @property
    def run(self) -> tuple[str, int | None]:
        """The run that it is about."""
        return (self.search_id, self.candidate)


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


def ready(rows_of_run: Iterable[Row]) -> Iterator[Row]:
    """Of the rows of one run, in order, those that may be applied before older ones of other runs.

    The first one is the oldest of all, and goes. Runs are independent of each other, except that
    the main run is not ended, and has no files written, before all that came earlier is applied.
    """
    for place, row in enumerate(rows_of_run):
        of_main_run = row.operation.candidate is None
        if place > 0 and of_main_run and not isinstance(row.operation, LogBatch):
            return
        yield row


def coalesce(rows_of_run: Iterable[Row]) -> list[tuple[list[int], Operation]]:
    """Merge batches that follow each other; each operation with the rows that it stands for."""
    merged: list[tuple[list[int], Operation]] = []
    for is_batch, group in groupby(rows_of_run, lambda row: isinstance(row.operation, LogBatch)):
        rows = list(group)
        if is_batch:
            numbers = [row.number for row in rows]
            batches = [row.operation for row in rows if isinstance(row.operation, LogBatch)]
            merged.append((numbers, _merge(batches)))
        else:
            merged.extend(([row.number], row.operation) for row in rows)
    return merged


def _merge(batches: list[LogBatch]) -> LogBatch:
    return LogBatch(
        search_id=batches[0].search_id,
        candidate=batches[0].candidate,
        params=tuple(param for batch in batches for param in batch.params),
        metrics=tuple(metric for batch in batches for metric in batch.metrics),
        tags=tuple(tag for batch in batches for tag in batch.tags),
    )
