"""Helpers for tests: searches recorded in memory, events and a clock.

>>> from trackmllib import testing
>>> with testing.recording() as record:
...     model = cv.fit(train)
>>> [run.name for run in record.store.children()]
['maxDepth=2', 'maxDepth=4']

``events`` has the classes of the events that a listener receives, such as ``events.FitScored``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from trackmllib.api.autolog import exchange
from trackmllib.config.settings import Settings
from trackmllib.domain import events
from trackmllib.domain.operations import (
    CreateChildRun,
    Destination,
    EndRun,
    LogArtifact,
    LogBatch,
    LogDataset,
    Metric,
    OpenParentRun,
    Operation,
    Recover,
    SetDescription,
)
from trackmllib.exceptions import Rejected

E = TypeVar("E", bound=events.Event)


class FakeClock:
    """A clock that stands still until ``advance`` is called.

    Args:
        start_ms: The first time, in milliseconds since the epoch.

    Example:
        >>> clock = testing.FakeClock(start_ms=0)
        >>> clock.advance(1.5)
        >>> clock.now_ms()
        1500
    """

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self._ms = float(start_ms)

    def now_ms(self) -> int:
        """The current time, in milliseconds since the epoch.

        Returns:
            A whole number of milliseconds.
        """
        return int(self._ms)

    def monotonic(self) -> float:
        """The current time, in seconds; only differences are meaningful.

        Returns:
            A number of seconds.
        """
        return self._ms / 1000.0

    def advance(self, seconds: float) -> None:
        """Move the clock forward.

        Args:
            seconds: By how many seconds.
        """
        self._ms += seconds * 1000.0


class RecordingListener:
    """A listener that keeps all events, in the order of their emission.

    Attributes:
        events: The events. Their ``search_id`` and ``time_ms`` say where and when they happened.

    Example:
        >>> with testing.recording() as record:
        ...     model = cv.fit(train)
        >>> [type(event).__name__ for event in record.listener.events][:2]
        ['SearchStarted', 'FitStarted']
    """

    def __init__(self) -> None:
        self.events: list[events.Event] = []

    def __call__(self, event: events.Event) -> None:
        self.events.append(event)

    def of_type(self, kind: type[E]) -> list[E]:
        """The events of one class, or of its subclasses.

        Args:
            kind: A class of ``testing.events``, such as ``testing.events.FitScored``.

        Returns:
            The events, in the order of their emission.

        Example:
            >>> [event.score for event in record.listener.of_type(testing.events.FitScored)]
        """
        return [event for event in self.events if isinstance(event, kind)]


@dataclass
class RecordedRun:
    """A run in an ``InMemoryStore``.

    Attributes:
        search_id: The id of the search.
        candidate: The index of the candidate in the grid; None for a parent run.
        name: The run name.
        start_ms: The start, in milliseconds since the epoch.
        end_ms: The end, likewise; None while the run is running.
        status: An MLflow run status: RUNNING, FINISHED, FAILED or KILLED.
        params: The values of params, by name.
        tags: The values of tags, by key.
        metrics: The points of each metric in the order in which they were logged, by key. A point
            has ``value``, ``time_ms`` and ``step``.
        artifacts: The contents of artifacts as text, by file name.
        datasets: The digest of the dataset that the search was fitted on, if that was logged.
        description: The Markdown text that the MLflow UI shows for a parent run.

    Example:
        >>> run = record.store.children()[0]
        >>> run.params["maxDepth"], run.metrics["avg_accuracy"][0].value
        ('2', 0.81)
    """

    search_id: str
    candidate: int | None
    name: str
    start_ms: int
    end_ms: int | None = None
    status: str = "RUNNING"
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[Metric]] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    datasets: list[str] = field(default_factory=list)
    description: str = ""


class InMemoryStore:
    """A store of runs that replaces a tracking server.

    Applying an operation is idempotent, as with a tracking server.

    Example:
        >>> with testing.recording() as record:
        ...     model = cv.fit(train)
        >>> [run.status for run in record.store.parent_runs()]
        ['FINISHED']
    """

    def __init__(self) -> None:
        self._runs: dict[tuple[str, int | None], RecordedRun] = {}
        self._ended: set[str] = set()
        self._lock = threading.Lock()

    def parent_runs(self) -> list[RecordedRun]:
        """The parent runs, one per search, in the order of their start.

        Returns:
            The runs of all searches, nested ones included.
        """
        with self._lock:
            return [run for run in self._runs.values() if run.candidate is None]

    def children(self, search_id: str | None = None) -> list[RecordedRun]:
        """The child runs, ordered by candidate.

        Args:
            search_id: Only the child runs of this search; None for those of all searches.

        Returns:
            A run per candidate that has a child run.
        """
        with self._lock:
            found = [run for run in self._runs.values() if run.candidate is not None]
        if search_id is not None:
            found = [run for run in found if run.search_id == search_id]
        return sorted(found, key=lambda run: run.candidate or 0)

    def apply(self, operation: Operation, redelivered: bool = False) -> None:
        """Apply an operation; trackmllib calls it.

        Args:
            operation: The operation.
            redelivered: Whether the operation may have been applied before.

        Raises:
            trackmllib.exceptions.Rejected: The run does not exist.
        """
        key = (operation.search_id, operation.candidate)
        with self._lock:
            if operation.search_id in self._ended:
                return
            if isinstance(operation, (OpenParentRun, CreateChildRun)):
                run = RecordedRun(*key, name=operation.name, start_ms=operation.start_ms)
                if isinstance(operation, CreateChildRun):
                    run.tags.update(operation.tags)
                else:
                    run.description = operation.description
                self._runs.setdefault(key, run)
                return
            if key not in self._runs:
                raise Rejected(f"there is no run for {key}")
            run = self._runs[key]
            match operation:
                case LogBatch():
                    run.params.update(operation.params)
                    run.tags.update(operation.tags)
                    for metric in operation.metrics:
                        points = run.metrics.setdefault(metric.key, [])
                        if metric not in points:
                            points.append(metric)
                case LogArtifact():
                    content = b"".join(operation.pieces())
                    run.artifacts[operation.file_name] = content.decode(errors="replace")
                case SetDescription():
                    run.description = operation.text
                case LogDataset(context="train"):
                    run.datasets = [operation.digest]
                case EndRun() if run.status == "RUNNING" or not operation.if_running:
                    run.status, run.end_ms = operation.status, operation.end_ms
                    run.tags.update(operation.tags)
                case Recover() if "results.csv" in run.artifacts:
                    self._ended.add(operation.search_id)

    def answers(self, search_id: str) -> bool:
        """Whether the store is reachable: always, since it is in memory.

        Args:
            search_id: The id of a search; not used.

        Returns:
            True.
        """
        return True

    def forget(self, search_id: str) -> None:
        """Do nothing: the runs of a search that is complete are kept.

        Args:
            search_id: The id of a search; not used.
        """


@dataclass(frozen=True)
class Recording:
    """What ``recording()`` has recorded.

    Attributes:
        store: The runs of all searches.
        listener: The events of all searches.

    Example:
        >>> with testing.recording() as record:
        ...     model = cv.fit(train)
        >>> len(record.store.children()), len(record.listener.events)
    """

    store: InMemoryStore
    listener: RecordingListener


@contextmanager
def recording() -> Iterator[Recording]:
    """Record the searches of a ``with`` block in memory.

    ``autolog()`` is suspended in the block. Errors of trackmllib are raised instead of being
    logged, no progress bar is shown, and no reports are created.

    Returns:
        A context manager; ``as`` gives what is recorded, a ``Recording``.

    Raises:
        trackmllib.IncompleteRecord: By ``fit()``, if part of a search is not recorded.
        ImportError: pyspark or MLflow is missing.

    Example:
        >>> with testing.recording() as record:
        ...     model = cv.fit(train)
        >>> [run.name for run in record.store.children()]
        ['maxDepth=2', 'maxDepth=4']
    """
    from trackmllib.runtime.session import Session

    record = Recording(InMemoryStore(), RecordingListener())
    session = Session(
        Settings(strict=True, progress=False, report=False),
        target=record.store,
        destination=lambda: Destination(tracking_uri="memory:"),
        listeners=[record.listener],
    )
    before, was_running = exchange(session)
    try:
        yield record
    finally:
        exchange(before, start=was_running)
