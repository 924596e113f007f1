"""Thread-local context: the search and the fit that a thread works on.

Threads of Spark's pool inherit nothing from the thread of ``fit()``, so each task enters its
context explicitly.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from trackmllib.config.settings import Settings
    from trackmllib.spark.instrumentation.fit_tracker import FitTracker
    from trackmllib.spark.instrumentation.search_tracker import SearchTracker
    from trackmllib.spark.middleware.base import MiddlewareStack


class Work(NamedTuple):
    """Work of a thread: a ``search`` with its ``middleware``, or a ``fit``.

    ``muted``: the thread is inside a search that is not, or no longer, recorded.
    """

    search: SearchTracker | None = None
    fit: FitTracker | None = None
    muted: bool = False
    middleware: MiddlewareStack | None = None


class ThreadContext(threading.local):
    """Work of the current thread."""

    work = Work()

    @property
    def search(self) -> SearchTracker | None:
        return self.work.search

    @property
    def fit(self) -> FitTracker | None:
        return self.work.fit

    @property
    def settings(self) -> Settings | None:
        """Settings of the search that this thread works for."""
        tracker = self.work.search or self.work.fit
        return None if tracker is None else tracker.settings

    @property
    def is_in_search(self) -> bool:
        """Whether this thread works for a search."""
        return self.work != Work()

    def enter(self, work: Work) -> _Entered:
        """Set the work of this thread for a ``with`` block."""
        return _Entered(self, work)


class _Entered:
    def __init__(self, context: ThreadContext, work: Work) -> None:
        self._context = context
        self._work = work

    def __enter__(self) -> None:
        self._before = self._context.work
        self._context.work = self._work

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._context.work = self._before
