"""Costs of the Spark jobs of one search."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from trackmllib.domain.events import Event, FitCostMeasured, SearchCostMeasured
from trackmllib.spark.job_metrics.collector import CostCollector
from trackmllib.spark.job_metrics.labels import FitLabels, SearchLabels
from trackmllib.support.clock import Clock


class SearchMetrics:
    """Labels the Spark jobs of one search, and emits their costs.

    Emits nothing if jobs cannot be labelled.

    :param emit: Receives the events, in any thread.
    :param data: The dataset of ``fit()``.
    :param is_inner: Whether the search is nested in another one.
    """

    def __init__(
        self,
        search_id: str,
        collector: CostCollector,
        clock: Clock,
        emit: Callable[[Event], None],
        data: Any,
        *,
        is_inner: bool,
    ) -> None:
        self.labels = SearchLabels(search_id, is_inner=is_inner)
        self._is_inner = is_inner
        self._search_id = search_id
        self._collector = collector
        self._clock = clock
        self._emit = emit
        self._data = data
        self._lock = threading.Lock()
        # Candidate and fold of ended fits whose cost is not emitted yet, by tag.
        self._ended: dict[str, tuple[int, int]] = {}
        # Held while costs are emitted, so that the search does not end in the meantime.
        self._emitting = threading.Lock()

    def start(self) -> None:
        """Label the jobs of this thread, which is that of ``fit()``."""
        data, self._data = self._data, None
        try:
            self.labels.start(data)
            if self.labels.context is not None:
                self._collector.add_search(self.labels.tag, self._ended_fits)
        except BaseException:
            # After a Ctrl-C here, nothing else would clean up.
            self.labels.stop()
            self.close()
            raise

    def close(self) -> None:
        """Stop collecting and emitting costs."""
        self._collector.remove_search(self.labels.tag)

    def fit_ended(self, labels: FitLabels, candidate: int | None, fold: int) -> None:
        """Record that all Spark jobs of a fit have ended."""
        if labels.may_have_jobs and candidate is not None:
            with self._lock:
                self._ended[labels.tag] = (candidate, fold)

    def emit_all(self, start_ms: int, end_ms: int) -> None:
        """Emit the costs of the remaining fits and of the whole search.

        Untagged jobs of this period count too, unless the search is nested.

        :raises StoreBehind: Spark's status store is behind.
        """
        emit_fits = self._ended_fits()
        if self.labels.context is None or not self._collector.refresh():
            return
        emit_fits()
        total = self._collector.cost_of(self.labels.tag)
        if not self._is_inner:
            total += self._collector.take_untagged(start_ms, end_ms)
        if total.num_jobs:
            self._emit(SearchCostMeasured(search_id=self._search_id, time_ms=end_ms, cost=total))

    def _ended_fits(self) -> Callable[[], None]:
        """Return a function that emits the costs of the fits ended by now."""
        with self._lock:
            ended = dict(self._ended)

        def emit_costs() -> None:
            with self._emitting:
                for tag, (candidate, fold) in ended.items():
                    self._emit_cost(tag, candidate, fold)

        return emit_costs

    def _emit_cost(self, tag: str, candidate: int, fold: int) -> None:
        """Emit the cost of a fit once, by whichever thread comes first."""
        cost = self._collector.cost_of(tag)
        with self._lock:
            is_new = self._ended.pop(tag, None) is not None
        # A fit without jobs has no cost, rather than a cost of 0.
        if is_new and cost.num_jobs:
            self._emit(
                FitCostMeasured(
                    search_id=self._search_id,
                    time_ms=self._clock.now_ms(),
                    candidate=candidate,
                    fold=fold,
                    cost=cost,
                )
            )
