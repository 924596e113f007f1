"""Reuse of the scores of earlier searches in place of fits (``resume``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from trackmllib.events import SearchDescription
from trackmllib.plural import count
from trackmllib.settings import Settings
from trackmllib.spark.components import values
from trackmllib.spark.interventions import (
    FoldCall,
    Intervention,
    LayOut,
    SearchAt,
    Task,
    of_frames,
)
from trackmllib.spark.resuming import keys, rows
from trackmllib.spark.resuming.fingerprint import Unsound, digest
from trackmllib.spark.resuming.sql_conf import relevant_conf
from trackmllib.stored_score import EarlierScores, StoredScore

# Names of the parts of a key in messages, in the order in which messages list them.
_CALLED = {
    "candidate": "the classes, params or attributes of the estimator",
    keys.WHOLE_GRID: "the grid, which this estimator fits as a whole",
    "evaluator": "the evaluator",
    "code_version": "code_version",
    "version": "the version of Spark or of a library",
    "data_version": "data_version, the columns, or how the folds were drawn",
    "columns": "the names, types or metadata of the columns",
    "rows": "the rows of the data",
    "folds": "the number, the seed or the column of the folds",
    "layout": "the order or the partitions of the rows",
    "Spark conf": "the Spark SQL conf, default parallelism, Java or architecture",
}


def take_up(settings: Settings, search: SearchAt) -> Intervention | None:
    """Create the reuse of scores, if asked for; None in an inner search."""
    if not settings.resume or search.is_inner:
        return None
    return TakeUp(settings, search)


class TakeUp(Intervention):
    """Reuse of scores of earlier searches in one search."""

    name = "resume"

    def __init__(self, settings: Settings, search: SearchAt) -> None:
        self._settings = settings
        self._search = search
        self._tuner: Any = search.tuner
        # The data of the folds of a loop that has not begun yet.
        self._frames: list[tuple[Any, Any]] = []
        # The keys of the folds that the current loop has not laid out yet.
        self._left: list[list[str]] = []
        self._all_or_none = False
        self._found: dict[str, StoredScore] = {}
        self._gave_up = False
        self._unset: dict[str, keys.UnsetSeed] | None = None
        self._said: set[str] = set()

    def describe(self, description: SearchDescription, tuner: Any, maps: Any) -> SearchDescription:
        self._tuner = tuner
        return description

    def folds(self, tuner: Any, folds: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        self._tuner = tuner
        self._frames, self._left = list(folds), []
        return folds

    def lay_out(self, call: FoldCall, lay_out: LayOut) -> list[Task]:
        if not self._left and not self._gave_up:
            frames = of_frames(call)
            self._begin_loop(call, self._frames or [(frames.train, frames.validation)])
            self._frames = []
        of_fold = self._left.pop(0) if self._left else []
        reused = {
            candidate: self._found[key].earlier
            for candidate, key in enumerate(of_fold)
            if key in self._found
        }
        if not reused or (self._all_or_none and len(reused) < len(call.maps)):
            return lay_out(call)
        return lay_out(replace(call, taken=reused))

    def _begin_loop(self, call: FoldCall, frames: Sequence[tuple[Any, Any]]) -> None:
        """Compute the keys of a loop over these folds, and look up their scores."""
        try:
            if call.collects_models:
                raise Unsound("collectSubModels", "it requires models; only scores are recorded")
            loop = self._keys(call)
            folds = self._read(frames)
            parts = [{**loop.parts, **fold} for fold in folds]
            if self._unset is None:
                self._unset = keys.unset_seeds(self._tuner, call.estimator, call.maps)
                shown = {} if self._settings.redaction.hides("seed") else self._unset
                self._search.keyed(loop.family, {at: seed.value for at, seed in shown.items()})
            self._left = [loop.of_fold(fold) for fold in folds]
            self._all_or_none = keys.WHOLE_GRID in loop.parts
            for at, (of_fold, each) in enumerate(zip(self._left, parts, strict=True)):
                self._search.fold_keyed(self._search.folds_begun + at, of_fold, loop.settings, each)
            found = self._search.earlier(loop.family, set().union(*self._left))
            self._found.update(found.wanted)
            self._say(found, loop.settings, parts)
        except Exception as error:  # noqa: BLE001 - from user code, the disk or us
            self._gave_up, self._left = True, []
            of_what = "" if isinstance(error, Unsound) else f"{type(error).__name__}: "
            happened = "resume is off for this search, so Spark computes its remaining fits"
            self._search.tell(f"{happened}: {of_what}{error}.")

    def _keys(self, call: FoldCall) -> keys.LoopKeys:
        """Compute the keys of a loop, from the components as they are now."""
        session = self._search.data.sparkSession
        return keys.keys_for(
            self._tuner,
            call.estimator,
            call.evaluator,
            call.maps,
            spark=str(session.version),
            conf=relevant_conf(session, with_layout=self._settings.data_version is None),
            code_version=self._settings.code_version,
            hides=self._settings.redaction.hides,
        )

    def _read(self, frames: Sequence[tuple[Any, Any]]) -> list[rows.Fold]:
        tuner, data = self._tuner, self._search.data
        drawn = {
            param.name: value
            for param, value in values(tuner).items()
            if param.name in ("foldCol", "numFolds", "seed", "trainRatio")
        }
        if drawn.get("foldCol"):
            # The column determines the folds, and the seed has no effect.
            drawn.pop("seed", None)
        version = self._settings.data_version
        if version is not None:
            begun = self._search.folds_begun
            of_all = [version, data.schema.json(), drawn]
            return [{"data_version": digest([*of_all, begun + at])} for at in range(len(frames))]
        by_spark = all(keys.is_of_spark(tuner, name) for name in ("fit", "_fit", "_kFold"))
        drawn_by_spark = drawn if by_spark else None
        return rows.read(data, frames, drawn=drawn_by_spark, without=f"{tuner.uid}_rand")

    def _say(
        self, found: EarlierScores, settings: Sequence[str], folds: Sequence[Mapping[str, str]]
    ) -> None:
        """Tell the user, once each, which scores are not reused, and why."""
        told = []
        if why := found.not_seen:
            told.append(f"resume could not read all scores, so Spark computes the rest: {why}.")
        if found.unreadable:
            scores = count(found.unreadable, "recorded score that was", "recorded scores that were")
            told.append(f"resume ignores {scores} truncated or changed.")
        if found.others and not found.wanted:
            # Compare with the recorded score that is most similar to this search.
            pairs = product(found.others.values(), folds)
            differ = min((one.differs(fold, settings) for one, fold in pairs), key=len)
            told.append(f"resume reuses no score, so Spark computes all fits: {self._why(differ)}.")
        for sentence in told:
            if sentence not in self._said:
                self._said.add(sentence)
                self._search.tell(sentence)

    def _why(self, differ: set[str]) -> str:
        """Say which parts of the key differ, and what to do."""
        if self._unset and differ & {"candidate", "folds", "rows", "layout"}:
            names = " and ".join(sorted({seed.owner for seed in self._unset.values()}))
            return (
                f"no seed is set on {names}, and Spark's default differs in each process; set "
                'seed=…, or use the recorded seeds with autolog(resume="seed")'
            )
        if differ <= {"layout", "Spark conf"} and "layout" in differ:
            return (
                "the folds have the recorded rows, but in another order or other partitions, on "
                "which scores may depend; if that does not matter to you, set the same "
                'data_version="…" for both searches'
            )
        called = [called for name, called in _CALLED.items() if name in differ]
        return f"the most similar recorded search differs in {', '.join(called) or 'its scores'}"
