"""Operations on MLflow runs: frozen plain data, applied in order.

An operation names its run by search and candidate (None for the parent run), because the run's id
is not known yet. Times are in milliseconds since the epoch. Texts are escaped when an operation is
created or read from disk, so that no server rejects a character.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import PurePath
from typing import Any, Literal, NamedTuple

from trackmllib.domain.descriptions import Dataset
from trackmllib.support import compression
from trackmllib.support.escaping import escaped

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]
# The name of every dataset that is logged.
DATASET_NAME = "dataset"


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """Where a search is recorded, as determined when ``fit()`` starts.

    * ``tracking_uri`` is absolute and has no credentials.
    * ``run_id`` is an existing parent run. Without it, the parent run is created in
      ``experiment_id`` or ``experiment_name``; a missing experiment is created, too.
    * ``owned``: trackmllib creates and ends the parent run. The user's active run is not owned.
    * ``parent_search_id`` is the outer search. The parent run is nested under the child run of
      ``parent_candidate``, or else under the parent run of the outer search.
    * ``workspace`` is the MLflow workspace, if one was set.
    """

    tracking_uri: str
    run_id: str | None = None
    experiment_id: str | None = None
    experiment_name: str | None = None
    owned: bool = True
    parent_search_id: str | None = None
    parent_candidate: int | None = None
    workspace: str | None = None

    def __post_init__(self) -> None:
        # The URI is not escaped: it would name another server, or another file.
        if self.experiment_name is not None:
            object.__setattr__(self, "experiment_name", escaped(self.experiment_name))


class Metric(NamedTuple):
    """One point of a metric; a ``series`` has many points under its key."""

    key: str
    value: float
    time_ms: int
    step: int = 0
    series: bool = False


_WITHOUT_TEXT = frozenset((int, float, bool, type(None)))
_FIELD_NAMES: dict[type, tuple[str, ...]] = {}


def _storable(value: Any) -> Any:
    """Escape the texts in a value; return the same object if none changes."""
    if type(value) is str:
        return escaped(value)
    if isinstance(value, tuple):
        for each in value:
            # Most texts stay as they are: look first, and copy only if one does not.
            if type(each) not in _WITHOUT_TEXT and _storable(each) is not each:
                items = map(_storable, value)
                return Metric._make(items) if isinstance(value, Metric) else tuple(items)
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """Change of one run of a search.

    ``of_recovery``: the process that recovers the search created it, after a ``Recover``.
    """

    search_id: str
    candidate: int | None = None
    of_recovery: bool = False

    def __post_init__(self) -> None:
        cls = type(self)
        if cls not in _FIELD_NAMES:
            _FIELD_NAMES[cls] = tuple(field.name for field in fields(cls))
        for name in _FIELD_NAMES[cls]:
            value = getattr(self, name)
            if type(value) not in _WITHOUT_TEXT and (storable := _storable(value)) is not value:
                object.__setattr__(self, name, storable)

    @property
    def run(self) -> tuple[str, int | None]:
        """Run that the operation changes, as search and candidate."""
        return (self.search_id, self.candidate)


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenParentRun(Operation):
    """Create or find the parent run; the first operation of a search.

    ``description`` is for a created run only.
    """

    destination: Destination
    name: str
    start_ms: int
    description: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateChildRun(Operation):
    """Create the child run of a candidate, nested under the parent run."""

    name: str
    start_ms: int
    tags: tuple[tuple[str, str], ...]


def child_run_tags(search_id: str, candidate: int) -> tuple[tuple[str, str], ...]:
    """Tags by which the child run of a candidate is found."""
    return (("trackmllib.search_id", search_id), ("trackmllib.candidate", str(candidate)))


@dataclass(frozen=True, kw_only=True, slots=True)
class LogBatch(Operation):
    """Add params, metrics and tags to a run."""

    params: tuple[tuple[str, str], ...] = ()
    metrics: tuple[Metric, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class LogArtifact(Operation):
    """Log a file as an artifact, ``in_folder`` ``trackmllib/`` or outside it.

    ``is_base64``: the text is the file in base64. ``is_compressed``: it is compressed by
    ``compression``.
    """

    file_name: str
    text: str
    is_base64: bool = False
    is_compressed: bool = False
    in_folder: bool = True

    def __post_init__(self) -> None:
        if self.file_name != PurePath(self.file_name).name or self.file_name in ("", ".."):
            raise ValueError(f"{self.file_name!r} must be the name of a file, not a path")
        # Not super(): slots=True replaces the class that this method was defined in.
        Operation.__post_init__(self)

    def pieces(self) -> Iterator[bytes]:
        """Yield the file in pieces; raises ValueError if the text is damaged."""
        if self.is_compressed:
            yield from compression.decompress(self.text)
        else:
            yield base64.b64decode(self.text) if self.is_base64 else compression.utf8(self.text)


@dataclass(frozen=True, kw_only=True, slots=True)
class SetDescription(Operation):
    """Set the search's section of the run's description, in Markdown.

    ``is_last``: the search has ended, so the server has no newer description. ``best``: the
    candidate whose run id becomes the tag ``trackmllib.best_run_id``, in the same request.
    """

    text: str
    is_last: bool = False
    best: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LogDataset(Operation):
    """Log a dataset of the run; ``path`` is None if it is not a file.

    ``context`` is MLflow's name for what the data was used for: ``train`` or ``eval``.
    ``mlflow_schema`` and ``mlflow_profile`` are as in ``Dataset``.
    """

    digest: str
    path: str | None
    schema: tuple[tuple[str, str], ...]
    context: str = "train"
    mlflow_schema: str | None = None
    mlflow_profile: str | None = None

    @classmethod
    def of(
        cls,
        search_id: str,
        dataset: Dataset,
        columns: tuple[tuple[str, str], ...],
        *,
        candidate: int | None = None,
        context: str = "train",
    ) -> LogDataset:
        """Log this dataset, whose columns have these names and types."""
        return cls(
            search_id=search_id,
            candidate=candidate,
            digest=dataset.digest,
            path=dataset.path,
            schema=columns,
            context=context,
            mlflow_schema=dataset.mlflow_schema,
            mlflow_profile=dataset.mlflow_profile,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LogModelMetrics(Operation):
    """Add metric points of a child run to a logged model.

    ``dataset`` has the name and the digest of the data; it is empty if the data is not logged.
    """

    model_id: str
    metrics: tuple[Metric, ...]
    dataset: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SetPrimaryMetric(Operation):
    """Set the primary metric of the experiment, unless another one is set.

    ``larger_is_better`` is None if unknown.
    """

    key: str
    larger_is_better: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkSearch(Operation):
    """Link the parent run with that of a prior search whose scores it reuses.

    Does nothing if the prior search is not on the server.
    """

    prior_search_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class EndRun(Operation):
    """End a run and set tags; with ``if_running`` only if it is still RUNNING."""

    status: RunStatus
    end_ms: int
    if_running: bool = False
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Recover(Operation):
    """Start a recovery, which is skipped if the server has the search's end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CloseSearch(Operation):
    """Close the search; its last operation."""
