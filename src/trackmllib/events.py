"""Facts about a search: frozen plain data, in the past tense, free of pyspark and mlflow.

A search starts, its cells start and are scored (or fail), a candidate is complete when its last
fold is scored, the refit starts, and the search finishes or fails. All times are milliseconds
since the epoch, all durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TypeAlias

from trackmllib.errors import SearchStopped
from trackmllib.options.children import ALL

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """The value of a param: ``text`` as people read it, ``data`` as a JSON file holds it."""

    text: str
    data: Json


@dataclass(frozen=True, kw_only=True, slots=True)
class ParamSetting:
    """One param of a component. ``is_default``: its value is the one Spark would have used."""

    name: str
    value: Value
    is_default: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """An estimator, transformer, evaluator or tuner with all its params, and its stages if any."""

    class_name: str
    module: str
    uid: str
    params: tuple[ParamSetting, ...] = ()
    stages: tuple[Component, ...] = ()

    @property
    def label(self) -> str:
        """The class name, of a pipeline with its stages: ``Pipeline(Tokenizer, LinearSVC)``."""
        if not self.stages:
            return self.class_name
        return f"{self.class_name}({', '.join(stage.label for stage in self.stages)})"

    @property
    def text(self) -> str:
        """The class with its stages and the params that are not default, all in words."""
        inner = [stage.text for stage in self.stages]
        inner += [
            f"{param.name}={param.value.text}" for param in self.params if not param.is_default
        ]
        return f"{self.class_name}({', '.join(inner)})" if inner else self.class_name

    def to_json(self) -> dict[str, Json]:
        """Class, uid, every param with its value, and which of them are not default."""
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
class GridSetting:
    """One entry of a candidate's param map.

    ``owner``, ``owner_class`` and ``owner_position`` say which stage the param belongs to: its uid,
    its class, and the index in its pipeline (``"1"``, or ``"0.2"`` in a pipeline within one; None
    for what is no stage of a pipeline).
    """

    name: str
    owner: str
    owner_class: str
    owner_position: str | None
    value: Value


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One param map of the grid; ``index`` is its place in ``estimatorParamMaps``."""

    index: int
    settings: tuple[GridSetting, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """The data of a search: a digest of what it is made of, and the files it is read from, None
    where it is read from none.
    """

    digest: str
    path: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedStages:
    """Stages of a pipeline, by their class names, that these candidates have in common, behind
    those of a group of candidates that these are part of.
    """

    stages: tuple[str, ...]
    candidates: tuple[int, ...]


# Without slots: there is one of it in a search, and who holds it weakly knows when that is gone.
@dataclass(frozen=True, kw_only=True)
class SearchDescription:
    """What is searched, known before the first fit.

    ``metric`` is the evaluator's metric name (its class name if it has none), ``folds`` the number
    of folds that Spark's own loop makes, ``averaged`` whether scores are averaged over folds (a
    CrossValidator) or stand as they are (a TrainValidationSplit), ``schema`` the names and types of
    the data's columns, ``dataset`` more about the data where that was asked for. ``page`` and
    ``page_in_history`` are the addresses at which Spark shows the application. ``parallel_folds``:
    the cells of all folds are computed in one pool, instead of one fold after another. ``shared``
    are the stages that are computed once for several candidates, where that was asked for.
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
    page: str | None = None
    page_in_history: str | None = None
    parallel_folds: bool = False
    shared: tuple[SharedStages, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """An error of the user's code or of Spark, as text; ``interrupted``: Ctrl-C, an exit, or a stop
    that somebody has asked for.
    """

    type: str
    message: str
    traceback: str
    interrupted: bool

    @property
    def in_a_hurry(self) -> bool:
        """Whether somebody waits for the end of the program."""
        return self.interrupted and self.type != SearchStopped.__name__

    @property
    def summary(self) -> str:
        """Type and first line of the message."""
        first_line = self.message.strip().partition("\n")[0]
        return f"{self.type}: {first_line}" if first_line else self.type


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What Spark spent on some of its jobs, added up over their tasks.

    Names and units are those of Spark's own status store: run and GC times in milliseconds, CPU
    time in nanoseconds, sizes in bytes.
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
        """The numbers under Spark's own names: ``executorRunTime``."""
        return {_camel_case(name): value for name, value in asdict(self).items()}

    @classmethod
    def of_names(cls, numbers: Mapping[str, int]) -> Cost:
        """From numbers under Spark's own names; others of them are left out."""
        return cls(
            **{
                field.name: numbers[_camel_case(field.name)]
                for field in fields(cls)
                if _camel_case(field.name) in numbers
            }
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where in another search a search was started: in a cell of it, or elsewhere in its ``fit()``;
    ``refit``: after its last score, so in the fit of its winner.
    """

    search_id: str
    candidate: int | None = None
    fold: int | None = None
    refit: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened to the search ``search_id`` at ``time_ms``."""

    search_id: str
    time_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchStarted(Event):
    """``fit()`` of a tuner was called, by a user or (``parent``) inside of another search.

    ``children`` says which candidates get child runs: ``all``, or ``best:20``.
    """

    description: SearchDescription
    parent: Place | None = None
    children: str = ALL


@dataclass(frozen=True, kw_only=True, slots=True)
class CellStarted(Event):
    """The fit of a candidate on a fold began. ``time_ms`` is that moment.

    ``thread`` is the number of the thread that computes it, in the order in which the search first
    used them.
    """

    candidate: int
    fold: int
    thread: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class CellScored(Event):
    """A cell was fitted and scored. The score is the double that Spark goes on with; not ``exact``
    where Spark goes on with a number of another kind, like numpy's ``float32``.
    """

    candidate: int
    fold: int
    score: float
    fit_seconds: float
    evaluate_seconds: float
    exact: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Earlier:
    """A score of an earlier search, with its times as they were measured then.

    ``search_id`` is that search, ``run_id`` the child run that has it, None where that is not on
    its server yet.
    """

    score: float
    fit_seconds: float
    evaluate_seconds: float
    start_ms: int
    end_ms: int
    search_id: str
    run_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchKeyed(Event):
    """Later searches can reuse the scores of this one.

    ``family`` is equal for all whose scores could be of use to each other. ``seeds`` are those that
    nobody has set, by the place of their owner.
    """

    family: str
    seeds: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldKeyed(Event):
    """The keys of the fits of a fold, by candidate: fits of equal keys have equal scores.

    ``candidates`` are fingerprints of the candidates, and ``parts`` of all else that the keys are
    made of, by what a user calls it.
    """

    fold: int
    keys: tuple[str, ...]
    candidates: tuple[str, ...]
    parts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CellTakenUp(Event):
    """A cell is not computed, because an earlier search has its score."""

    candidate: int
    fold: int
    earlier: Earlier


@dataclass(frozen=True, kw_only=True, slots=True)
class CellRetried(Event):
    """A cell failed, and is tried again; ``tries`` is how often it has been tried by now."""

    candidate: int
    fold: int
    tries: int
    failure: Failure


@dataclass(frozen=True, kw_only=True, slots=True)
class CellFailed(Event):
    """The fit, the transform or the evaluation of a cell raised."""

    candidate: int
    fold: int
    failure: Failure


@dataclass(frozen=True, kw_only=True, slots=True)
class CellCosted(Event):
    """What Spark's jobs for a cell cost is known; it has ended before."""

    candidate: int
    fold: int
    cost: Cost


@dataclass(frozen=True, kw_only=True, slots=True)
class StagesComputed(Event):
    """Stages were computed for several candidates of a fold at once, in so many seconds, which are
    those of no cell.
    """

    fold: int
    shared: SharedStages
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchCosted(Event):
    """What all of Spark's jobs for the search cost, also those that belong to no cell of it."""

    cost: Cost


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildRunNeeded(Event):
    """A candidate that would have had its child run at the end of the search, or never, needs it
    now: for a call of MLflow's in a cell of it, a search inside of that cell, or its model.
    """

    candidate: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateScored(Event):
    """The last fold of a candidate was scored; Spark's own code averaged its scores."""

    candidate: int
    average: float
    deviation: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RefitStarted(Event):
    """Every cell is scored, so the winner is known, and its fit on all the data begins."""

    best: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchFinished(Event):
    """``fit()`` is about to return a model.

    ``averages`` (and ``deviations``, for a CrossValidator) are the lists on the model, by
    candidate; None where the model has none. ``best`` is the winner's index, None if unknown.
    ``refit_seconds`` is the time from the last score to the model, where Spark's own loop ran.
    """

    refit_seconds: float | None
    averages: tuple[float, ...] | None
    deviations: tuple[float, ...] | None
    best: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchFailed(Event):
    """``fit()`` is about to raise."""

    failure: Failure


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
