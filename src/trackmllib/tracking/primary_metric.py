"""Primary metric of an experiment, which the MLflow UI shows for each run."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import (
    MLFLOW_EXPERIMENT_PRIMARY_METRIC_GREATER_IS_BETTER,
    MLFLOW_EXPERIMENT_PRIMARY_METRIC_NAME,
)

from trackmllib.domain.operations import SetPrimaryMetric


def set_primary_metric(
    client: MlflowClient, experiment_id: str, operation: SetPrimaryMetric
) -> None:
    """Set missing tags of an experiment that has no other primary metric."""
    wanted = {MLFLOW_EXPERIMENT_PRIMARY_METRIC_NAME: operation.key}
    if operation.larger_is_better is not None:
        value = str(operation.larger_is_better)
        wanted[MLFLOW_EXPERIMENT_PRIMARY_METRIC_GREATER_IS_BETTER] = value
    tags = client.get_experiment(experiment_id).tags
    if tags.get(MLFLOW_EXPERIMENT_PRIMARY_METRIC_NAME, operation.key) != operation.key:
        return
    for name, value in wanted.items():
        if name not in tags:
            client.set_experiment_tag(experiment_id, name, value)
