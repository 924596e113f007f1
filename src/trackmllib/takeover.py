"""Takes over what a process has left that died without a word: its searches end as KILLED.

The facts of a search lie in its outbox until it is over. From them its table is built again, and
the record gets the end that a Ctrl-C would have given it, at the last sign of life.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone

from trackmllib.events import Event, Failure, SearchFailed, SearchStarted
from trackmllib.guard import attempt
from trackmllib.operations import CloseSearch, EndRun, Operation
from trackmllib.outbox.estate import Estate
from trackmllib.outbox.home import Home
from trackmllib.outbox.left_behind import LeftBehind
from trackmllib.recorder.record import Recorder
from trackmllib.search_result import SearchResult


def take_over(
    home: Home,
    estate: Estate,
    say: Callable[[str], None],
    *,
    also_host: str | None = None,
    and_rejected: bool = False,
) -> None:
    """Take over every outbox in ``home`` whose process has died, end its searches, and add it to
    ``estate``, to be delivered.

    ``say`` is told what users should know. ``and_rejected``: rejected rows are sent once more.
    ``also_host`` names another machine, none of whose processes is alive any more.
    """
    for entry in home.entries():
        held = None
        try:
            held = home.take(entry, also_host=also_host, changed=estate.changed)
            if held is None:
                continue
            for search_id in end_dead_searches(held.outbox):
                say(f"Search {search_id} died with its process; it ends as KILLED")
            if and_rejected:
                held.outbox.take_back_rejected()
            estate.adopt(held)
        except Exception as error:  # noqa: BLE001 - one file must not keep others from their heir
            if held is not None:
                held.lock.release()
            say(f"{entry.path} was left by another process, and stays as it is: {error}")


def end_dead_searches(outbox: LeftBehind) -> list[str]:
    """End the searches that are open in the outbox of a dead process; the ids of those that died.

    Of a damaged file every search counts as open; one whose facts are gone may have ended well.
    """
    died = []
    for search_id in outbox.open_searches():
        operations, end = _end(outbox, search_id)
        if outbox.events(search_id):
            died.append(search_id)
        outbox.put(operations, end)
    return died


def _end(outbox: LeftBehind, search_id: str) -> tuple[list[Operation], SearchFailed]:
    events = outbox.events(search_id)
    last_ms = max((event.time_ms for event in events), default=outbox.last_ms(search_id))
    when = datetime.fromtimestamp(last_ms / 1000, tz=timezone.utc).isoformat(" ", "milliseconds")
    message = (
        "the process ended without a word (kill -9, out of memory, or a crash of the machine); its "
        f"last sign of life was at {when}"
    )
    end = SearchFailed(
        search_id=search_id,
        time_ms=last_ms,
        failure=Failure(type="ProcessDied", message=message, traceback=message, interrupted=True),
    )
    destination = attempt(lambda: outbox.destination(search_id), None)
    if destination is None or not events or not isinstance(events[0], SearchStarted):
        return _least(outbox, search_id, last_ms), end
    result = _result(events[0], [*events[1:], end])
    recorder = Recorder(destination, result)
    return list(recorder.process_died(end, result)), end


def _result(started: SearchStarted, events: list[Event]) -> SearchResult:
    result = SearchResult(started)
    for event in events:
        # Of a file that was damaged a fact may be missing that this one follows from.
        with suppress(KeyError):
            result.apply(event)
    return result


def _least(outbox: LeftBehind, search_id: str, last_ms: int) -> list[Operation]:
    """What can be said of a search whose facts are gone with a part of its file: that its runs have
    ended, those of which the end itself could be read as it says, the others KILLED.
    """
    of_runs = (None, *sorted(outbox.candidates(search_id)))
    ends = [
        EndRun(
            search_id=search_id,
            candidate=candidate,
            status="KILLED",
            end_ms=last_ms,
            if_running=True,
        )
        for candidate in of_runs
    ]
    # The main run is ended after its children.
    return [*ends[1:], ends[0], CloseSearch(search_id=search_id)]
