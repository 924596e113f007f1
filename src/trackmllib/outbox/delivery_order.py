"""Order of delivery: dependencies and merging of rows."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from itertools import chain, groupby
from typing import NamedTuple

from trackmllib.domain.operations import (
    CloseSearch,
    CreateChildRun,
    EndRun,
    LogArtifact,
    LogBatch,
    OpenParentRun,
    Operation,
    Recover,
    SetDescription,
)


class Row(NamedTuple):
    """Operation in the outbox; ``number`` is its place in the queue.

    ``redelivered``: this process or a dead one may have sent it before.
    """

    number: int
    operation: Operation
    redelivered: bool = False


class Delivery(NamedTuple):
    """One operation as sent, with the numbers of its rows."""

    numbers: list[int]
    operation: Operation
    redelivered: bool


def select_deliverable(rows: Iterable[Row]) -> Iterator[Row]:
    """Select the rows that may be applied before older rows of other runs.

    ``rows`` are grouped by run, ordered within each run, and begin with the oldest of all, which is
    always selected. Runs are independent of each other, except that the parent run is ended, and
    gets artifacts, only after all older operations.
    """
    waiting = None
    for place, row in enumerate(rows):
        if place > 0 and is_barrier(row.operation):
            waiting = row.operation.run
        if row.operation.run != waiting:
            yield row


def is_barrier(operation: Operation) -> bool:
    """Whether all older operations of the search must be applied first."""
    return operation.candidate is None and not isinstance(operation, LogBatch)


def depends_on(operation: Operation, earlier: Operation) -> bool:
    """Whether ``operation`` must wait for ``earlier``, of the same search.

    Applied first, ``operation`` would fail, or ``earlier`` would overwrite it.
    """
    if isinstance(earlier, (OpenParentRun, Recover)):
        return True
    if isinstance(operation, CloseSearch):
        # It deletes duplicate child runs, so it comes after the last attempt to create one.
        return isinstance(earlier, CreateChildRun)
    if isinstance(operation, SetDescription) and isinstance(earlier, CreateChildRun):
        # The parent run gets the id of the best child run.
        return operation.best == earlier.candidate
    if operation.run != earlier.run:
        return False
    match earlier:
        case CreateChildRun():
            return True
        case LogArtifact():
            return isinstance(operation, LogArtifact) and operation.file_name == earlier.file_name
        case LogBatch():
            # A tag keeps its last value, while params never change and metric points are added.
            tags = {key for key, _ in earlier.tags}
            return isinstance(operation, (LogBatch, EndRun)) and any(
                key in tags for key, _ in operation.tags
            )
        case EndRun():
            return isinstance(operation, EndRun)
    return type(operation) is type(earlier)


def coalesce(rows: Iterable[Row], separate: Container[int] = ()) -> list[Delivery]:
    """Merge consecutive batches of one run to save requests.

    Rows in ``separate`` are not merged, nor redelivered rows with new ones, so that the server
    usually has all of a batch or nothing. A child run is ended after all its other operations in
    ``rows``, even newer ones.
    """
    merged: list[Delivery] = []
    in_order = chain.from_iterable(
        sorted(group, key=lambda row: isinstance(row.operation, EndRun) and run[1] is not None)
        for run, group in groupby(rows, lambda row: row.operation.run)
    )
    for (is_batch, redelivered, _, alone), group in groupby(
        in_order,
        lambda row: (
            isinstance(row.operation, LogBatch),
            row.redelivered,
            (row.operation.run, row.operation.of_recovery),
            row.number if row.number in separate else None,
        ),
    ):
        alike = list(group)
        if is_batch and alone is None:
            numbers = [row.number for row in alike]
            batches = [row.operation for row in alike if isinstance(row.operation, LogBatch)]
            merged.append(Delivery(numbers, _merge(batches), redelivered))
        else:
            merged.extend(Delivery([row.number], row.operation, redelivered) for row in alike)
    return merged


def _merge(batches: list[LogBatch]) -> LogBatch:
    return LogBatch(
        search_id=batches[0].search_id,
        candidate=batches[0].candidate,
        of_recovery=batches[0].of_recovery,
        params=tuple(param for batch in batches for param in batch.params),
        metrics=tuple(metric for batch in batches for metric in batch.metrics),
        tags=tuple(tag for batch in batches for tag in batch.tags),
    )
