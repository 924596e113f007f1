"""Middleware ``resume``: reuses the scores of earlier searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from trackmllib.config.settings import Settings
from trackmllib.domain.descriptions import SearchDescription
from trackmllib.domain.score_tags import PriorScores, StoredScore
from trackmllib.spark.introspection.components import values
from trackmllib.spark.introspection.estimators import has_spark_method
from trackmllib.spark.middleware.base import CallNext, FoldCall, Middleware, MiddlewareContext, Task
from trackmllib.spark.middleware.frames import unwrap_frames
from trackmllib.spark.middleware.score_reuse import data_fingerprint, keys
from trackmllib.spark.middleware.score_reuse.errors import NotComparable
from trackmllib.spark.middleware.score_reuse.fingerprint import digest
from trackmllib.spark.middleware.score_reuse.seeds import UnsetSeed, owner_names, unset_seeds
from trackmllib.spark.middleware.score_reuse.spark_conf import relevant_conf
from trackmllib.support.formatting import count

# Descriptions of the parts of a key, in the order of messages.
_PARTS = {
    "candidate": "the classes, params or attributes of the estimator",
    keys.WHOLE_GRID: "the grid, which this estimator fits as a whole",
    "evaluator": "the evaluator",
    "metrics": "the further metrics",
    "code_version": "code_version",
    "version": "the version of Spark or of a library",
    "data_version": "data_version, the columns, or how the folds were drawn",
    "columns": "the names, types or metadata of the columns",
    "rows": "the rows of the data",
    "folds": "the number, the seed or the column of the folds",
    "layout": "the order or the partitions of the rows",
    "Spark conf": "the Spark SQL conf, default parallelism, Java or architecture",
}


def score_reuse(settings: Settings, search: MiddlewareContext) -> Middleware | None:
    """Create the middleware if ``resume`` is on; None for a nested search."""
    if not settings.resume or search.is_inner:
        return None
    return ScoreReuse(settings, search)


class ScoreReuse(Middleware):
    """Reuse of scores in one search."""

    name = "resume"

    def __init__(self, settings: Settings, search: MiddlewareContext) -> None:
        self._settings = settings
        self._search = search
        self._tuner: Any = search.tuner
        # Folds of a loop that has not started.
        self._folds: list[tuple[Any, Any]] = []
        # Keys of the folds of the current loop that have not started.
        self._keys_left: list[list[str]] = []
        self._all_or_none = False
        self._scores: dict[str, StoredScore] = {}
        # Fingerprints of further metrics, by name.
        self._metrics: Mapping[str, str] = {}
        self._is_off = False
        self._unset_seeds: dict[str, UnsetSeed] | None = None
        self._warned: set[str] = set()

    def describe(self, description: SearchDescription, tuner: Any, maps: Any) -> SearchDescription:
        self._tuner = tuner
        return description

    def wrap_folds(self, tuner: Any, folds: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        self._tuner = tuner
        self._folds, self._keys_left = list(folds), []
        return folds

    def fold_tasks(self, call: FoldCall, call_next: CallNext) -> list[Task]:
        if not self._keys_left and not self._is_off:
            frames = unwrap_frames(call)
            self._start_loop(call, self._folds or [(frames.train, frames.validation)])
            self._folds = []
        fold_keys = self._keys_left.pop(0) if self._keys_left else []
        reused = {
            candidate: self._scores[key].prior_with(self._metrics)
            for candidate, key in enumerate(fold_keys)
            if key in self._scores
        }
        if not reused or (self._all_or_none and len(reused) < len(call.maps)):
            return call_next(call)
        return call_next(replace(call, reused=reused))

    def _start_loop(self, call: FoldCall, folds: Sequence[tuple[Any, Any]]) -> None:
        """Compute the keys of a loop, and look up their scores."""
        try:
            if call.collects_models:
                raise NotComparable(
                    "collectSubModels", "it requires models; only scores are recorded"
                )
            loop = self._loop_keys(call)
            fingerprints = self._fingerprint(folds)
            parts = [{**loop.parts, **fold} for fold in fingerprints]
            if self._unset_seeds is None:
                self._unset_seeds = unset_seeds(self._tuner, call.estimator, call.maps)
                shown = {} if self._settings.redaction.hides("seed") else self._unset_seeds
                seeds = {place: seed.value for place, seed in shown.items()}
                self._search.record_search_keys(loop.family, seeds, loop.metrics)
            self._metrics = loop.metrics
            self._keys_left = [loop.of_fold(fold) for fold in fingerprints]
            self._all_or_none = keys.WHOLE_GRID in loop.parts
            for fold, fold_keys in enumerate(self._keys_left):
                number = self._search.folds_begun + fold
                self._search.record_fold_keys(number, fold_keys, loop.candidates, parts[fold])
            wanted = set().union(*self._keys_left)
            found = self._search.prior_scores(loop.family, wanted, loop.metrics)
            self._scores.update(found.wanted)
            self._warn_about(found, loop.candidates, parts)
        except Exception as error:  # noqa: BLE001 - from user code, the disk or us
            self._is_off, self._keys_left = True, []
            kind = "" if isinstance(error, NotComparable) else f"{type(error).__name__}: "
            self._search.warn(
                "resume is off for this search, so Spark computes its remaining fits: "
                f"{kind}{error}."
            )

    def _loop_keys(self, call: FoldCall) -> keys.LoopKeys:
        """Compute the keys of a loop, without its data."""
        session = self._search.data.sparkSession
        return keys.keys_for(
            self._tuner,
            call.estimator,
            call.evaluator,
            call.maps,
            metrics=self._search.metric_plan.evaluators(call.evaluator),
            spark=str(session.version),
            conf=relevant_conf(session, with_layout=self._settings.data_version is None),
            code_version=self._settings.code_version,
            hides=self._settings.redaction.hides,
        )

    def _fingerprint(
        self, folds: Sequence[tuple[Any, Any]]
    ) -> list[data_fingerprint.FoldFingerprint]:
        tuner, data = self._tuner, self._search.data
        split_params = {
            param.name: value
            for param, value in values(tuner).items()
            if param.name in ("foldCol", "numFolds", "seed", "trainRatio")
        }
        if split_params.get("foldCol"):
            # Only the column determines the folds.
            split_params.pop("seed", None)
        version = self._settings.data_version
        if version is not None:
            first = self._search.folds_begun
            whole = [version, data.schema.json(), split_params]
            return [{"data_version": digest([*whole, first + at])} for at in range(len(folds))]
        split_by_spark = all(has_spark_method(tuner, name) for name in ("fit", "_fit", "_kFold"))
        return data_fingerprint.fingerprint_folds(
            data,
            folds,
            split_params=split_params if split_by_spark else None,
            added_column=f"{tuner.uid}_rand",
        )

    def _warn_about(
        self, found: PriorScores, candidates: Sequence[str], folds: Sequence[Mapping[str, str]]
    ) -> None:
        """Warn why scores are not reused; each warning once."""
        warnings = []
        if why := found.read_error:
            warnings.append(f"resume could not read all scores, so Spark computes the rest: {why}.")
        if found.unreadable:
            scores = count(found.unreadable, "recorded score that was", "recorded scores that were")
            warnings.append(f"resume ignores {scores} truncated or changed.")
        if found.others and not found.wanted:
            # Compare with the recorded score that is most similar to this search.
            pairs = product(found.others.values(), folds)
            differ = min(
                (one.differs(fold, candidates, self._metrics) for one, fold in pairs), key=len
            )
            warnings.append(
                f"resume reuses no score, so Spark computes all fits: {self._why(differ)}."
            )
        for warning in warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                self._search.warn(warning)

    def _why(self, differ: set[str]) -> str:
        """Return which parts of the key differ, and what to do."""
        if self._unset_seeds and differ & {"candidate", "folds", "rows", "layout"}:
            names = owner_names(self._unset_seeds.values())
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
        described = [text for name, text in _PARTS.items() if name in differ]
        return f"the most similar recorded search differs in {', '.join(described) or 'its scores'}"
