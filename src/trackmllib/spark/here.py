"""What the current thread is doing: nothing of ours, a search, or a cell of one.

Spark computes cells in a pool of threads that inherit nothing from the thread of ``fit()``, so
each of them is told explicitly.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from trackmllib.settings import Settings
    from trackmllib.spark.cell import CellWatch
    from trackmllib.spark.interventions import Interventions
    from trackmllib.spark.watch import SearchWatch


class State(NamedTuple):
    """What a thread is doing.

    ``search`` is the search whose ``fit()`` it runs; ``cell`` the cell it computes, where a search
    that begins is nested under that cell's; ``muted`` says that it is inside of a search that is
    not recorded, or no more. ``interventions`` are those of the search.
    """

    search: SearchWatch | None = None
    cell: CellWatch | None = None
    muted: bool = False
    interventions: Interventions | None = None


class Here(threading.local):
    """The state of this thread."""

    state = State()

    @property
    def search(self) -> SearchWatch | None:
        return self.state.search

    @property
    def cell(self) -> CellWatch | None:
        return self.state.cell

    @property
    def settings(self) -> Settings | None:
        """The settings of the search that this thread is inside of."""
        within = self.state.search or self.state.cell
        return None if within is None else within.settings

    @property
    def inside(self) -> bool:
        """Whether this thread runs code on behalf of a search."""
        return self.state != State()


class Bound:
    """Sets the state of this thread for the length of a ``with`` block."""

    def __init__(self, here: Here, state: State) -> None:
        self._here = here
        self._state = state

    def __enter__(self) -> None:
        self._before = self._here.state
        self._here.state = self._state

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._here.state = self._before
