"""Says what the cells of one search cost, as soon as Spark has noted it, and the whole of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from trackmllib.clock import Clock
from trackmllib.events import CellCosted, Event, SearchCosted
from trackmllib.spark.cell import CellWatch
from trackmllib.spark.costs import Costs
from trackmllib.spark.jobs import SearchJobs


class SearchSpending:
    """The jobs of one search, and what they cost; ``emit`` takes the facts. Silent where Spark's
    jobs cannot be told apart.
    """

    def __init__(
        self,
        search_id: str,
        costs: Costs,
        clock: Clock,
        emit: Callable[[Event], None],
        data: Any,
        *,
        is_inner: bool,
    ) -> None:
        self.jobs = SearchJobs(search_id, is_inner=is_inner)
        self._is_inner = is_inner
        self._search_id = search_id
        self._costs = costs
        self._clock = clock
        self._emit = emit
        self._data = data
        self._lock = threading.Lock()
        # Cells that are over, and whose costs are not said yet, by their tag.
        self._over: dict[str, CellWatch] = {}

    def start(self) -> None:
        """Label the jobs of this thread, which is the one of ``fit()``."""
        data, self._data = self._data, None
        try:
            self.jobs.start(data)
            if self.jobs.context is not None:
                self._costs.search_begins(self.jobs.tag, self._of_cells)
        except BaseException:
            # A Ctrl-C, say: nobody will come to the end of this search.
            self.jobs.stop()
            self.forget()
            raise

    def forget(self) -> None:
        """Nothing is said any more."""
        self._costs.search_ends(self.jobs.tag)

    def cell_is_over(self, cell: CellWatch) -> None:
        """All of Spark's jobs for a cell have ended."""
        if cell.jobs.labelled and cell.candidate is not None:
            with self._lock:
                self._over[cell.jobs.tag] = cell

    def say_all(self, start_ms: int, end_ms: int) -> None:
        """Say what the rest of the cells cost, and the whole search. Jobs of nobody in this time
        count for it, unless it is a search inside of another one. Busy where Spark is.
        """
        say = self._of_cells()
        if self.jobs.context is None or not self._costs.refresh():
            return
        say()
        total = self._costs.of(self.jobs.tag)
        if not self._is_inner:
            total += self._costs.take_others(start_ms, end_ms)
        if total.num_jobs:
            self._emit(SearchCosted(search_id=self._search_id, time_ms=end_ms, cost=total))

    def _of_cells(self) -> Callable[[], None]:
        """What says the costs of the cells that are over by now, once they are known."""
        with self._lock:
            cells = dict(self._over)

        def say() -> None:
            for tag, cell in cells.items():
                cost = self._costs.of(tag)
                with self._lock:
                    is_new = self._over.pop(tag, None) is not None
                # A cell without jobs has no costs, and not costs of 0.
                if is_new and cost.num_jobs and cell.candidate is not None:
                    self._emit(
                        CellCosted(
                            search_id=self._search_id,
                            time_ms=self._clock.now_ms(),
                            candidate=cell.candidate,
                            fold=cell.fold,
                            cost=cost,
                        )
                    )

        return say
