"""Which rows wait, and which of them are read next. Numbers only: the rows lie elsewhere."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable
from heapq import merge
from itertools import chain, islice
from typing import TypeVar

from trackmllib.outbox.base import (
    LINGER_SECONDS,
    LINGER_SECONDS_A_RUN,
    LONGEST_LINGER_SECONDS,
)

Run = tuple[str, int | None]
T = TypeVar("T")

# Since when a row waits that does not linger, and one that has lingered long enough.
_AT_ONCE = -math.inf
_LONG_AGO = -1e9


class Order:
    """The order of an outbox. Not for several threads at once: its outbox holds the lock.

    ``monotonic`` is the clock by which rows linger, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        # A large search has a hundred thousand rows: the run of each, by search and number.
        self._rows_of_search: dict[str, dict[int, Run]] = {}
        self._size = 0
        self._held: set[int] = set()
        self._held_of: Counter[str] = Counter()
        self._since_of: dict[Run, dict[int, float]] = {}
        # Of how many runs of a search something waits, and of how many at most since nothing did.
        self._runs_of: Counter[str] = Counter()
        self._most_runs_of: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._size

    def waiting(self, search_id: str) -> int:
        """How many rows of a search wait."""
        return len(self._rows_of_search.get(search_id, ()))

    def waits_for_run(self, run: Run) -> bool:
        """Whether a row of a run waits."""
        return run in self._since_of

    def has_readable(self, search_id: str) -> bool:
        """Whether a row of a search waits that is not held."""
        return self.waiting(search_id) > self._held_of[search_id]

    def add(self, number: int, run: Run, *, batch: bool, linger: bool = True) -> None:
        """A row that is put behind all others. A ``batch`` may linger."""
        waiting = self._since_of.get(run)
        if waiting is None:
            waiting = self._since_of[run] = {}
            self._runs_of[run[0]] += 1
            self._most_runs_of[run[0]] = max(self._runs_of[run[0]], self._most_runs_of[run[0]])
        rows = self._rows_of_search.setdefault(run[0], {})
        # One object for all rows of a run.
        rows[number] = rows[next(iter(waiting))] if waiting else run
        self._size += 1
        since = self._monotonic() if linger else _LONG_AGO
        waiting[number] = since if batch else _AT_ONCE

    def hold(self, numbers: Iterable[int]) -> None:
        """Read other rows before these; they still wait."""
        for number in numbers:
            search_id = self._search_of(number)
            if search_id is not None and number not in self._held:
                self._held.add(number)
                self._held_of[search_id] += 1

    def unhold(self, numbers: Iterable[int]) -> None:
        """Read rows in their order again."""
        for number in self._held.intersection(numbers):
            self._let_go(number, str(self._search_of(number)))

    def remove(self, number: int) -> str | None:
        """Take a row out; its search, or None if it is not here."""
        search_id = self._search_of(number)
        if search_id is None:
            return None
        if number in self._held:
            self._let_go(number, search_id)
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
        """Take all rows of a search out."""
        for number in list(self._rows_of_search.get(search_id, ())):
            self.remove(number)

    def rows_to_read(
        self, limit: int, without: Container[str], linger: bool, runs: int = 1
    ) -> Iterable[int]:
        """The rows of one run: that of the oldest row, or with ``linger`` of the first one that is
        due. What must not overtake an older row, pulls that one's run before it. Then those of the
        next runs of the same search that are due, up to so many.
        """
        allowed = merge(
            *(
                self._not_held(rows)
                for search_id, rows in self._rows_of_search.items()
                if search_id not in without
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
            waits_for_all = run[1] is None and self._since_of[run][number] == _AT_ONCE
            if waits_for_all:
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

    def _let_go(self, number: int, search_id: str) -> None:
        self._held.discard(number)
        self._held_of[search_id] -= 1
        if not self._held_of[search_id]:
            del self._held_of[search_id]

    def _is_due(self, number: int, run: Run, now: float) -> bool:
        """Whether a row has lingered long enough: one of a child run lingers the longer the more
        runs of its search wait, or have waited.
        """
        of_all = 0.0 if run[1] is None else LINGER_SECONDS_A_RUN * self._most_runs_of[run[0]]
        linger = min(max(LINGER_SECONDS, of_all), LONGEST_LINGER_SECONDS)
        return self._since_of[run][number] <= now - linger

    def _rows_of(self, run: Run, now: float) -> list[int]:
        """What is read of a run that is read: all of it, or what is not to linger, and what is
        before that, where all that lingers is young.
        """
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
