"""A process with a real outbox and relay, which can be killed between two requests."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.faulty_server import FakeServer, Fault, connect, connected
from trackmllib.domain.events import SearchStarted
from trackmllib.domain.operations import Destination
from trackmllib.domain.search_state import SearchState
from trackmllib.exceptions import Rejected
from trackmllib.outbox.backoff import Backoff
from trackmllib.outbox.recovered import RecoveredOutbox
from trackmllib.outbox.relay import Relay
from trackmllib.recorder.translator import Recorder
from trackmllib.runtime.recovery import end_dead_searches
from trackmllib.tracking.executor import MlflowExecutor


class NoWait(Backoff):
    SECONDS = 0.0005

    def on_unavailable(self) -> float:
        return self.SECONDS


class MortalOutbox(RecoveredOutbox):
    """Ends all waits when its process dies."""

    def __init__(self, path: Path) -> None:
        self.condition = threading.Condition()
        self.dead = False
        super().__init__(path, self.condition)

    def die(self) -> None:
        with self.condition:
            self.dead = True
            self.condition.notify_all()

    def wait_until_empty(self, search_id, timeout):
        with self.condition:
            self.condition.wait_for(lambda: self.dead or not self.waiting(search_id), timeout)
            return self.dead or not self.waiting(search_id)


class MortalTarget:
    def __init__(self, executor: MlflowExecutor, outbox: MortalOutbox) -> None:
        self.executor = executor
        self._outbox = outbox

    def apply(self, operation, redelivered=False):
        try:
            self.executor.apply(operation, redelivered)
        except SystemExit:
            self._outbox.die()
            raise

    def answers(self, search_id):
        return self.executor.answers(search_id)

    def forget(self, search_id):
        self.executor.forget(search_id)


class Process:
    """A process that records and delivers; its successor gets a copy of its outbox."""

    def __init__(self, folder: Path, server: FakeServer) -> None:
        self._folder = folder
        self._server = server
        self._lives = 0
        self.notes: list[str] = []
        self.rejected: list[str] = []
        # Threads of other tests may still send requests.
        self._others = set(threading.enumerate())
        self._start(folder / "0.db")

    def _start(self, path: Path) -> None:
        connect(self._server)
        self.outbox = MortalOutbox(path)
        self._running: dict[str, tuple[SearchState, Recorder]] = {}
        executor = MlflowExecutor(lambda _, text: self.notes.append(text), self.outbox)
        self.target = MortalTarget(executor, self.outbox)
        self.relay = Relay(self.outbox, self.target, self._on_failure, NoWait)

    def _on_failure(self, operation, error) -> None:
        # The next process sends deferred operations.
        if isinstance(error, Rejected):
            self.rejected.append(f"{operation}: {error}")

    def emit(self, destination: Destination, event) -> None:
        if isinstance(event, SearchStarted):
            result = SearchState(event)
            self._running[event.search_id] = (result, Recorder(destination))
        result, recorder = self._running[event.search_id]
        result.apply(event)
        self.outbox.enqueue(list(recorder.operations(event, result)), event)

    def records(self, search_id: str) -> bool:
        return search_id in self._running

    def deliver(self, *faults: Fault) -> bool:
        """Deliver all operations that others wait for; False if the process died."""
        self._server.faults = list(faults)
        self.relay.start()
        left = self.relay.flush(None, 20.0)
        assert left <= self.relay.blocked_count() or self.outbox.dead
        self._server.faults = []
        return not self.outbox.dead

    def deliver_until_failure(self) -> None:
        """Deliver operations until all are delivered or one fails and waits."""
        faults = len(self._server.faults)
        while self.outbox.waiting() and len(self._server.faults) == faults:
            time.sleep(NoWait.SECONDS)
            self.relay.deliver_ready()

    def kill(self, snapshot: Path | None = None) -> None:
        """Die, and start the next process with the files, or with a ``snapshot`` of them."""
        self._stop()
        self._lives += 1
        path = self._folder / f"{self._lives}.db"
        copy_outbox(snapshot or self.outbox.path, path)
        self.outbox.close()
        self._start(path)

    def crash(self) -> None:
        """Die, and let the next process end the searches."""
        self.kill()
        end_dead_searches(self.outbox)

    def end(self) -> None:
        self._stop()
        self.outbox.close()

    def _stop(self) -> None:
        self.relay.stop()
        for thread in set(threading.enumerate()) - self._others:
            if thread.name == "trackmllib-relay":
                thread.join(5)


def copy_outbox(from_path: Path, to_path: Path) -> None:
    for suffix in ("", "-wal"):
        if Path(f"{from_path}{suffix}").exists():
            shutil.copy(f"{from_path}{suffix}", f"{to_path}{suffix}")


@contextmanager
def _fast_relays():
    """Make relay threads idle briefly, and end silently on SystemExit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trackmllib.outbox.relay.IDLE_SECONDS", 0.005)
        patch.setattr("trackmllib.outbox.relay.LOOK_AGAIN_SECONDS", 0.001)
        others = threading.excepthook

        def unless_killed(found):
            if found.exc_type is not SystemExit:
                others(found)

        patch.setattr(threading, "excepthook", unless_killed)
        yield


@contextmanager
def process(server: FakeServer):
    with connected(), _fast_relays(), tempfile.TemporaryDirectory() as folder:
        running = Process(Path(folder), server)
        try:
            yield running
        finally:
            running.end()


def settle(running: Process) -> None:
    """Deliver the rest with another process."""
    running.crash()
    assert running.deliver()
    assert running.outbox.waiting() == 0
    assert running.outbox.open_searches() == []
    assert running.rejected == []
