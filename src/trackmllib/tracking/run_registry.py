"""Run ids, settled names and decisions of a search, kept in its outbox.

A process that recovers the search thus decides as the dead process did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

# Names of entries: the parent run and its artifact URI, experiment, server and workspace.
RUN = "run"
FILES = "files"
EXPERIMENT = "experiment"
SERVER = "server"
WORKSPACE = "workspace"
# Whether trackmllib created the parent run, so that nothing else is in it.
MADE = "made"
# Why MLflow rejected the parent run.
REJECTED = "rejected"
# Whether a creation was repeated, so that a run may exist twice.
DOUBTFUL = "doubtful"
# Whether a recovery found the end of the search on the server ("yes" or "no").
ENDED = "ended"
# Whether the last description was written.
DESCRIBED = "described"
_CHILD = "child/"


def run(candidate: int | None) -> str:
    """The entry for the run id of a candidate, or for None the parent run."""
    return RUN if candidate is None else f"{_CHILD}{candidate}"


def rejection(candidate: int | None) -> str:
    """The entry for the reason why a run was rejected."""
    return REJECTED if candidate is None else f"{REJECTED}/{candidate}"


class RegistryStore(Protocol):
    """Store of the entries, such as an outbox."""

    def save_registry(
        self, search_id: str, entries: Mapping[str, str], *, durable: bool = False
    ) -> None: ...

    def load_registry(self, search_id: str) -> dict[str, str]: ...

    def has_waiting_rows(self, search_id: str, candidate: int | None) -> bool: ...

    def undelivered(self, search_id: str | None = None) -> tuple[int, int, int]: ...


class RunRegistry:
    """The entries of one search."""

    def __init__(self, search_id: str, store: RegistryStore) -> None:
        self.search_id = search_id
        self._store = store
        self._entries = store.load_registry(search_id)
        self._uncommitted: dict[str, str] | None = None

    def get(self, name: str) -> str | None:
        """An entry, for the thread that executes operations."""
        return (self._uncommitted or {}).get(name) or self._entries.get(name)

    def get_committed(self, name: str) -> str | None:
        """An entry, for other threads: ignores an open transaction."""
        return self._entries.get(name)

    def save(self, entries: Mapping[str, str], *, durable: bool = False) -> None:
        """Add entries, before anything that depends on them is done.

        ``durable``: nothing else could restore them after a machine crash.
        """
        if self._uncommitted is not None:
            self._uncommitted.update(entries)
        elif entries:
            self._store.save_registry(self.search_id, entries, durable=durable)
            self._entries.update(entries)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Save all entries of the block at its end, or none if the block raises."""
        uncommitted: dict[str, str] = {}
        self._uncommitted = uncommitted
        try:
            yield
        finally:
            self._uncommitted = None
        self.save(uncommitted)

    def save_again(self) -> bool:
        """Save all entries once more, if the outbox may have deleted them.

        Return whether there is a parent run.
        """
        self._store.save_registry(self.search_id, dict(self._entries))
        return RUN in self._entries

    def runs(self) -> dict[int | None, str]:
        """The ids of created runs, by candidate; None is the parent run."""
        found: dict[int | None, str] = {
            int(name.removeprefix(_CHILD)): run_id
            for name, run_id in dict(self._entries).items()
            if name.startswith(_CHILD)
        }
        return {None: self._entries[RUN], **found} if RUN in self._entries else {}


class RunRegistries:
    """The registries of the searches whose operations this process executes."""

    def __init__(self, store: RegistryStore) -> None:
        self.store = store
        self._registries: dict[str, RunRegistry] = {}

    def get(self, search_id: str) -> RunRegistry:
        """The registry of a search, kept until ``forget``."""
        if search_id not in self._registries:
            self._registries[search_id] = RunRegistry(search_id, self.store)
        return self._registries[search_id]

    def find(self, search_id: str) -> RunRegistry | None:
        """The registry of a search, if it is kept."""
        return self._registries.get(search_id)

    def load(self, search_id: str) -> RunRegistry:
        """The registry of a search, without keeping it."""
        return self.find(search_id) or RunRegistry(search_id, self.store)

    def all(self) -> list[RunRegistry]:
        return list(self._registries.values())

    def on_same_run(self, registry: RunRegistry) -> list[RunRegistry]:
        """The registries of other searches that log to the same parent run."""
        place = (registry.get(SERVER), registry.get(RUN))
        others = [each for each in self.all() if each is not registry]
        return [each for each in others if (each.get(SERVER), each.get(RUN)) == place]

    def forget(self, search_id: str) -> None:
        self._registries.pop(search_id, None)
