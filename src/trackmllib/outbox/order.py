"""Which rows wait, and which of them are read next. Numbers only: the rows lie elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Container, Iterable
from itertools import islice

from trackmllib.outbox.base import LINGER_SECONDS

Run = tuple[str, int | None]

# Of a row that does not linger.
_AT_ONCE = 0.0


class Order:
    """The order of an outbox. Not for several threads at once: its outbox holds the lock."""

    def __init__(self) -> None:
        self._run_of: dict[int, Run] = {}
        self._due_of: dict[Run, dict[int, float]] = {}
        self.waiting: Counter[str] = Counter()

    def __contains__(self, number: object) -> bool:
        return number in self._run_of

    def __len__(self) -> int:
        return len(self._run_of)

    def add(self, number: int, run: Run, *, batch: bool, linger: bool = True) -> None:
        """A row that is put behind all others. A ``batch`` may linger."""
        later = time.monotonic() + (LINGER_SECONDS if linger else 0.0)
        self._run_of[number] = run
        self._due_of.setdefault(run, {})[number] = later if batch else _AT_ONCE
        self.waiting[run[0]] += 1

    def remove(self, number: int) -> str | None:
        """Take a row out; its search, or None if it is not here."""
        run = self._run_of.pop(number, None)
        if run is None:
            return None
        del self._due_of[run][number]
        if not self._due_of[run]:
            del self._due_of[run]
        self.waiting[run[0]] -= 1
        if not self.waiting[run[0]]:
            del self.waiting[run[0]]
        return run[0]

    def remove_search(self, search_id: str) -> None:
        """Take all rows of a search out."""
        for number in [n for n, run in self._run_of.items() if run[0] == search_id]:
            self.remove(number)

    def rows_to_read(self, limit: int, without: Container[str], linger: bool) -> Iterable[int]:
        """The rows of one run: that of the oldest row, or with ``linger`` of the first one that is
        due. What must not overtake an older row, pulls that one's run before it.
        """
        allowed = (item for item in self._run_of.items() if item[1][0] not in without)
        oldest = next(allowed, None)
        if oldest is None:
            return ()
        number, run = oldest
        if linger:
            now = time.monotonic()
            while self._due_of[run][number] > now:
                following = next(allowed, None)
                if following is None:
                    return ()
                number, run = following
            waits_for_all = run[1] is None and self._due_of[run][number] == _AT_ONCE
            if waits_for_all:
                run = oldest[1]
        return islice(tuple(self._due_of[run]), limit)
