"""What of a batch stands on a run already: file stores would double metric points.

SQL stores drop a point that they have. A file store appends it once more, and which of the two is
behind a server, the server does not say. Params and tags that stand are left out too: where all of
a batch stands, no request is needed, which might fail again.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any, TypeAlias

from mlflow import MlflowClient

from trackmllib.operations import LogBatch, Metric

# Step, milliseconds since the epoch, and the double to the last bit.
Point: TypeAlias = "tuple[int, int, str]"


class StandingPoints:
    """What was seen on runs since something was last sent to them.

    Kept between two tries, because requests that are many never get through together where every
    third one is lost.
    """

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}
        self._histories: defaultdict[str, dict[str, set[Point]]] = defaultdict(dict)

    def without_them(self, client: MlflowClient, run_id: str, batch: LogBatch) -> LogBatch:
        """The batch, less what stands.

        Each point is looked for by itself: rows that failed let later ones go first, so that a
        later point of the batch may stand without the earlier ones.
        """
        if run_id not in self._found:
            self._found[run_id] = client.get_run(run_id).data
        found = self._found[run_id]
        latest = {m.key: _point_of_mlflow(m) for m in found._metric_objs}
        return replace(
            batch,
            params=tuple(item for item in batch.params if item not in found.params.items()),
            # The last value of a key: an older one is not to stand in its place.
            tags=tuple(item for item in dict(batch.tags).items() if item not in found.tags.items()),
            metrics=tuple(m for m in batch.metrics if not self._stands(client, run_id, m, latest)),
        )

    def forget(self, run_id: str) -> None:
        """Something is sent to this run now."""
        self._found.pop(run_id, None)
        self._histories.pop(run_id, None)

    def _stands(
        self, client: MlflowClient, run_id: str, metric: Metric, latest: dict[str, Point]
    ) -> bool:
        key, point = metric.key, _point(metric)
        if key not in latest or latest[key] == point:
            return key in latest
        histories = self._histories[run_id]
        if key not in histories:
            found = client.get_metric_history(run_id, key)
            histories[key] = {_point_of_mlflow(m) for m in found}
        return point in histories[key]


def _point(metric: Metric) -> Point:
    return (metric.step, metric.time_ms, repr(float(metric.value)))


def _point_of_mlflow(metric: Any) -> Point:
    return (metric.step, metric.timestamp, repr(float(metric.value)))
