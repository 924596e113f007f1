"""What Spark's jobs of each search and each cell cost, added up by the tags that they carry."""

from __future__ import annotations

import threading
import weakref
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from trackmllib.events import Cost
from trackmllib.guard import attempt
from trackmllib.spark.jobs import PREFIX, classic_context
from trackmllib.spark.status import Busy, StatusStore

READ_SECONDS = 5.0

Reader = Callable[[], Callable[[], None]]


class Costs:
    """The costs of the searches that run. Spark is asked by a thread of our own, every few seconds,
    because it keeps the last jobs only; and once at the end of each search.

    ``report`` is told once why costs cannot be read, and then nothing more is read of this Spark.
    """

    def __init__(self, report: Callable[[Exception], None]) -> None:
        self._report = report
        # Held while jobs are counted; the other one while searches come and go.
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._store: StatusStore | None = None
        self._broken: weakref.ref[Any] | None = None
        self._by_tag: defaultdict[str, Cost] = defaultdict(Cost)
        # Jobs without a tag of ours: when they were submitted, and what they cost.
        self._others: list[tuple[int, Cost]] = []
        self._readers: dict[str, Reader] = {}
        self._thread: threading.Thread | None = None

    def search_begins(self, tag: str, read: Reader) -> None:
        """From now on ``read`` is called now and then, in another thread, and what it returns once
        all is known of the jobs that had ended by then.
        """
        with self._lock:
            with self._changed:
                self._readers[tag] = read
            failure = self._open()
        self._tell(failure)
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="trackmllib-costs", daemon=True)
                # Python starts no thread any more at its end; the search reads at its own.
                with suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def search_ends(self, tag: str) -> None:
        """Nothing more is asked about this search; nothing is kept where no other one runs."""
        with self._lock, self._changed:
            self._readers.pop(tag, None)
            for known in [known for known in self._by_tag if _is_of(known, tag)]:
                del self._by_tag[known]
            if not self._readers:
                self._store = None
                self._others.clear()
                self._by_tag.clear()
                self._changed.notify_all()

    def refresh(self) -> bool:
        """Read what has ended since the last time. Whether all is known then of the jobs that had
        ended before; Busy where Spark has not noted them yet.
        """
        store = self._store
        if store is None or store.context is not classic_context():
            return False
        failure = None
        try:
            # Others need not wait for this one.
            store.wait()
            with self._lock:
                self._count(store)
        except Busy:
            raise
        except Exception as error:  # noqa: BLE001 - of Java, of py4j, or of a stopped Spark
            failure = error
            with self._lock:
                self._give_up(store.context)
        self._tell(failure)
        return failure is None

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

    def _open(self) -> Exception | None:
        """Have a store for the Spark of now; why that fails."""
        context = classic_context()
        broken = None if self._broken is None else self._broken()
        if context is None or context is broken:
            return None
        if self._store is None or self._store.context is not context:
            try:
                self._store = StatusStore(context)
            except Exception as error:  # noqa: BLE001 - of Java, or of py4j
                self._give_up(context)
                return error
        return None

    def _give_up(self, context: Any) -> None:
        self._broken, self._store = weakref.ref(context), None

    def _tell(self, failure: Exception | None) -> None:
        """Say why nothing is read any more, unless Spark was stopped; nothing is locked then."""
        if failure is None:
            return
        context = classic_context()
        if not attempt(lambda: bool(context._jsc.sc().isStopped()), True):
            self._report(failure)

    def _count(self, store: StatusStore) -> None:
        if store is not self._store:
            return
        for job in store.ended():
            ours = [tag for tag in job.tags if tag.startswith(PREFIX)]
            for tag in ours:
                # A pool goes on with the cells of a search that has failed.
                if any(_is_of(tag, search) for search in self._readers):
                    self._by_tag[tag] += job.cost
            if not ours:
                self._others.append((job.submitted_ms, job.cost))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._readers, READ_SECONDS)
                if not self._readers:
                    self._thread = None
                    return
                readers = list(self._readers.values())
            told = [tell for tell in (attempt(read, None) for read in readers) if tell is not None]
            with suppress(Busy):
                if self.refresh():
                    for tell in told:
                        attempt(tell, None)


def _is_of(tag: str, search: str) -> bool:
    """Whether a tag is the one of a search, or of a cell of it."""
    return tag == search or tag.startswith(f"{search}:")
