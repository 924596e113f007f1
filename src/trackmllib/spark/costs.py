"""What Spark's jobs of each search and each cell cost, added up by the tags that they carry."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from trackmllib.events import Cost
from trackmllib.guard import attempt
from trackmllib.spark.jobs import PREFIX, classic_context
from trackmllib.spark.status import Busy, StatusStore

READ_SECONDS = 5.0


class Costs:
    """The costs of all searches of this process. Spark is asked by a thread of our own, every few
    seconds while a search runs, because it keeps the last jobs only; and once at the end of each.

    ``report`` is told once why costs cannot be read, and then nothing more is read of this Spark.
    """

    def __init__(self, report: Callable[[Exception], None]) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._store: StatusStore | None = None
        self._broken: Any = None
        self._by_tag: defaultdict[str, Cost] = defaultdict(Cost)
        # Jobs without a tag of ours: when they were submitted, and what they cost.
        self._others: list[tuple[int, Cost]] = []
        self._readers: dict[str, Callable[[], Callable[[], None]]] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    def search_begins(self, tag: str, read: Callable[[], Callable[[], None]]) -> None:
        """From now on ``read`` is called now and then, in another thread, and what it returns once
        all is known of the jobs that had ended by then.
        """
        self.refresh(open_only=True)
        with self._wake:
            self._readers[tag] = read
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="trackmllib-costs", daemon=True
                )
                self._thread.start()

    def search_ends(self, tag: str) -> None:
        """Nothing more is asked about this search."""
        with self._wake:
            self._readers.pop(tag, None)
            if not self._readers:
                self._wake.notify_all()
        with self._lock:
            for known in [known for known in self._by_tag if known.startswith(tag)]:
                del self._by_tag[known]

    def refresh(self, *, open_only: bool = False) -> bool:
        """Read what has ended since the last time; whether all is known of jobs that have ended
        before this call.
        """
        with self._lock:
            context = classic_context()
            if context is None or context is self._broken:
                return False
            try:
                if self._store is None or self._store.context is not context:
                    self._store = StatusStore(context)
                if not open_only:
                    self._count(self._store)
            except Busy:
                return False
            except Exception as error:  # noqa: BLE001 - of Java, of py4j, or of a stopped Spark
                self._broken, self._store = context, None
                if not attempt(lambda: bool(context._jsc.sc().isStopped()), True):
                    self._report(error)
                return False
            return True

    def of(self, tag: str) -> Cost:
        """What the jobs with this tag cost, as far as it was read."""
        with self._lock:
            return self._by_tag.get(tag, Cost())

    def take_others(self, start_ms: int, end_ms: int) -> Cost:
        """What jobs cost that carry no tag of ours and were submitted in this time. They are
        counted with the search that asks first.
        """
        with self._lock:
            taken = [cost for ms, cost in self._others if start_ms <= ms <= end_ms]
            self._others = [one for one in self._others if one[0] > end_ms]
        return sum(taken, Cost())

    def _count(self, store: StatusStore) -> None:
        for job in store.ended():
            ours = [tag for tag in job.tags if tag.startswith(PREFIX)]
            for tag in ours:
                self._by_tag[tag] += job.cost
            if not ours:
                self._others.append((job.submitted_ms, job.cost))

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: not self._readers, READ_SECONDS)
                if not self._readers:
                    self._thread = None
                    return
                readers = list(self._readers.values())
            told = [tell for tell in (attempt(read, None) for read in readers) if tell is not None]
            if self.refresh():
                for tell in told:
                    attempt(tell, None)
