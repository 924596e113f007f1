"""Logging of datasets, as ``mlflow.log_input`` does."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_USER,
)

from trackmllib.domain.operations import DATASET_NAME, LogDataset

# MLflow's names for Spark's types, where they differ.
_TYPES = {"bigint": "long", "int": "integer", "smallint": "integer", "tinyint": "integer"}


def log_dataset(
    client: MlflowClient, run_id: str, operation: LogDataset, context: Mapping[str, str]
) -> None:
    """Log a dataset; its source is its files or the program that made it."""
    source = {"path": operation.path}
    kind = "spark"
    if operation.path is None:
        kind = "code"
        tags = (MLFLOW_USER, MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE)
        source = {"tags": {tag: context[tag] for tag in tags if tag in context}}  # type: ignore[dict-item]
    columns = [
        {"name": name, "type": _TYPES.get(type_name, type_name)}
        for name, type_name in operation.schema
    ]
    dataset = Dataset(
        name=DATASET_NAME,
        digest=operation.digest,
        source_type=kind,
        source=json.dumps(source),
        schema=json.dumps({"mlflow_colspec": columns}),
    )
    client.log_inputs(
        run_id, [DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, operation.context)])]
    )
