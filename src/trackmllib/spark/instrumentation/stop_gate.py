"""Gate that closes when the user stops the search."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trackmllib.exceptions import SearchStopped


class StopGate:
    """Gate in front of the fits of one search.

    :param requested: Whether the search is to stop. Once it returns True, the gate stays closed,
        because Spark's pool continues with its queue.
    """

    def __init__(self, requested: Callable[[], bool]) -> None:
        self._requested = requested
        self._stopped = False
        self._running = 0
        self._changed = threading.Condition()

    @contextmanager
    def running_fit(self) -> Iterator[None]:
        """Context of a fit.

        :raises SearchStopped: The search is to stop; raised when no other fit is running.
        """
        with self._changed:
            self._stopped = self._stopped or self._requested()
            if self._stopped:
                self._changed.wait_for(lambda: self._running == 0)
                raise SearchStopped(
                    "the search was stopped on request; autolog(resume=True) reuses its scores"
                )
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()
