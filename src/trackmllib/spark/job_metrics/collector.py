"""Collector of the costs of Spark jobs, by search and fit."""

from __future__ import annotations

import threading
import weakref
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from trackmllib.domain.descriptions import Cost
from trackmllib.spark.job_metrics.labels import PREFIX, classic_context
from trackmllib.spark.job_metrics.status_store import StatusStore, StoreBehind
from trackmllib.support.guard import attempt

READ_SECONDS = 5.0

Reader = Callable[[], Callable[[], None]]


class CostCollector:
    """Collects the costs of the running searches.

    Spark keeps only the last jobs, so a background thread reads them every few seconds. They are
    read once more at the end of each search.

    :param report: Called with the first error; no more costs of this SparkContext are read then.
    """

    def __init__(self, report: Callable[[Exception], None]) -> None:
        self._report = report
        # _lock guards the counts, _changed the searches.
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._store: StatusStore | None = None
        self._broken: weakref.ref[Any] | None = None
        self._by_tag: defaultdict[str, Cost] = defaultdict(Cost)
        # Submission times and costs of jobs without a tag of ours.
        self._untagged: list[tuple[int, Cost]] = []
        self._readers: dict[str, Reader] = {}
        self._thread: threading.Thread | None = None

    def add_search(self, tag: str, read: Reader) -> None:
        """Read the costs of a search until it is removed.

        :param read: Called in a background thread every few seconds. The function that it returns
            is called when the costs of all jobs that had ended before ``read`` are known.
        """
        with self._lock:
            with self._changed:
                self._readers[tag] = read
            failure = self._open()
        self._report_failure(failure)
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="trackmllib-costs", daemon=True)
                # Python starts no threads at its exit; the search still reads at its end.
                with suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def remove_search(self, tag: str) -> None:
        """Stop reading the costs of a search."""
        with self._lock, self._changed:
            self._readers.pop(tag, None)
            for other in [other for other in self._by_tag if _is_of(other, tag)]:
                del self._by_tag[other]
            if not self._readers:
                self._store = None
                self._untagged.clear()
                self._by_tag.clear()
                self._changed.notify_all()

    def refresh(self) -> bool:
        """Read the jobs that have ended since the last call.

        :returns: Whether the costs of all ended jobs are known.
        :raises StoreBehind: Spark's status store is behind.
        """
        store = self._store
        if store is None or store.context is not classic_context():
            return False
        failure = None
        try:
            # Without the lock, since it may take seconds.
            store.wait()
            with self._lock:
                self._count(store)
        except StoreBehind:
            raise
        except Exception as error:  # noqa: BLE001 - of Java, of py4j, or of a stopped Spark
            failure = error
            with self._lock:
                self._give_up(store.context)
        self._report_failure(failure)
        return failure is None

    def cost_of(self, tag: str) -> Cost:
        """Cost read so far of the jobs with this tag."""
        with self._lock:
            return self._by_tag.get(tag, Cost())

    def take_untagged(self, start_ms: int, end_ms: int) -> Cost:
        """Remove and return the cost of untagged jobs submitted in this time."""
        with self._lock:
            taken = [cost for ms, cost in self._untagged if start_ms <= ms <= end_ms]
            self._untagged = [one for one in self._untagged if one[0] > end_ms]
        return sum(taken, Cost())

    def _open(self) -> Exception | None:
        """Open the store of the active SparkContext; return an error."""
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

    def _report_failure(self, failure: Exception | None) -> None:
        """Report an error, unless Spark was stopped; call without a lock."""
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
                # Spark's pool continues with the fits of a failed search.
                if any(_is_of(tag, search) for search in self._readers):
                    self._by_tag[tag] += job.cost
            if not ours:
                self._untagged.append((job.submitted_ms, job.cost))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._readers, READ_SECONDS)
                if not self._readers:
                    self._thread = None
                    return
                readers = list(self._readers.values())
            emits = [attempt(read, None) for read in readers]
            with suppress(StoreBehind):
                if self.refresh():
                    for emit in emits:
                        if emit is not None:
                            attempt(emit, None)


def _is_of(tag: str, search: str) -> bool:
    """Whether a tag belongs to a search or one of its fits."""
    return tag == search or tag.startswith(f"{search}:")
