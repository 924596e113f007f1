"""Logs a model on the active run, with MLflow's own Spark flavor."""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Iterator
from typing import Any

import mlflow
from mlflow import MlflowClient

from trackmllib.tracking import conflicts
from trackmllib.tracking.http import tried_once

NAME = "model"
EXAMPLE_ROWS = 5


def log_model(model: Any, inputs: Any, outputs: Any, *, name: str, with_example: bool) -> None:
    """Log a model under this name among the files of the active run.

    Its signature comes from the schemas of ``inputs`` and ``outputs``, without a Spark job; an
    example is the first rows of ``inputs``, which takes one.
    """
    # MLflow's hint on how the user should call it is not for the user here.
    warnings.filterwarnings("ignore", "Hint: Inferred schema contains integer column")
    with tried_once():
        mlflow.spark.log_model(
            model,
            name,
            signature=_signature(inputs, outputs),
            input_example=_example(inputs) if with_example else None,
            pip_requirements=list(_requirements(model)),
        )


def size(run_id: str, path: str) -> int:
    """How many bytes the files of a run below this path take."""
    client = MlflowClient()
    with tried_once():
        return sum(
            size(run_id, found.path) if found.is_dir else int(found.file_size or 0)
            for found in client.list_artifacts(run_id, path)
        )


def register(run_id: str, name: str, registered_model_name: str) -> None:
    """Register a model that was logged; not waited for."""
    with tried_once():
        mlflow.register_model(
            f"runs:/{run_id}/{name}", registered_model_name, await_registration_for=0
        )


def free_name(run_id: str, search_id: str) -> str:
    """The name for the model of a search on a run that may hold the one of another."""
    with tried_once():
        taken = {file.path for file in MlflowClient().list_artifacts(run_id)}
    return conflicts.renamed(NAME, search_id) if NAME in taken else NAME


def _signature(inputs: Any, outputs: Any) -> Any:
    # MLflow has it only where pandas is; who logs no model needs none.
    from mlflow.models import infer_signature

    known = set(inputs.columns)
    made = [name for name in outputs.columns if name not in known]
    # As MLflow's Python functions of Spark models: they return this column and no other.
    made = ["prediction"] if "prediction" in made else made
    return infer_signature(_readable(inputs), _readable(outputs.select(*made)))


def _readable(data: Any) -> Any:
    """Without maps, whose keys MLflow would have Spark look for in the rows."""
    fields = data.schema.fields
    names = (f.name.replace("`", "``") for f in fields if f.dataType.typeName() != "map")
    return data.select(*(f"`{name}`" for name in names))


def _example(inputs: Any) -> Any:
    """The first rows, with vectors as lists of numbers."""
    rows = inputs.limit(EXAMPLE_ROWS).toPandas()
    for column in rows.columns:
        if rows[column].map(lambda value: hasattr(value, "toArray")).any():
            rows[column] = rows[column].map(lambda value: value.toArray().tolist())
    return rows


def _requirements(model: Any) -> Iterator[str]:
    """Spark, and the packages that the stages come from.

    MLflow would find out by loading the model in a process of its own, for half a minute.
    """
    yield from mlflow.spark.get_default_pip_requirements()
    packages = importlib.metadata.packages_distributions()
    modules = {type(stage).__module__.partition(".")[0] for stage in _stages(model)}
    for module in sorted(modules - {"pyspark"}):
        for package in packages.get(module, ()):
            yield f"{package}=={importlib.metadata.version(package)}"


def _stages(model: Any) -> Iterator[Any]:
    yield model
    for stage in getattr(model, "stages", ()):
        yield from _stages(stage)
