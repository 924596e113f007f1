"""Removal of what a run already has from a redelivered batch.

SQL stores ignore a metric point that they have. A file store appends it again, and a server does
not reveal its store. Params and tags that the run has are removed, too: an empty batch needs no
request, which could fail again.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any, TypeAlias

from mlflow import MlflowClient

from trackmllib.domain.operations import LogBatch, Metric

# Step, milliseconds since the epoch, and the double to the last bit.
Point: TypeAlias = "tuple[int, int, str]"


class MetricDeduplicator:
    """Cache of what each run has, until something is sent to the run.

    The cache outlives a failed try: if every third request is lost, a try that needs many requests
    would never succeed otherwise.
    """

    def __init__(self) -> None:
        self._data: dict[str, Any] = {}
        self._histories: defaultdict[str, dict[str, set[Point]]] = defaultdict(dict)

    def without_logged(self, client: MlflowClient, run_id: str, batch: LogBatch) -> LogBatch:
        """Remove what the run has from a batch.

        Each point is looked up, because failed rows let later ones go first: the run may have a
        later point of the batch, and none of the earlier ones.
        """
        if run_id not in self._data:
            self._data[run_id] = client.get_run(run_id).data
        data = self._data[run_id]
        latest = {m.key: _point_of_mlflow(m) for m in data._metric_objs}
        return replace(
            batch,
            params=tuple(item for item in batch.params if item not in data.params.items()),
            # Of a tag that is set twice, the last value counts.
            tags=tuple(item for item in dict(batch.tags).items() if item not in data.tags.items()),
            metrics=tuple(
                metric
                for metric in batch.metrics
                if not self._is_logged(client, run_id, metric, latest)
            ),
        )

    def forget(self, run_id: str) -> None:
        """Drop the cache of a run, before something is sent to it."""
        self._data.pop(run_id, None)
        self._histories.pop(run_id, None)

    def _is_logged(
        self, client: MlflowClient, run_id: str, metric: Metric, latest: dict[str, Point]
    ) -> bool:
        key, point = metric.key, _point(metric)
        if key not in latest or latest[key] == point:
            return key in latest
        histories = self._histories[run_id]
        if key not in histories:
            history = client.get_metric_history(run_id, key)
            histories[key] = {_point_of_mlflow(m) for m in history}
        return point in histories[key]


def _point(metric: Metric) -> Point:
    return (metric.step, metric.time_ms, repr(float(metric.value)))


def _point_of_mlflow(metric: Any) -> Point:
    return (metric.step, metric.timestamp, repr(float(metric.value)))
