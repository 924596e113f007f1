"""What the current thread is doing: nothing of ours, a search, or a cell of one.

Spark computes cells in a pool of threads that inherit nothing from the thread of ``fit()``, so
each of them is told explicitly.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trackmllib.spark.watch import CellWatch, SearchWatch


class Here(threading.local):
    """The state of this thread.

    ``search`` is the search whose folds this thread lays out; ``cell`` the cell it computes;
    ``muted`` says that it is inside of a search whose inner fits are nobody's business.
    """

    search: SearchWatch | None = None
    cell: CellWatch | None = None
    muted: bool = False

    @property
    def inside(self) -> bool:
        """Whether this thread runs code on behalf of a search."""
        return self.muted or self.search is not None

    @property
    def taken(self) -> bool:
        """Whether a tuner fitted now is part of a search, and not the search itself."""
        if self.muted or self.search is None:
            return self.muted
        return self.search.begun or not self.search.delegates


class Bound:
    """Sets the state of this thread for the length of a ``with`` block."""

    def __init__(
        self,
        here: Here,
        *,
        search: SearchWatch | None = None,
        cell: CellWatch | None = None,
        muted: bool = False,
    ) -> None:
        self._here = here
        self._state = (search, cell, muted)

    def __enter__(self) -> None:
        here = self._here
        self._before = (here.search, here.cell, here.muted)
        here.search, here.cell, here.muted = self._state

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        here = self._here
        here.search, here.cell, here.muted = self._before
