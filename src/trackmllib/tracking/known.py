"""What is known of a search on its server: the ids of its runs, and the names that were settled.

Kept in the outbox too, so that whoever takes a search over decides as was decided before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol


class Memory(Protocol):
    """Where it is kept; an Outbox is one."""

    def remember(
        self, search_id: str, facts: Mapping[str, str], *, on_disk: bool = False
    ) -> None: ...

    def recall(self, search_id: str) -> dict[str, str]: ...

    def waits_for_run(self, search_id: str, candidate: int | None) -> bool: ...

    def undelivered(self, search_id: str | None = None) -> tuple[int, int, int]: ...


class Known:
    """The facts of one search."""

    def __init__(self, search_id: str, memory: Memory) -> None:
        self.search_id = search_id
        self._memory = memory
        self._facts = memory.recall(search_id)
        self._new: dict[str, str] | None = None

    def get(self, name: str) -> str | None:
        """For the thread that applies operations."""
        return (self._new or {}).get(name) or self._facts.get(name)

    def stands(self, name: str) -> str | None:
        """For all others: not what may still be undone."""
        return self._facts.get(name)

    def keep(self, facts: Mapping[str, str], *, on_disk: bool = False) -> None:
        """Add facts before anything is done that follows from them; ``on_disk`` for those that
        cannot be found out again after a crash of the machine.
        """
        if self._new is not None:
            self._new.update(facts)
        elif facts:
            self._memory.remember(self.search_id, facts, on_disk=on_disk)
            self._facts.update(facts)

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Facts that are kept in here are kept at the end of it, unless that is an error."""
        new: dict[str, str] = {}
        self._new = new
        try:
            yield
        finally:
            self._new = None
        self.keep(new)

    def keep_again(self) -> bool:
        """Keep all of it once more, where it may have been dropped; whether there is a main run."""
        self._memory.remember(self.search_id, dict(self._facts))
        return RUN in self._facts

    def runs(self) -> dict[int | None, str]:
        """The ids of the runs that were made, by candidate; None is the main run."""
        found: dict[int | None, str] = {
            int(name.removeprefix(_CHILD)): run_id
            for name, run_id in dict(self._facts).items()
            if name.startswith(_CHILD)
        }
        return {None: self._facts[RUN], **found} if RUN in self._facts else {}


# Names of facts: the parent run and where its files are, its experiment, server and workspace;
# whether trackmllib MADE it, so that nothing else is in it; why MLflow rejected it; whether a run
# was looked for before it was made, and so may exist twice; whether a recovery found its end
# (yes or no); whether its last description was written.
RUN = "run"
FILES = "files"
EXPERIMENT = "experiment"
SERVER = "server"
WORKSPACE = "workspace"
MADE = "made"
REJECTED = "rejected"
DOUBTFUL = "doubtful"
ENDED = "ended"
DESCRIBED = "described"
_CHILD = "child/"


def run(candidate: int | None) -> str:
    """The name of the fact that holds the run id of a candidate, or of the main run."""
    return RUN if candidate is None else f"{_CHILD}{candidate}"


def rejection(candidate: int | None) -> str:
    """The name of the fact that says why a run was rejected."""
    return REJECTED if candidate is None else f"{REJECTED}/{candidate}"
