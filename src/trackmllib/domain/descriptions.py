"""Frozen plain data about a search, without pyspark and mlflow.

Times are in milliseconds since the epoch, durations in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TypeAlias

from trackmllib.exceptions import SearchStopped

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """The value of a param: ``text`` for people, ``data`` for JSON."""

    text: str
    data: Json


@dataclass(frozen=True, kw_only=True, slots=True)
class ParamValue:
    """One param of a component; ``is_default`` if it has Spark's own value."""

    name: str
    value: Value
    is_default: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """Estimator, transformer, evaluator or tuner, with its params and stages."""

    class_name: str
    module: str
    uid: str
    params: tuple[ParamValue, ...] = ()
    stages: tuple[Component, ...] = ()

    @property
    def label(self) -> str:
        """Class name with stages: ``Pipeline(Tokenizer, LinearSVC)``."""
        if not self.stages:
            return self.class_name
        return f"{self.class_name}({', '.join(stage.label for stage in self.stages)})"

    @property
    def text(self) -> str:
        """Class name with stages and non-default params: ``LinearSVC(maxIter=5)``."""
        inner = [stage.text for stage in self.stages]
        inner += [
            f"{param.name}={param.value.text}" for param in self.params if not param.is_default
        ]
        return f"{self.class_name}({', '.join(inner)})" if inner else self.class_name

    def to_json(self) -> dict[str, Json]:
        """Class, uid, params, and which of them are not default."""
        data: dict[str, Json] = {
            "class": f"{self.module}.{self.class_name}",
            "uid": self.uid,
            "params": {param.name: param.value.data for param in self.params},
            "not_default": [param.name for param in self.params if not param.is_default],
        }
        if self.stages:
            data["stages"] = [stage.to_json() for stage in self.stages]
        return data


@dataclass(frozen=True, kw_only=True, slots=True)
class GridParam:
    """One entry of a candidate's param map.

    ``owner`` and ``owner_class`` are the uid and the class of the param's component.
    ``owner_position`` is its index in the pipeline (``"1"``, or ``"0.2"`` in a nested one); None
    outside of pipelines.
    """

    name: str
    owner: str
    owner_class: str
    owner_position: str | None
    value: Value


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One param map of the grid, with its index in ``estimatorParamMaps``."""

    index: int
    params: tuple[GridParam, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """Data of a search: a digest of its plan, and its path if it has one.

    ``mlflow_schema`` and ``mlflow_profile`` are MLflow's JSON texts, if MLflow described the data.
    """

    digest: str
    path: str | None
    mlflow_schema: str | None = None
    mlflow_profile: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedStages:
    """Class names of consecutive stages that these candidates share."""

    stages: tuple[str, ...]
    candidates: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FurtherMetric:
    """Metric that is computed besides the tuner's own.

    ``name`` is its key on child runs; on the training data, it has the prefix ``train_``.
    """

    name: str
    larger_is_better: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricAverage:
    """Average of a metric over the folds; no ``deviation`` for one fold."""

    average: float
    deviation: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MlflowCandidate:
    """Everything that MLflow's autologging logs for one candidate.

    ``grid`` is its param map, by MLflow's keys; ``params`` are the params of its child run that
    differ between candidates.
    """

    grid: tuple[tuple[str, Value], ...]
    params: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class MlflowRecord:
    """Everything that MLflow's autologging logs for a search, by its own keys.

    * ``params`` and ``tags`` are those of the parent run; ``run_tags`` are for a parent run that
      trackmllib creates, and ``child_tags`` for the child runs.
    * ``estimator_info`` is the text of the file of this name.
    * ``child_params`` are the same in all child runs.
    """

    params: tuple[tuple[str, str], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    run_tags: tuple[tuple[str, str], ...] = ()
    estimator_info: str = ""
    child_tags: tuple[tuple[str, str], ...] = ()
    child_params: tuple[tuple[str, str], ...] = ()
    candidates: tuple[MlflowCandidate, ...] = ()


# Without slots, because tests hold a weak reference to it.
@dataclass(frozen=True, kw_only=True)
class SearchDescription:
    """Description of a search before its first fit.

    * ``metric`` is the evaluator's metric name, or its class name if it has none.
    * ``averaged`` is True for a CrossValidator, whose scores are averaged over ``folds`` folds.
    * ``schema`` has the names and types of the data's columns.
    * ``parallel_folds``: one pool computes the fits of all folds.
    * ``shared`` are the stages that are computed once for several candidates.
    * ``nested_fits`` are the groups of nested candidates, each with its stage.
    * ``further_metrics`` are computed for each fit besides ``metric``.
    * ``mlflow`` is what ``mlflow.autolog()`` logs for the search, if it has switched recording on.
    """

    tuner: Component
    estimator: Component | None
    evaluator: Component | None
    metric: str
    larger_is_better: bool | None
    averaged: bool
    folds: int
    candidates: tuple[Candidate, ...]
    schema: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    application_id: str | None
    dataset: Dataset | None = None
    spark_ui_url: str | None = None
    spark_history_url: str | None = None
    parallel_folds: bool = False
    shared: tuple[SharedStages, ...] = ()
    further_metrics: tuple[FurtherMetric, ...] = ()
    nested_fits: tuple[SharedStages, ...] = ()
    mlflow: MlflowRecord | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Error of the user's code or of Spark, as text.

    ``interrupted``: a Ctrl-C, an exit of the process, or a stop on request.
    """

    type: str
    message: str
    traceback: str
    interrupted: bool

    @property
    def is_process_exit(self) -> bool:
        """Whether the process is about to exit."""
        return self.interrupted and self.type != SearchStopped.__name__

    @property
    def summary(self) -> str:
        """Type and first line of the message: ``ValueError: no label``."""
        first_line = self.message.strip().partition("\n")[0]
        return f"{self.type}: {first_line}" if first_line else self.type


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Cost of Spark jobs, summed over their tasks.

    Names and units are Spark's: run and GC times in milliseconds, CPU time in nanoseconds, sizes in
    bytes.
    """

    executor_run_time: int = 0
    executor_cpu_time: int = 0
    jvm_gc_time: int = 0
    input_bytes: int = 0
    shuffle_read_bytes: int = 0
    shuffle_write_bytes: int = 0
    memory_bytes_spilled: int = 0
    disk_bytes_spilled: int = 0
    num_jobs: int = 0
    num_complete_tasks: int = 0
    num_failed_tasks: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(**{name: value + getattr(other, name) for name, value in asdict(self).items()})

    def by_name(self) -> dict[str, int]:
        """The numbers by Spark's own names: ``executorRunTime``."""
        return {_camel_case(name): value for name, value in asdict(self).items()}

    @classmethod
    def of_names(cls, numbers: Mapping[str, int]) -> Cost:
        """Create from numbers by Spark's own names; others are ignored."""
        return cls(
            **{
                field.name: numbers[_camel_case(field.name)]
                for field in fields(cls)
                if _camel_case(field.name) in numbers
            }
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ParentFit:
    """Place in the outer search where a nested search started.

    ``candidate`` and ``fold`` are None outside of fits. ``refit``: it started in the refit.
    """

    search_id: str
    candidate: int | None = None
    fold: int | None = None
    refit: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PriorScore:
    """Score of the prior search ``search_id``, with the times of its fit.

    ``metrics`` are the values of further metrics by name. ``run_id`` is its child run; None if that
    is not delivered yet.
    """

    score: float
    fit_seconds: float
    evaluate_seconds: float
    start_ms: int
    end_ms: int
    search_id: str
    run_id: str | None = None
    metrics: tuple[tuple[str, float], ...] = ()


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
