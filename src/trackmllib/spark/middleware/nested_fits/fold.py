"""Nested fits of one fold.

The thread whose candidate needs a group first fits the group's largest candidate. Threads of other
candidates wait; this time is not part of their fits. If that fit fails, or if a model cannot be
derived, candidates are fitted separately, so that errors are Spark's own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

# Not _FitMultipleIterator itself, which a later pyspark may not have.
from pyspark.ml import base

from trackmllib.domain.descriptions import SharedStages
from trackmllib.spark.middleware.base import (
    FoldCall,
    MiddlewareContext,
    RunningFit,
    SearchEnded,
    Task,
)
from trackmllib.spark.middleware.nested_fits.base import NotDerivable
from trackmllib.spark.middleware.nested_fits.plan import NestedGroup
from trackmllib.spark.middleware.stage_sharing.plan import Plan, last_estimator_position
from trackmllib.support.formatting import error_summary


class NestedEstimator:
    """Proxy of an estimator that is not a pipeline."""

    fits_in_any_order = True

    def __init__(self, estimator: Any, fit_stage: Callable[[Any, Any, int], Any]) -> None:
        self._estimator = estimator
        self._fit_stage = fit_stage

    def fitMultiple(self, dataset: Any, maps: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        # As Spark's Estimator.fitMultiple.
        estimator = self._estimator.copy()

        def fit_single_model(index: int) -> Any:
            model, _ = self._fit_stage(estimator.copy(maps[index]), dataset, 0)
            return model

        models: Iterator[tuple[int, Any]] = base._FitMultipleIterator(fit_single_model, len(maps))
        return models

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)


class NestedFold:
    """Nested fits of one fold.

    :param on_failed: Called with the largest candidate of a group if its fit fails.
    """

    def __init__(
        self,
        call: FoldCall,
        groups: Sequence[NestedGroup],
        stages: Plan,
        search: MiddlewareContext,
        on_failed: Callable[[int], None],
        *,
        fold: int,
    ) -> None:
        self._call = call
        self._stages = stages
        self._thread = threading.local()
        fits = [_LargestFit(group, call, search, on_failed, fold=fold) for group in groups]
        # By candidate, then by position. A candidate acquires its groups in the order of the
        # stages, so no two threads wait for each other.
        self._fits: dict[int, dict[int, _LargestFit]] = {}
        for each in sorted(fits, key=lambda each: each.group.position):
            for candidate in each.group.candidates:
                self._fits.setdefault(candidate, {})[each.group.position] = each

    def run_fit(self, fold_fit: RunningFit) -> Any:
        """Run a fit, and release what it has acquired."""
        self._thread.fit, self._thread.candidate = fold_fit, None
        try:
            return fold_fit.run() if self._call.run_fit is None else self._call.run_fit(fold_fit)
        finally:
            candidate = self._thread.candidate
            for each in self._fits.get(candidate, {}).values():
                each.release(candidate)
            self._thread.fit = None

    def prepare(self, candidate: int) -> None:
        """Wait until no other thread fits the largest candidate of a group."""
        if self._call.prepare is not None:
            self._call.prepare(candidate)
        self._thread.candidate = candidate
        for each in self._fits.get(candidate, {}).values():
            each.acquire()

    def resetting_candidate(self, task: Task) -> Task:
        """Wrap a task so that ``last_candidate`` returns only its own."""

        def forget_and_run() -> Any:
            self._thread.candidate = None
            return task()

        return forget_and_run

    def last_candidate(self) -> int | None:
        """Return the candidate of the last fit in this thread, if known."""
        candidate: int | None = getattr(self._thread, "candidate", None)
        return candidate

    def fit_stage(self, estimator: Any, data: Any, position: int) -> tuple[Any, float]:
        """Fit a stage for this thread's candidate, or derive its model.

        :param estimator: With the params of the candidate.
        :returns: The model, and the seconds of a fit that others share.
        """
        candidate = self._thread.candidate
        largest_fit = self._fits.get(candidate, {}).get(position)
        if largest_fit is None:
            return estimator.fit(data), 0.0
        seconds = largest_fit.fit_once(data, candidate, self._thread.fit)
        model = largest_fit.derive(estimator, data, candidate)
        if model is None:
            return estimator.fit(data), seconds
        largest = largest_fit.group.largest
        if candidate != largest and position == self._last_position(candidate):
            self._thread.fit.record_derived_from(largest)
        return model, seconds

    def _last_position(self, candidate: int) -> int:
        """Position of the last stage that is fitted; its model makes the predictions."""
        return last_estimator_position(self._stages.stages[candidate])

    def close(self) -> None:
        """Release all models, and end the fits that wait."""
        for fits in self._fits.values():
            for each in fits.values():
                each.close()


class _LargestFit:
    """The fit of the largest candidate of a group.

    Its model is kept until the last candidate of the group is done.
    """

    def __init__(
        self,
        group: NestedGroup,
        call: FoldCall,
        search: MiddlewareContext,
        on_failed: Callable[[int], None],
        *,
        fold: int,
    ) -> None:
        self.group = group
        self._call = call
        self._search = search
        self._on_failed = on_failed
        self._fold = fold
        self._changed = threading.Condition()
        self._thread: int | None = None
        self._left = set(group.candidates)
        self._is_tried = False
        self._is_closed = False
        # Whether the model is that of the largest candidate itself.
        self._is_of_largest = False
        self._model: Any = None

    def acquire(self) -> None:
        """Wait for another thread's fit, or let this thread fit."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closed or self._is_tried or self._thread is None
            )
            if self._is_closed:
                raise SearchEnded
            if not self._is_tried:
                self._thread = threading.get_ident()

    def fit_once(self, data: Any, candidate: int, fold_fit: RunningFit) -> float:
        """Fit the largest candidate, in one thread; return the seconds.

        Returns 0 if another thread fits or has fitted it.

        :raises CandidateTimeout: This is the largest candidate, and it took too long.
        """
        with self._changed:
            if self._is_tried or self._thread != threading.get_ident():
                return 0.0
        start = time.monotonic()
        model = None
        try:
            largest = self.group.stage.copy(self._call.maps[self.group.largest])
            to_fit = self.group.rule.estimator_to_fit(largest)
            self._is_of_largest = to_fit is largest
            model = to_fit.fit(data)
        except Exception:  # noqa: BLE001 - a separate fit raises it again, as Spark would
            self._on_failed(self.group.largest)
        finally:
            with self._changed:
                self._is_tried, self._thread, self._model = True, None, model
                self._changed.notify_all()
        seconds = time.monotonic() - start
        if candidate != self.group.largest:
            # This time counts for the largest candidate only.
            fold_fit.restart_timer()
            fold_fit.exclude(seconds)
        elif model is None:
            fold_fit.check_time()
        else:
            fold_fit.exclude(seconds)
        if model is None:
            return 0.0
        shared = SharedStages(
            stages=(type(self.group.stage).__name__,), candidates=self.group.candidates
        )
        self._search.record_shared_stages(self._fold, shared, seconds)
        return seconds

    def derive(self, estimator: Any, data: Any, candidate: int) -> Any:
        """Return the model of a candidate; None if it must be fitted separately."""
        with self._changed:
            large = self._model
        if large is None:
            return None
        if self._is_of_largest and candidate == self.group.largest:
            return large
        try:
            model = self.group.rule.derive(large, estimator, data)
        except NotDerivable:
            return None
        except Exception as error:  # noqa: BLE001 - a separate fit raises it again, if it is Spark's
            self._search.warn_once(
                f"nested_fits cannot derive a model of {type(estimator).__name__} from that of a "
                f"larger candidate ({error_summary(error)}); each candidate is fitted separately."
            )
            return None
        return model

    def release(self, candidate: int) -> None:
        """Release what a candidate has acquired; drop the model after the last."""
        with self._changed:
            self._left.discard(candidate)
            if self._thread == threading.get_ident():
                self._thread = None
                self._changed.notify_all()
            if not self._left:
                self._model = None

    def close(self) -> None:
        with self._changed:
            self._is_closed, self._model = True, None
            self._changed.notify_all()
