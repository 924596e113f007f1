"""What the tracking server will be told: frozen plain data, in the order it must be applied.

A run is named by its search and its candidate (``None`` is the main run), because the server's run
id is not known yet when an operation is written down. Times are milliseconds since the epoch.

An operation escapes its texts (``limits.escaped``) when it is made, and when it is read back from
disk, so that no operation has a character that a server rejects.
"""

from __future__ import annotations

import base64
import operator
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import chain, groupby
from pathlib import PurePath
from typing import Any, Literal, NamedTuple

from trackmllib import limits, packing

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """Where the record of a search goes, settled when ``fit()`` begins.

    ``run_id`` is given when the main run exists already. ``owned`` says that trackmllib starts and
    ends the main run; the active run of the user is not owned. Without a run id the run is made in
    ``experiment_id``, or in the experiment of that name, which is made if need be.
    ``tracking_uri`` is absolute and holds no credentials. A search inside of another one has its
    main run under that one's: under the child run of ``parent_candidate``, or where that is None
    under its parent run. ``workspace`` is the MLflow workspace that was set; None if none was, or
    if MLflow has no workspaces.
    """

    tracking_uri: str
    run_id: str | None = None
    experiment_id: str | None = None
    experiment_name: str | None = None
    owned: bool = True
    parent_search_id: str | None = None
    parent_candidate: int | None = None
    workspace: str | None = None

    def __post_init__(self) -> None:
        # The URI is not escaped: it would name another server, or another file.
        if self.experiment_name is not None:
            object.__setattr__(self, "experiment_name", limits.escaped(self.experiment_name))


class Metric(NamedTuple):
    """One point of a metric. A ``series`` goes on over many points of one key."""

    key: str
    value: float
    time_ms: int
    step: int = 0
    series: bool = False


_WITHOUT_TEXT = frozenset((int, float, bool))
_FIELD_NAMES: dict[type, tuple[str, ...]] = {}


def _escaped(value: Any) -> Any:
    """The value with escaped texts; the same object if there is nothing to escape."""
    if type(value) is str:
        return limits.escaped(value)
    if isinstance(value, tuple):
        escaped = tuple([each if type(each) in _WITHOUT_TEXT else _escaped(each) for each in value])
        if any(map(operator.is_not, escaped, value)):
            return Metric._make(escaped) if isinstance(value, Metric) else escaped
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """Change to one run of a search: the parent run, or the child run of a candidate.

    ``of_recovery``: the process that recovers the search adds it, after its TakeOver.
    """

    search_id: str
    candidate: int | None = None
    of_recovery: bool = False

    def __post_init__(self) -> None:
        cls = type(self)
        if cls not in _FIELD_NAMES:
            _FIELD_NAMES[cls] = tuple(field.name for field in fields(cls))
        for name in _FIELD_NAMES[cls]:
            value = getattr(self, name)
            escaped = _escaped(value)
            if escaped is not value:
                object.__setattr__(self, name, escaped)

    @property
    def run(self) -> tuple[str, int | None]:
        """The run that it is about."""
        return (self.search_id, self.candidate)


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenMainRun(Operation):
    """Make the main run, or find the one that ``destination`` names. Always the first.

    ``description`` is what a run that is made is described by from its beginning.
    """

    destination: Destination
    name: str
    start_ms: int
    description: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateChildRun(Operation):
    """Make the child run of a candidate, nested under the main run."""

    name: str
    start_ms: int
    tags: tuple[tuple[str, str], ...]


def child_run_tags(search_id: str, candidate: int) -> tuple[tuple[str, str], ...]:
    """The tags by which the child run of a candidate is found again."""
    return (("trackmllib.search_id", search_id), ("trackmllib.candidate", str(candidate)))


@dataclass(frozen=True, kw_only=True, slots=True)
class LogBatch(Operation):
    """Add params, metrics and tags to a run."""

    params: tuple[tuple[str, str], ...] = ()
    metrics: tuple[Metric, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class LogArtifact(Operation):
    """Write a file into the run's ``trackmllib/`` folder. ``file_name`` has no path.

    ``is_base64``: the file is what this text says in base64, and not the text itself;
    ``is_packed``: it is the text of a large file, as in ``packing``.
    """

    file_name: str
    text: str
    is_base64: bool = False
    is_packed: bool = False

    def __post_init__(self) -> None:
        if self.file_name != PurePath(self.file_name).name or self.file_name in ("", ".."):
            raise ValueError(f"{self.file_name!r} is not the name of a file, but a path")
        # Not super(): slots=True replaces the class that this method was defined in.
        Operation.__post_init__(self)

    def pieces(self) -> Iterator[bytes]:
        """The file, piece by piece. ValueError for a text that is damaged."""
        if self.is_packed:
            yield from packing.unpacked(self.text)
        else:
            yield base64.b64decode(self.text) if self.is_base64 else packing.utf8(self.text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Describe(Operation):
    """Put this Markdown into the description of the run, in the place of what this search has put
    there before. What a user has written there stays. ``is_last``: the search is over, so that no
    newer description can be there.
    """

    text: str
    is_last: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class LogDataset(Operation):
    """Say which data the run was made from. ``path`` is None for data that is read from no file."""

    digest: str
    path: str | None
    schema: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkSearch(Operation):
    """Say on the main run that it goes on where the search ``earlier`` ended, and on the main run
    of that one which run goes on there. Where that is not on the server, it is said nowhere.
    """

    earlier: str


@dataclass(frozen=True, kw_only=True, slots=True)
class EndRun(Operation):
    """Give a run its final status and its measured end time, and tags that say more about it.

    ``if_running``: only a run that still says RUNNING, for it may have been ended already.
    """

    status: RunStatus
    end_ms: int
    if_running: bool = False
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TakeOver(Operation):
    """What follows is of an heir, and is left out if the end of the search is on the server."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CloseSearch(Operation):
    """Nothing more comes of this search. Always the last."""


class Row(NamedTuple):
    """An operation in the outbox, with the number that puts it in its place in the order.

    ``again``: it may have been sent before, by this process or by one that died.
    """

    number: int
    operation: Operation
    again: bool = False


class Sending(NamedTuple):
    """One operation as it is sent, and the numbers of the rows that it stands for."""

    numbers: list[int]
    operation: Operation
    again: bool


def ready(rows: Iterable[Row]) -> Iterator[Row]:
    """Of the rows of some runs, each run's in order and one run after the other, those that may be
    applied before older ones of other runs.

    The first one is the oldest of all, and goes. Runs are independent of each other, except that
    the main run is not ended, and has no files written, before all that came earlier is applied.
    """
    waiting = None
    for place, row in enumerate(rows):
        if place > 0 and waits_for_all(row.operation):
            waiting = row.operation.run
        if row.operation.run != waiting:
            yield row


def waits_for_all(operation: Operation) -> bool:
    """Whether all that came earlier must be applied before."""
    return operation.candidate is None and not isinstance(operation, LogBatch)


def depends_on(operation: Operation, earlier: Operation) -> bool:
    """Whether ``operation`` must wait for ``earlier``, of the same search.

    Without ``earlier`` it could not be applied, or ``earlier`` would overwrite it.
    """
    if isinstance(earlier, (OpenMainRun, TakeOver)):
        return True
    if isinstance(operation, CloseSearch):
        # It deletes the doubles of child runs, and so comes after the last try to make one.
        return isinstance(earlier, CreateChildRun)
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


def coalesce(rows: Iterable[Row], apart: Container[int] = ()) -> list[Sending]:
    """Merge consecutive batches of one run, except rows in ``apart``, to save requests.

    What may have been sent before goes apart from what has not: then mostly all of it stands, or
    nothing. The end of a child run comes behind all that is there for it, which may say later what
    became of it.
    """
    merged: list[Sending] = []
    in_order = chain.from_iterable(
        sorted(group, key=lambda row: isinstance(row.operation, EndRun) and run[1] is not None)
        for run, group in groupby(rows, lambda row: row.operation.run)
    )
    for (is_batch, again, _, alone), group in groupby(
        in_order,
        lambda row: (
            isinstance(row.operation, LogBatch),
            row.again,
            (row.operation.run, row.operation.of_recovery),
            row.number if row.number in apart else None,
        ),
    ):
        alike = list(group)
        if is_batch and alone is None:
            numbers = [row.number for row in alike]
            batches = [row.operation for row in alike if isinstance(row.operation, LogBatch)]
            merged.append(Sending(numbers, _merge(batches), again))
        else:
            merged.extend(Sending([row.number], row.operation, again) for row in alike)
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
