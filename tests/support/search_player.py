"""Sessions that record events of searches that never ran."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trackmllib.config.settings import Settings
from trackmllib.domain.events import Event, SearchStarted
from trackmllib.domain.operations import Destination, Operation
from trackmllib.domain.search_state import SearchState
from trackmllib.exceptions import Unavailable
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.runtime.session import Session


class Player:
    """A session that records to ``uri``; ``tables`` has the live state of each search."""

    def __init__(self, folder: Path, uri: str, experiment_id: str = "0", **settings: Any) -> None:
        self.uri = uri
        self.experiment_id = experiment_id
        self.tables: dict[str, SearchState] = {}
        # The active run of the user; None for a new run per search.
        self.active: str | None = None
        quiet = {
            "wait": False,
            "silent": True,
            "flush_timeout": 0.0,
            "strict": False,
            "report": False,
        }
        self.session = Session(
            Settings(**{**quiet, **settings}),
            directory=OutboxDirectory(folder / "outbox"),
            destination=self._destination,
        )

    def play(self, events: Iterable[Event]) -> str:
        """Emit the events of a search and its inner searches, and wait for their delivery.

        Returns the id of the outer search.
        """
        first = self.emit(events)
        assert self.session.flush(60)
        return first

    def emit(self, events: Iterable[Event]) -> str:
        """Emit such events without waiting for their delivery."""
        first = ""
        for event in events:
            first = first or event.search_id
            if isinstance(event, SearchStarted):
                self.tables[event.search_id] = SearchState(event)
            self.tables[event.search_id].apply(event)
            self.session.callbacks.emit(event)
        return first

    def _destination(self) -> Destination:
        return Destination(
            tracking_uri=self.uri,
            experiment_id=self.experiment_id,
            run_id=self.active,
            owned=self.active is None,
        )


class UnreachableTarget:
    """A target that is never available."""

    def apply(self, operation: Operation, redelivered: bool = False) -> None:
        raise Unavailable("away")

    def forget(self, search_id: str) -> None: ...


def new_session(
    home: Path,
    uri: str,
    target: UnreachableTarget | None = None,
    *,
    experiment_id: str = "0",
    children: str = "all",
) -> Session:
    """Create a session that never waits, with its outbox in ``home``, recording to ``uri``."""
    return Session(
        Settings(wait=False, silent=True, flush_timeout=0.0, report=False, children=children),
        directory=OutboxDirectory(home / "outbox"),
        target=target,
        destination=lambda: Destination(tracking_uri=uri, experiment_id=experiment_id),
    )
