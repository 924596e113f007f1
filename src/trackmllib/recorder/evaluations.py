"""Operations for post-training metrics, after the end of a search."""

from __future__ import annotations

from collections.abc import Iterator

from trackmllib.domain import mlflow_limits
from trackmllib.domain.evaluations import Evaluation
from trackmllib.domain.operations import LogArtifact, LogBatch, LogDataset, Metric, Operation

# MLflow's file, outside the folder ``trackmllib/``.
METRIC_INFO = "metric_info.json"


def evaluated(
    search_id: str, evaluation: Evaluation, key: str, metric_info: str, time_ms: int
) -> Iterator[Operation]:
    """Log a metric, ``metric_info.json`` and the predictions."""
    metric = Metric(mlflow_limits.sanitize_key(key), evaluation.value, time_ms)
    yield LogBatch(search_id=search_id, metrics=(metric,))
    yield LogArtifact(search_id=search_id, file_name=METRIC_INFO, text=metric_info, in_folder=False)
    if evaluation.predictions is not None:
        yield LogDataset.of(search_id, evaluation.predictions, evaluation.schema, context="eval")
