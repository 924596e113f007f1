"""Names of runs, and of the params of a grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from trackmllib.domain import mlflow_limits
from trackmllib.domain.descriptions import Candidate, GridParam, ParentFit, SearchDescription
from trackmllib.support import formatting

MAX_VALUE_IN_NAME = 40


class GridNames:
    """Name of each param that a grid varies.

    The name is Spark's, such as ``maxDepth``. An ambiguous name is qualified by the class,
    ``HashingTF.numFeatures``; if still ambiguous by the index of the stage,
    ``HashingTF[1].numFeatures``; or else by the stage's uid.
    """

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self.params: dict[tuple[str, str], GridParam] = {}
        for candidate in candidates:
            for param in candidate.params:
                self.params.setdefault((param.owner, param.name), param)
        self._labels = _unambiguous(self.params)
        self._keys = _unique_keys(self._labels)

    def label(self, param: GridParam) -> str:
        """Name of the param in the name of a run."""
        return self._labels[param.owner, param.name]

    def key(self, param: GridParam) -> str:
        """Name of the param as a key in MLflow."""
        return self._keys[param.owner, param.name]


def _unambiguous(params: dict[tuple[str, str], GridParam]) -> dict[tuple[str, str], str]:
    labels = {place: param.name for place, param in params.items()}
    qualified: tuple[Callable[[GridParam], str], ...] = (
        lambda param: f"{param.owner_class}.{param.name}",
        lambda param: f"{_with_position(param)}.{param.name}",
        lambda param: f"{param.owner}.{param.name}",
    )
    for qualify in qualified:
        count = Counter(labels.values())
        labels = {
            place: qualify(params[place]) if count[label] > 1 else label
            for place, label in labels.items()
        }
    return labels


def _with_position(param: GridParam) -> str:
    if param.owner_position is None:
        return param.owner_class
    return f"{param.owner_class}[{param.owner_position}]"


def _unique_keys(labels: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Sanitized keys, made unique by a number."""
    keys: dict[tuple[str, str], str] = {}
    used: set[str] = set()
    for place, label in labels.items():
        key = sanitized = mlflow_limits.sanitize_key(label)
        number = 2
        while key in used:
            key = f"{sanitized}_{number}"
            number += 1
        used.add(key)
        keys[place] = key
    return keys


def child_run(candidate: Candidate, names: GridNames) -> str:
    """Name of a child run: ``maxDepth=4, maxBins=8``.

    Long values and long names are truncated.
    """
    if not candidate.params:
        return "default params"
    values = (
        f"{names.label(param)}={formatting.truncate(param.value.text, MAX_VALUE_IN_NAME)}"
        for param in candidate.params
    )
    return formatting.truncate(", ".join(values), mlflow_limits.MAX_RUN_NAME)


def parent_run(description: SearchDescription, parent: ParentFit | None = None) -> str:
    """Name of a parent run: ``CrossValidator: Pipeline(Tokenizer)``.

    The name of a nested search ends with its place: ``(fold 0)`` or ``(refit)``.
    """
    name = description.tuner.class_name
    if description.estimator is not None:
        name = f"{name}: {description.estimator.label}"
    place = _place(parent)
    return formatting.truncate(name, mlflow_limits.MAX_RUN_NAME - len(place)) + place


def _place(parent: ParentFit | None) -> str:
    if parent is None:
        return ""
    if parent.fold is not None:
        return f" (fold {parent.fold})"
    return " (refit)" if parent.refit else ""
