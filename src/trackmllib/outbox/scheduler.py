"""Order in which the waiting rows of an outbox are read.

Batches linger for up to a second, so that one request delivers more of them. While more than fifty
runs of a search have waiting rows, batches of its child runs linger as long as one request to each
of these runs takes, up to five seconds. That delay stays until the queue drains: if it shrank with
the queue, batches would split.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable
from heapq import merge
from itertools import chain, islice
from typing import TypeVar

Run = tuple[str, int | None]
T = TypeVar("T")

LINGER_SECONDS = 1.0
LONGEST_LINGER_SECONDS = 5.0
LINGER_SECONDS_PER_RUN = 0.02

# The times of rows that do not linger, and of rows that have lingered long enough.
_AT_ONCE = -math.inf
_LONG_AGO = -1e9


class Scheduler:
    """Numbers and runs of the waiting rows, without their operations.

    Not thread-safe: callers hold the lock of the outbox. ``monotonic`` is a clock, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        # The run of each row, by search and number. A large search has a hundred thousand rows.
        self._rows_of_search: dict[str, dict[int, Run]] = {}
        self._size = 0
        self._held: set[int] = set()
        self._held_of: Counter[str] = Counter()
        self._since_of: dict[Run, dict[int, float]] = {}
        # Per search, the number of runs with waiting rows, and its maximum since none waited.
        self._runs_of: Counter[str] = Counter()
        self._most_runs_of: Counter[str] = Counter()

    def waiting(self, search_id: str | None = None) -> int:
        """The number of waiting rows, of one search or of all."""
        return self._size if search_id is None else len(self._rows_of_search.get(search_id, ()))

    def has_waiting_rows(self, run: Run) -> bool:
        """Whether a row of a run waits."""
        return run in self._since_of

    def has_readable_rows(self, search_id: str) -> bool:
        """Whether a search has waiting rows that are not held."""
        return self.waiting(search_id) > self._held_of[search_id]

    def add(self, number: int, run: Run, *, batch: bool, linger: bool = True) -> None:
        """Append a row. A ``batch`` lingers, unless ``linger`` is False."""
        waiting = self._since_of.get(run)
        if waiting is None:
            waiting = self._since_of[run] = {}
            self._runs_of[run[0]] += 1
            self._most_runs_of[run[0]] = max(self._runs_of[run[0]], self._most_runs_of[run[0]])
        rows = self._rows_of_search.setdefault(run[0], {})
        # All rows of a run share one object.
        rows[number] = rows[next(iter(waiting))] if waiting else run
        self._size += 1
        since = self._monotonic() if linger else _LONG_AGO
        waiting[number] = since if batch else _AT_ONCE

    def hold(self, numbers: Iterable[int]) -> None:
        """Skip rows until ``unhold``; they still wait."""
        for number in numbers:
            search_id = self._search_of(number)
            if search_id is not None and number not in self._held:
                self._held.add(number)
                self._held_of[search_id] += 1

    def unhold(self, numbers: Iterable[int]) -> None:
        """Undo ``hold``."""
        for number in self._held.intersection(numbers):
            self._unhold(number, str(self._search_of(number)))

    def remove(self, number: int) -> str | None:
        """Remove a row; return its search, or None for an unknown row."""
        search_id = self._search_of(number)
        if search_id is None:
            return None
        if number in self._held:
            self._unhold(number, search_id)
        rows = self._rows_of_search[search_id]
        run = rows.pop(number)
        self._size -= 1
        del self._since_of[run][number]
        if not self._since_of[run]:
            del self._since_of[run]
            self._runs_of[run[0]] -= 1
        if not rows:
            del self._rows_of_search[run[0]]
            del self._runs_of[run[0]], self._most_runs_of[run[0]]
        return search_id

    def remove_search(self, search_id: str) -> None:
        """Remove all rows of a search."""
        for number in list(self._rows_of_search.get(search_id, ())):
            self.remove(number)

    def next_rows(
        self, limit: int, exclude: Container[str], linger: bool, runs: int = 1
    ) -> Iterable[int]:
        """The numbers of the rows to read next.

        First come the rows of the run of the oldest row; with ``linger``, of the oldest row that is
        due, unless that row must not overtake older ones. Rows of further runs of the same search
        follow, for ``runs`` in all.
        """
        allowed = merge(
            *(
                self._not_held(rows)
                for search_id, rows in self._rows_of_search.items()
                if search_id not in exclude
            )
        )
        oldest = next(allowed, None)
        if oldest is None:
            return ()
        number, run = oldest
        now = self._monotonic() if linger else math.inf
        if linger:
            while not self._is_due(number, run, now):
                following = next(allowed, None)
                if following is None:
                    return ()
                number, run = following
            is_barrier = run[1] is None and self._since_of[run][number] == _AT_ONCE
            if is_barrier:
                run = oldest[1]
        chosen = {run: None}
        if runs > 1:
            for number, other in self._not_held(self._rows_of_search[run[0]]):
                if other not in chosen and self._is_due(number, other, now):
                    chosen[other] = None
                    if len(chosen) == runs:
                        break
        rows = chain.from_iterable(self._rows_of(run, now) for run in chosen)
        return list(islice(rows, limit))

    def _search_of(self, number: int) -> str | None:
        return next((each for each, rows in self._rows_of_search.items() if number in rows), None)

    def _unhold(self, number: int, search_id: str) -> None:
        self._held.discard(number)
        self._held_of[search_id] -= 1
        if not self._held_of[search_id]:
            del self._held_of[search_id]

    def _is_due(self, number: int, run: Run, now: float) -> bool:
        """Whether a row has lingered long enough."""
        of_all_runs = LINGER_SECONDS_PER_RUN * self._most_runs_of[run[0]]
        of_child_run = min(max(LINGER_SECONDS, of_all_runs), LONGEST_LINGER_SECONDS)
        linger = LINGER_SECONDS if run[1] is None else of_child_run
        return self._since_of[run][number] <= now - linger

    def _rows_of(self, run: Run, now: float) -> list[int]:
        """The rows of a run to read; young batches at its end linger."""
        since_of = dict(self._not_held(self._since_of[run]))
        numbers = list(since_of)
        at_once = [place for place, since in enumerate(since_of.values()) if since == _AT_ONCE]
        lingering = [number for number, since in since_of.items() if since != _AT_ONCE]
        if not at_once or any(self._is_due(number, run, now) for number in lingering):
            return numbers
        return numbers[: at_once[-1] + 1]

    def _not_held(self, rows: dict[int, T]) -> Iterable[tuple[int, T]]:
        if not self._held:
            return rows.items()
        return ((number, item) for number, item in rows.items() if number not in self._held)
