"""Recovery of the outboxes of dead processes.

An outbox keeps the events of open searches. Recovery rebuilds their states, ends each search at its
last recorded activity, as a Ctrl-C would have, and delivers the record.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone

from trackmllib.domain.descriptions import Failure
from trackmllib.domain.events import Event, SearchFailed, SearchStarted
from trackmllib.domain.operations import CloseSearch, EndRun, Operation
from trackmllib.domain.search_state import SearchState
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.outbox.integrity import DamagedOutbox
from trackmllib.outbox.orphaned import OrphanedOutbox
from trackmllib.outbox.recovered import RecoveredOutbox
from trackmllib.outbox.relay import Relay
from trackmllib.recorder.translator import Recorder
from trackmllib.support.guard import Guard, attempt


class BackgroundRecovery:
    """Recovers outboxes in the background.

    :param new_relay: Creates the relay that delivers the recovered operations.
    :param warn: Called with warnings, as sentences without a period.
    """

    def __init__(
        self,
        directory: OutboxDirectory | None,
        new_relay: Callable[[OrphanedOutbox], Relay],
        warn: Callable[[str], None],
    ) -> None:
        self._directory = directory
        self._warn = warn
        self.outbox = OrphanedOutbox(warn)
        self.relay = new_relay(self.outbox)

    def start(self) -> None:
        """Start to recover, if the directory has outboxes; return at once."""
        directory = self._directory
        if directory is not None and not attempt(directory.is_empty, True):
            threading.Thread(
                target=self._run, args=(directory,), name="trackmllib-recovery", daemon=True
            ).start()

    def stop(self) -> None:
        """Stop the delivery, and release the outboxes to the next process."""
        if self.relay.stop():
            self.outbox.release()

    def _run(self, directory: OutboxDirectory) -> None:
        with Guard("Recovering the records of ended processes", self._warn_of_error):
            recover(directory, self.outbox, self._warn)
            self.relay.start()

    def _warn_of_error(self, doing: str, error: Exception) -> None:
        self._warn(
            f"{doing} failed: {error}. The records stay on disk; `trackmllib sync` delivers them"
        )


def recover(
    directory: OutboxDirectory,
    orphaned: OrphanedOutbox,
    warn: Callable[[str], None],
    *,
    also_host: str | None = None,
    and_rejected: bool = False,
) -> None:
    """Claim the outboxes of dead processes, and end their searches.

    :param orphaned: Gets the outboxes, for delivery.
    :param warn: Called with warnings, as sentences without a period.
    :param also_host: Another machine, none of whose processes is alive.
    :param and_rejected: Whether to deliver rejected operations once more.
    """
    for entry in directory.entries():
        claimed = None
        try:
            claimed = directory.claim(entry, also_host=also_host, changed=orphaned.changed)
            if claimed is None:
                continue
            for search_id in end_dead_searches(claimed.outbox):
                warn(f"Search {search_id} died with its process; its runs end as KILLED")
            if and_rejected:
                claimed.outbox.requeue_rejected()
            orphaned.add(claimed)
        except DamagedOutbox as damage:
            warn(str(damage))
        except Exception as error:  # noqa: BLE001 - recover the other outboxes all the same
            if claimed is not None:
                claimed.lock.release()
            warn(f"{entry.path} could not be recovered, and stays as it is: {error}")


def end_dead_searches(outbox: RecoveredOutbox) -> list[str]:
    """End the open searches of a dead process; return those that died with it.

    A search without readable events may have ended before.
    """
    died = []
    for search_id in outbox.open_searches():
        operations, end = _end(outbox, search_id)
        if outbox.events(search_id):
            died.append(search_id)
        outbox.enqueue(operations, end)
    return died


def _end(outbox: RecoveredOutbox, search_id: str) -> tuple[list[Operation], SearchFailed]:
    events = outbox.events(search_id)
    last_ms = max((event.time_ms for event in events), default=outbox.last_ms(search_id))
    when = datetime.fromtimestamp(last_ms / 1000, tz=timezone.utc).isoformat(" ", "milliseconds")
    message = (
        "the process ended unexpectedly (kill -9, out of memory, or a machine crash); its last "
        f"recorded activity was at {when}"
    )
    end = SearchFailed(
        search_id=search_id,
        time_ms=last_ms,
        failure=Failure(type="ProcessDied", message=message, traceback=message, interrupted=True),
    )
    destination = attempt(lambda: outbox.destination(search_id), None)
    if destination is None or not events or not isinstance(events[0], SearchStarted):
        return _end_without_events(outbox, search_id, last_ms), end
    state = _state_after(events[0], [*events[1:], end])
    recorder = Recorder(destination)
    return list(recorder.process_died(end, state)), end


def _state_after(started: SearchStarted, events: list[Event]) -> SearchState:
    state = SearchState(started)
    for event in events:
        # An earlier event may be missing, because its text is damaged.
        with suppress(KeyError):
            state.apply(event)
    return state


def _end_without_events(outbox: RecoveredOutbox, search_id: str, last_ms: int) -> list[Operation]:
    """End the running runs of a search whose events are lost as KILLED."""
    child_runs = sorted(outbox.candidates(search_id))
    # End the parent run after its children.
    ends = [
        EndRun(
            search_id=search_id,
            candidate=candidate,
            status="KILLED",
            end_ms=last_ms,
            if_running=True,
        )
        for candidate in (*child_runs, None)
    ]
    return [*ends, CloseSearch(search_id=search_id)]
