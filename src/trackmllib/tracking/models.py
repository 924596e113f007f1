"""Logging of models, with MLflow's own Spark flavor."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from typing import Any, NamedTuple

import mlflow
from mlflow import MlflowClient

from trackmllib.tracking import artifacts, conflicts, logged_models
from trackmllib.tracking.http import single_attempt
from trackmllib.tracking.logged_models import NewModel

NAME = "model"
EXAMPLE_ROWS = 5


class LoggedModel(NamedTuple):
    """A model with an id on MLflow 3, otherwise an artifact of the run."""

    run_id: str
    name: str
    model_id: str | None = None
    size: int | None = None

    @property
    def uri(self) -> str:
        if self.model_id is None:
            return f"runs:/{self.run_id}/{self.name}"
        return f"models:/{self.model_id}"


def log_model(
    model: Any,
    pipeline: Any,
    inputs: Any,
    outputs: Any,
    new: NewModel,
    *,
    with_example: bool,
) -> LoggedModel:
    """Log a model of the active run.

    Its signature comes from the schemas of ``inputs`` and ``outputs``, without a Spark job. The
    example, if any, is the first rows of ``inputs``, which takes one job.

    :param pipeline: The model as a pipeline, which MLflow saves.
    """
    with single_attempt():
        saving = {
            "signature": _signature(inputs, outputs),
            "input_example": _example(inputs) if with_example else None,
            "pip_requirements": list(_requirements(model)),
        }
        if logged_models.are_supported():
            logged = logged_models.log(model, pipeline, new, **saving)
            if logged is not None:
                return LoggedModel(new.run_id, new.name, *logged)
        mlflow.spark.log_model(model, new.name, **saving)
        return LoggedModel(new.run_id, new.name)


def log_as_autologging(
    model: Any,
    inputs: Any,
    outputs: Any,
    run_id: str,
    name: str,
    *,
    with_signature: bool,
    with_example: bool,
) -> LoggedModel:
    """Log a tuner's model and its best model as MLflow's autologging does.

    Both become artifacts of the active run, even on MLflow 3, which has logged models.
    """
    with single_attempt():
        best = model.bestModel
        requirements = list(_requirements(best))
        signature = _signature(inputs, outputs) if with_signature else None
        if signature is not None and len(signature.outputs.inputs) == 1:
            signature.outputs.inputs[0].name = None
        mlflow.spark.log_model(
            model,
            name,
            # False keeps MLflow from inferring a signature from the example.
            signature=signature if with_signature else False,
            input_example=_example(inputs) if with_example else None,
            pip_requirements=requirements,
        )
        mlflow.spark.log_model(best, f"best_{name}", pip_requirements=requirements)
    return LoggedModel(run_id, name)


def size(logged: LoggedModel) -> int:
    """The size of a logged model, in bytes."""
    if logged.size is not None:
        return logged.size
    client = MlflowClient()
    with single_attempt():
        artifact_uri = client.get_run(logged.run_id).info.artifact_uri
        return artifacts.size(client, artifact_uri, logged.name)


def register(model_uri: str, registered_model_name: str) -> None:
    """Register a model that was logged, without waiting for the registration."""
    with single_attempt():
        mlflow.register_model(model_uri, registered_model_name, await_registration_for=0)


def free_name(run_id: str, experiment_id: str, search_id: str) -> str:
    """The name for a model on a run that may have one of another search."""
    with single_attempt():
        taken = {file.path for file in MlflowClient().list_artifacts(run_id)}
        if logged_models.are_supported():
            taken |= logged_models.names(run_id, experiment_id)
    return conflicts.with_search_id(NAME, search_id) if NAME in taken else NAME


def _signature(inputs: Any, outputs: Any) -> Any:
    # MLflow needs pandas to import signatures; without log_models, pandas is optional.
    from mlflow.models import ModelSignature

    known = set(inputs.columns)
    made = [name for name in outputs.columns if name not in known]
    # MLflow's Python functions of Spark models return this column and no other.
    made = ["prediction"] if "prediction" in made else made
    return ModelSignature(inputs=_schema(inputs), outputs=_schema(outputs.select(*made)))


def _schema(data: Any) -> Any:
    """The schema that MLflow infers for a DataFrame, without maps.

    For the keys of a map, MLflow would start a Spark job. Integer columns are not inferred, because
    MLflow would warn the user.
    """
    from mlflow.models import infer_signature
    from mlflow.types import ColSpec, DataType, Schema

    integers = {
        "byte": DataType.integer,
        "short": DataType.integer,
        "integer": DataType.integer,
        "long": DataType.long,
    }
    fields = [(field.name, field.dataType.typeName()) for field in data.schema.fields]
    fields = [(name, kind) for name, kind in fields if kind != "map"]
    inferred = [
        "`" + name.replace("`", "``") + "`" for name, kind in fields if kind not in integers
    ]
    specs = iter(infer_signature(data.select(*inferred)).inputs.inputs if inferred else ())
    return Schema(
        [
            ColSpec(integers[kind], name) if kind in integers else next(specs)
            for name, kind in fields
        ]
    )


def _example(inputs: Any) -> Any:
    """The first rows, with vectors as lists of numbers."""
    rows = inputs.limit(EXAMPLE_ROWS).toPandas()
    for column in rows.columns:
        if rows[column].map(lambda value: hasattr(value, "toArray")).any():
            rows[column] = rows[column].map(lambda value: value.toArray().tolist())
    return rows


def _requirements(model: Any) -> Iterator[str]:
    """Spark, and the packages that the stages come from.

    MLflow would determine these by loading the model in another process, for half a minute.
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
