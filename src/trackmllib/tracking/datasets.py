"""Logging of datasets, as ``mlflow.log_input`` does."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from trackmllib.domain.operations import DATASET_NAME, LogDataset

# MLflow's names for Spark's types, where they differ.
_TYPES = {"bigint": "long", "int": "integer", "smallint": "integer", "tinyint": "integer"}


def log_dataset(
    client: MlflowClient, run_id: str, operation: LogDataset, context: Mapping[str, str]
) -> None:
    """Log a dataset; its source is its files or the program that made it.

    :param context: The tags that MLflow gives to each run, as the source of data without files.
    """
    kind, source = "spark", {"path": operation.path}
    if operation.path is None:
        kind, source = "code", {"tags": dict(context)}  # type: ignore[dict-item]
    columns = [
        {"name": name, "type": _TYPES.get(type_name, type_name)}
        for name, type_name in operation.schema
    ]
    dataset = Dataset(
        name=DATASET_NAME,
        digest=operation.digest,
        source_type=kind,
        source=json.dumps(source),
        schema=operation.mlflow_schema or json.dumps({"mlflow_colspec": columns}),
        profile=operation.mlflow_profile,
    )
    client.log_inputs(
        run_id, [DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, operation.context)])]
    )
