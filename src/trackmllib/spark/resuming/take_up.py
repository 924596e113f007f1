"""The intervention ``resume``: cells whose scores an earlier search has are not computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pyspark.ml.tuning import CrossValidator

from trackmllib.events import SearchDescription
from trackmllib.guard import attempt
from trackmllib.redaction import Hides
from trackmllib.settings import Settings
from trackmllib.spark.interventions import FoldCall, Intervention, LayOut, SearchAt, Task
from trackmllib.spark.resuming import rows
from trackmllib.spark.resuming.canonical import Canonical, digest
from trackmllib.spark.resuming.keys import SearchKeys, UnsetSeed, keys_for, unset_seeds
from trackmllib.spark.resuming.rows import Fold, Rows
from trackmllib.spark.resuming.unsound import Unsound
from trackmllib.stored_score import EarlierScores, StoredScore


def take_up(settings: Settings, search: SearchAt) -> Intervention | None:
    """The intervention, where it is asked for; a search inside of another one is part of a cell."""
    if not settings.resume or search.is_inner:
        return None
    return TakeUp(settings.data_version, search, settings.redaction.hides)


class TakeUp:
    """Scores of earlier searches, for one search."""

    name = "resume"

    def __init__(self, data_version: str | None, search: SearchAt, hides: Hides) -> None:
        self._hides = hides
        self._data_version = data_version
        self._search = search
        self._tuner: Any = None
        self._keys: SearchKeys | None = None
        self._gave_up = False
        self._whole: str | None = None
        self._folds: list[list[str]] = []
        self._found: dict[str, StoredScore] = {}
        self._laid_out = 0
        self._said_unreadable = False
        self._unset: dict[str, UnsetSeed] = {}

    def describe(self, description: SearchDescription, tuner: Any, maps: Any) -> SearchDescription:
        self._tuner = tuner
        return description

    def folds(self, tuner: Any, folds: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        self._folds, self._laid_out = [], 0
        self._tuner = tuner
        with_models = bool(tuner.getCollectSubModels())
        self._prepare(
            tuner.getEstimator(),
            tuner.getEvaluator(),
            tuner.getEstimatorParamMaps(),
            folds,
            with_models=with_models,
        )
        return folds

    def lay_out(self, call: FoldCall, lay_out: LayOut) -> list[Task]:
        at, self._laid_out = self._laid_out, self._laid_out + 1
        if at >= len(self._folds):
            self._prepare(
                call.estimator,
                call.evaluator,
                call.maps,
                [(call.train, call.validation)],
                with_models=call.collects_models,
            )
        if at >= len(self._folds):
            return lay_out(call)
        keys = self._folds[at]
        taken = {
            candidate: self._found[key].earlier
            for candidate, key in enumerate(keys)
            if key in self._found
        }
        if not taken:
            return lay_out(call)
        before = call.order or (lambda: range(len(call.maps)))
        return lay_out(
            replace(
                call,
                taken=taken,
                order=lambda: [candidate for candidate in before() if candidate not in taken],
            )
        )

    def close(self) -> None:
        return None

    def _prepare(
        self,
        estimator: Any,
        evaluator: Any,
        maps: Sequence[Any],
        folds: Sequence[tuple[Any, Any]],
        *,
        with_models: bool,
    ) -> None:
        """Know the keys of the cells of these folds, and find the scores that there are."""
        if self._gave_up:
            return
        try:
            if with_models:
                raise Unsound(
                    "collectSubModels wants the model of each cell", "and only scores are recorded"
                )
            if self._keys is None:
                versions = [("spark", str(self._search.data.sparkSession.version))]
                self._keys = keys_for(estimator, evaluator, maps, versions, self._hides)
            read = self._read(folds)
            new = [self._keys.of_fold(fold) for fold in read.folds]
            self._say_keys(read.whole, estimator, maps, new)
            found = self._search.earlier(self._keys.family, {key for keys in new for key in keys})
            self._found.update(found.wanted)
            self._folds += new
            self._say_found(found, read.whole)
        except Unsound as unsound:
            self._give_up(f"{unsound.what or 'something'}, {unsound.why}")
        except Exception as error:  # noqa: BLE001 - of the user's classes, of the disk, of ours
            self._give_up(f"{type(error).__name__}: {error}")

    def _read(self, folds: Sequence[tuple[Any, Any]]) -> Rows:
        if self._data_version is None:
            of_spark = not isinstance(self._tuner, CrossValidator) or (
                type(self._tuner)._kFold is CrossValidator._kFold
            )
            drawn_by = f"{self._tuner.uid}_rand"
            return rows.read(self._search.data, folds, partition=of_spark, without=drawn_by)
        schema = self._search.data.schema.json()
        whole = digest(["data_version", self._data_version, schema])
        tuner = self._tuner
        drawn = [
            str(attempt(lambda: getattr(tuner, f"get{name}")(), None))  # noqa: B023 - called at once
            for name in ("NumFolds", "Seed", "FoldCol", "TrainRatio")
        ]
        if drawn[2] not in ("None", ""):
            # The column says it all.
            drawn[1] = ""
        # A class of the user's may make folds of its own.
        how = Canonical().value(type(tuner))
        first = len(self._folds)
        return Rows(
            folds=tuple(
                Fold(
                    digest([whole, drawn, how, at, "train"]),
                    digest([whole, drawn, how, at, "validation"]),
                )
                for at in range(first, first + len(folds))
            ),
            whole=whole,
        )

    def _give_up(self, reason: str) -> None:
        self._gave_up = True
        self._search.tell(f"resume has no effect on this search: {reason}.")

    def _say_keys(
        self, whole: str, estimator: Any, maps: Sequence[Any], new: Sequence[Sequence[str]]
    ) -> None:
        assert self._keys is not None
        if self._whole is None:
            self._whole = whole
            self._unset = unset_seeds(self._tuner, estimator, maps)
            self._search.keyed(
                self._keys.family,
                whole,
                self._keys.settings,
                {}
                if self._hides("seed")
                else {place: seed.value for place, seed in self._unset.items()},
            )
        # Folds that are laid out already are of a loop before this one, of a subclass.
        for at, keys in enumerate(new, start=self._search.folds_begun):
            self._search.fold_keyed(at, keys)

    def _say_found(self, found: EarlierScores, whole: str) -> None:
        if found.not_seen:
            self._search.tell(f"resume could not look at all there is: {found.not_seen}.")
        if found.unreadable and not self._said_unreadable:
            self._said_unreadable = True
            self._search.tell(
                f"{found.unreadable} recorded scores are not as they were written, and are not "
                "taken up."
            )
        if found.wanted or not found.others:
            return
        self._search.tell(f"resume takes up nothing: {self._why_nothing(found, whole)}.")

    def _why_nothing(self, found: EarlierScores, whole: str) -> str:
        """Why none of the scores of searches of the same classes is of use."""
        assert self._keys is not None
        others = found.others.values()
        known = set(self._keys.settings)
        seeds = ""
        if self._unset:
            names = " and ".join(sorted({seed.owner for seed in self._unset.values()}))
            seeds = (
                f"no seed is set of {names}, and Spark's default is another one in each process: "
                'set seed=…, or autolog(resume="seed") takes the recorded one'
            )
        same_rows = [one for one in others if one.rows == whole]
        if not same_rows:
            return (
                "the rows of the data are not those of the searches that are recorded, or their "
                "columns have other names or types"
            )
        if any(one.setting in known for one in same_rows):
            return seeds or (
                "the data is the same, and its folds came out otherwise, by another seed or number "
                "of folds or by other partitions, on which what Spark draws with rand(seed) "
                "depends: a foldCol makes folds that stay"
            )
        return seeds or (
            "other params, code or versions have made the scores that are recorded of this data"
        )
