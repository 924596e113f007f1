"""What tests need: searches recorded in memory, a listener that remembers, a clock that obeys.

>>> from trackmllib import testing
>>> with testing.recording() as record:                     # doctest: +SKIP
...     model = cv.fit(train)
>>> [run.name for run in record.store.children()]           # doctest: +SKIP
['maxDepth=2', 'maxDepth=4']
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from trackmllib.autolog import exchange
from trackmllib.errors import Rejected
from trackmllib.events import Event
from trackmllib.operations import (
    CreateChildRun,
    Describe,
    Destination,
    EndRun,
    LogArtifact,
    LogBatch,
    LogDataset,
    Metric,
    OpenMainRun,
    Operation,
    TakeOver,
)
from trackmllib.settings import Settings

E = TypeVar("E", bound=Event)


class FakeClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self._ms = float(start_ms)

    def now_ms(self) -> int:
        return int(self._ms)

    def monotonic(self) -> float:
        return self._ms / 1000.0

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self._ms += seconds * 1000.0


class RecordingListener:
    """A listener that keeps all events in the order they came."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def of_type(self, kind: type[E]) -> list[E]:
        """The events of one class."""
        return [event for event in self.events if isinstance(event, kind)]


@dataclass
class RecordedRun:
    """A run of the in-memory store. ``status`` is RUNNING until the run is ended.

    ``candidate`` is None for a main run; times are milliseconds since the epoch. ``description`` is
    the Markdown that MLflow's page shows of a main run.
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
    """Runs in memory, filled by the same operations that MLflow is told.

    Applying an operation twice is applying it once, as with a tracking server.
    """

    def __init__(self) -> None:
        self._runs: dict[tuple[str, int | None], RecordedRun] = {}
        self._ended: set[str] = set()
        self._lock = threading.Lock()

    def main_runs(self) -> list[RecordedRun]:
        """The main runs, one a search, in the order they were opened."""
        with self._lock:
            return [run for run in self._runs.values() if run.candidate is None]

    def children(self, search_id: str | None = None) -> list[RecordedRun]:
        """The child runs of one search or of all, by candidate."""
        with self._lock:
            found = [run for run in self._runs.values() if run.candidate is not None]
        if search_id is not None:
            found = [run for run in found if run.search_id == search_id]
        return sorted(found, key=lambda run: run.candidate or 0)

    def apply(self, operation: Operation, again: bool = False) -> None:
        """Carry out one operation. Raises Rejected for a run that does not exist."""
        key = (operation.search_id, operation.candidate)
        with self._lock:
            if operation.search_id in self._ended:
                return
            if isinstance(operation, (OpenMainRun, CreateChildRun)):
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
                case Describe():
                    run.description = operation.text
                case LogDataset():
                    run.datasets = [operation.digest]
                case EndRun() if run.status == "RUNNING" or not operation.if_running:
                    run.status, run.end_ms = operation.status, operation.end_ms
                    run.tags.update(operation.tags)
                case TakeOver() if "results.csv" in run.artifacts:
                    self._ended.add(operation.search_id)

    def answers(self, search_id: str) -> bool:
        """True: the store is in memory."""
        return True

    def forget(self, search_id: str) -> None:
        """Nothing more will come of this search; its runs stay."""


@dataclass(frozen=True)
class Recording:
    """What was recorded: ``store`` holds the runs, ``listener`` the events."""

    store: InMemoryStore
    listener: RecordingListener


@contextmanager
def recording() -> Iterator[Recording]:
    """Record the searches of a ``with`` block in memory, in strict mode; needs no server.

    ``autolog`` is suspended meanwhile. Errors of trackmllib's are raised, no progress is shown, and
    no report is made.
    """
    from trackmllib.session import Session

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
