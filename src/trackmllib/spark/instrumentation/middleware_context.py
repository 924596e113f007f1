"""Context of a search for its middleware."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from trackmllib.domain.descriptions import SharedStages
from trackmllib.domain.events import FoldKeyed, SearchKeyed, StagesComputed
from trackmllib.domain.score_tags import PriorScores
from trackmllib.spark.evaluation.further_metrics import FurtherMetrics
from trackmllib.spark.evaluation.plan import MetricPlan
from trackmllib.spark.instrumentation.search_events import SearchEvents


class SearchMiddlewareContext:
    """Implementation of ``MiddlewareContext`` for one search."""

    def __init__(
        self, events: SearchEvents, tuner: Any, data: Any, further: FurtherMetrics
    ) -> None:
        self.tuner = tuner
        self.data = data
        self.is_inner = events.parent is not None
        self._events = events
        self._further = further

    @property
    def folds_begun(self) -> int:
        return self._events.folds_begun

    @property
    def metric_plan(self) -> MetricPlan:
        return self._further.plan

    @property
    def seconds(self) -> dict[int, float]:
        return self._events.last_seconds()

    @property
    def cannot_win(self) -> Collection[int]:
        return self._events.cannot_win

    @cannot_win.setter
    def cannot_win(self, candidates: Collection[int]) -> None:
        self._events.cannot_win = candidates

    def record_shared_stages(
        self, fold: int, shared: SharedStages, seconds: float, elsewhere: float = 0.0
    ) -> None:
        with self._events.guard("recording shared stages"):
            end_ms = self._events.clock.now_ms()
            self._events.emit(
                StagesComputed(
                    search_id=self._events.search_id,
                    time_ms=end_ms,
                    fold=fold,
                    shared=shared,
                    seconds=seconds,
                    start_ms=end_ms - round(1000 * (seconds + elsewhere)),
                    thread=threading.get_ident(),
                )
            )

    def record_search_keys(
        self, family: str, seeds: Mapping[str, int], metrics: Mapping[str, str]
    ) -> None:
        self._events.emit(
            SearchKeyed(
                search_id=self._events.search_id,
                time_ms=self._events.clock.now_ms(),
                family=family,
                seeds=tuple(seeds.items()),
                metric_fingerprints=tuple(metrics.items()),
            )
        )

    def record_fold_keys(
        self, fold: int, keys: Sequence[str], candidates: Sequence[str], parts: Mapping[str, str]
    ) -> None:
        self._events.emit(
            FoldKeyed(
                search_id=self._events.search_id,
                time_ms=self._events.clock.now_ms(),
                fold=fold,
                keys=tuple(keys),
                candidates=tuple(candidates),
                parts=tuple(parts.items()),
            )
        )

    def prior_scores(
        self, family: str, keys: Collection[str], metrics: Mapping[str, str]
    ) -> PriorScores:
        return self._events.callbacks.prior_scores(self._events.search_id, family, keys, metrics)

    def warn_once(self, sentence: str) -> None:
        self._events.callbacks.warn_once(sentence)

    def warn(self, sentence: str) -> None:
        self._events.callbacks.warn(sentence, self._events.settings)
