"""The names that people see: of child runs, of main runs, and of the params of a grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from trackmllib import limits
from trackmllib.events import Candidate, GridSetting, Place, SearchDescription

MAX_VALUE_IN_NAME = 40


class GridNames:
    """The name of each param that a grid varies.

    Spark's short name, ``maxDepth``. Only where params of two stages have the same name are these
    qualified: by class, ``HashingTF.numFeatures``, and where that is not enough by the index of the
    stage in the pipeline, ``HashingTF[1].numFeatures``, or at last by the stage's uid.
    """

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self.settings: dict[tuple[str, str], GridSetting] = {}
        for candidate in candidates:
            for setting in candidate.settings:
                self.settings.setdefault((setting.owner, setting.name), setting)
        self._labels = _distinct(self.settings)
        self._keys = _unique_keys(self._labels)

    def label(self, setting: GridSetting) -> str:
        """The name as it reads in the name of a run."""
        return self._labels[setting.owner, setting.name]

    def key(self, setting: GridSetting) -> str:
        """The name as MLflow takes it for a param."""
        return self._keys[setting.owner, setting.name]


def _distinct(settings: dict[tuple[str, str], GridSetting]) -> dict[tuple[str, str], str]:
    labels = {where: setting.name for where, setting in settings.items()}
    ways: tuple[Callable[[GridSetting], str], ...] = (
        lambda setting: f"{setting.owner_class}.{setting.name}",
        lambda setting: f"{_with_position(setting)}.{setting.name}",
        lambda setting: f"{setting.owner}.{setting.name}",
    )
    for way in ways:
        count = Counter(labels.values())
        labels = {
            where: way(settings[where]) if count[label] > 1 else label
            for where, label in labels.items()
        }
    return labels


def _with_position(setting: GridSetting) -> str:
    if setting.owner_position is None:
        return setting.owner_class
    return f"{setting.owner_class}[{setting.owner_position}]"


def _unique_keys(labels: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Keys for the labels; where mending makes two the same, the later ones get a number."""
    keys: dict[tuple[str, str], str] = {}
    taken: set[str] = set()
    for where, label in labels.items():
        key = candidate = limits.key(label)
        number = 2
        while candidate in taken:
            candidate = f"{key}_{number}"
            number += 1
        taken.add(candidate)
        keys[where] = candidate
    return keys


def child_run(candidate: Candidate, names: GridNames) -> str:
    """The candidate in words: ``maxDepth=4, maxBins=8``, long values and long names cut."""
    if not candidate.settings:
        return "default params"
    words = (
        f"{names.label(setting)}={limits.cut(setting.value.text, MAX_VALUE_IN_NAME)}"
        for setting in candidate.settings
    )
    return limits.cut(", ".join(words), limits.MAX_RUN_NAME)


def main_run(description: SearchDescription, parent: Place | None = None) -> str:
    """The search in words: ``CrossValidator: Pipeline(StringIndexer, LogisticRegression)``.

    Of one inside of another search with its place there, ``(fold 0)`` or ``(refit)``.
    """
    name = description.tuner.class_name
    if description.estimator is not None:
        name = f"{name}: {description.estimator.label}"
    place = _place(parent)
    return limits.cut(name, limits.MAX_RUN_NAME - len(place)) + place


def _place(parent: Place | None) -> str:
    if parent is None:
        return ""
    if parent.fold is not None:
        return f" (fold {parent.fold})"
    return " (refit)" if parent.refit else ""
