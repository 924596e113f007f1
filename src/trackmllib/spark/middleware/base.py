"""Middleware: an opt-in that changes how Spark computes a search.

To add one, write a module here with a subclass of ``Middleware`` and a function that creates it
from the settings of a search, or returns None if its option is off. List that function in
``registry.py``, at its place between the others, and declare the option in ``config``. Override
``fold_tasks`` and whichever other hooks you need; with no middleware enabled, Spark's own code runs
unchanged.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from types import FrameType
from typing import Any, Protocol, cast

from trackmllib.domain.descriptions import PriorScore, SearchDescription, SharedStages
from trackmllib.domain.score_tags import PriorScores
from trackmllib.spark.evaluation.plan import MetricPlan
from trackmllib.spark.middleware.lapack import initialize_lapack
from trackmllib.support.guard import attempt

Task = Callable[[], Any]
# Spark's pool iterates over the tasks in a separate thread.
Tasks = Iterable[Task]
CallNext = Callable[["FoldCall"], list[Task]]
RunFit = Callable[["RunningFit"], Any]
# Fits a stage, or derives its model, for the candidate of the current thread. Takes the stage with
# the candidate's params, the data, and the position in the pipeline. Returns the model, and the
# seconds of the fit from which it and others are derived, which are recorded separately.
FitStage = Callable[[Any, Any, int], tuple[Any, float]]


class Timer(Protocol):
    """Time limit of a fit."""

    def stop(self) -> None:
        """Stop, because the following work is not part of the fit."""
        ...

    def restart(self) -> None:
        """Start from zero."""
        ...

    def check(self) -> None:
        """Raise if the time is up."""
        ...


class RunningFit(Protocol):
    """Interface of a fit for the middleware around it.

    ``candidate`` is None until it is known. ``tag`` is the tag of its Spark jobs.
    """

    @property
    def candidate(self) -> int | None: ...

    @property
    def tag(self) -> str: ...

    def set_timer(self, timer: Timer | None) -> None:
        """Limit the time of the fit."""
        ...

    def check_time(self) -> None:
        """Raise ``CandidateTimeout`` if the fit has exceeded its time limit."""
        ...

    def restart_timer(self) -> None:
        """Start the time limit from zero."""
        ...

    def exclude(self, seconds: float) -> None:
        """Exclude seconds that just passed from the recorded duration of the fit."""
        ...

    def record_derived_from(self, candidate: int) -> None:
        """Record that the model is derived from that of another candidate."""
        ...

    def run(self) -> Any:
        """Compute the fit, again at each call, and return Spark's result."""
        ...

    def result(self, candidate: int, score: float) -> Any:
        """Create Spark's result for this score, without a model."""
        ...

    def record_retry(self, tries: int, error: BaseException) -> None:
        """Record that the fit failed and is retried."""
        ...

    def record_skip(self, candidate: int, error: Exception | None) -> None:
        """Record that the search continues without the score of this fit.

        ``error`` is None if another fit of the candidate has failed.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class FoldCall:
    """One call of Spark's ``_parallelFitTasks``, for the tasks of a fold.

    Middleware changes how the fits run by replacing the fields that have a default:

    * ``reused`` has the recorded scores of candidates that are not computed.
    * ``order`` is called before the first fit, and returns the order of the candidates. None leaves
      the order to Spark.
    * ``results_in_grid_order`` says that Spark must receive the results in the order of the grid,
      whatever ``order`` is.
    * ``prepare`` is called with a candidate before its fit, outside the time of the fit.
    * ``run_fit`` is called with each fit, in place of ``RunningFit.run``, and calls it.
    * ``fit_stage`` fits a stage of a pipeline, in place of the stage's own ``fit``.
    * ``score_for_spark`` maps a candidate and its score to the score that Spark receives.

    ``loop_number`` counts Spark's loops over the folds: a subclass of a tuner may run several in
    one search.
    """

    estimator: Any
    train: Any
    evaluator: Any
    validation: Any
    maps: Sequence[Any]
    collects_models: bool
    reused: Mapping[int, PriorScore] = field(default_factory=dict)
    order: Callable[[], Sequence[int]] | None = None
    results_in_grid_order: bool = True
    prepare: Callable[[int], None] | None = None
    run_fit: RunFit | None = None
    fit_stage: FitStage | None = None
    score_for_spark: Callable[[int, float], float] | None = None
    loop_number: int = 0


class SearchEnded(Exception):
    """Ends a fit whose search has ended; never reaches the user."""


class Middleware(ABC):
    """Base class of all middleware; an instance belongs to one search.

    ``name`` is the option that enables it. All methods are called in the thread of ``fit()``.
    """

    name: str

    def describe(self, description: SearchDescription, tuner: Any, maps: Any) -> SearchDescription:
        """Add what this middleware will change to the description.

        :param tuner: The tuner, with the params given to ``fit()``.
        :param maps: The grid; None for the tuner's own.
        """
        return description

    def wrap_folds(self, tuner: Any, folds: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        """Return the pairs of training and validation data, or proxies of these.

        Called before the first fold of a loop.
        """
        return folds

    @abstractmethod
    def fold_tasks(self, call: FoldCall, call_next: CallNext) -> Tasks:
        """Return the tasks of a fold from ``call_next``."""

    def close(self) -> None:
        """Release all resources at the end of the search; fits may still run."""
        return


class MiddlewareContext(Protocol):
    """Interface of the search for its middleware."""

    tuner: Any
    data: Any
    # Whether the search is nested in another one.
    is_inner: bool
    # Candidates that Spark must not choose in its current loop over the folds.
    cannot_win: Collection[int]

    @property
    def seconds(self) -> dict[int, float]:
        """Seconds that the last scored fit of each candidate took."""
        ...

    @property
    def metric_plan(self) -> MetricPlan:
        """Further metrics of each fit; empty until the search has started."""
        ...

    @property
    def folds_begun(self) -> int:
        """Number of folds whose tasks have been created."""
        ...

    def record_shared_stages(
        self, fold: int, shared: SharedStages, seconds: float, elsewhere: float = 0.0
    ) -> None:
        """Record that this thread has just computed stages for several candidates.

        :param elsewhere: Seconds in between that are recorded separately, as a nested fit.
        """
        ...

    def record_search_keys(
        self, family: str, seeds: Mapping[str, int], metrics: Mapping[str, str]
    ) -> None:
        """Record the family by which later searches find the scores of this one.

        :param metrics: The fingerprints of further metrics, by name.
        """
        ...

    def record_fold_keys(
        self, fold: int, keys: Sequence[str], candidates: Sequence[str], parts: Mapping[str, str]
    ) -> None:
        """Record the keys of a fold's fits, by candidate, and their parts."""
        ...

    def prior_scores(
        self, family: str, keys: Collection[str], metrics: Mapping[str, str]
    ) -> PriorScores:
        """Look up scores of earlier searches of this family.

        :param metrics: Fingerprints of the further metrics that each score must have, by name.
        """
        ...

    def warn_once(self, sentence: str) -> None:
        """Show a one-line warning, once in this process."""
        ...

    def warn(self, sentence: str) -> None:
        """Show a one-line warning about this search."""
        ...


class MiddlewareStack:
    """The middleware of one search, from the outermost to the innermost."""

    def __init__(self, middleware: Sequence[Middleware]) -> None:
        self._middleware = tuple(middleware)
        # Whether Spark's own loop over the folds has run.
        self._used = False
        # The frame of the current loop, and the number of loops so far.
        self._frame: FrameType | None = None
        self._loops = 0

    def describe(self, description: SearchDescription, tuner: Any, maps: Any) -> SearchDescription:
        for middleware in self._middleware:
            describe = partial(middleware.describe, description, tuner, maps)
            description = attempt(describe, description)
        return description

    def wrap_folds(self, tuner: Any, folds: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        for middleware in reversed(self._middleware):
            folds = middleware.wrap_folds(tuner, folds)
        return folds

    def fold_tasks(self, call: FoldCall, call_next: CallNext, frame: FrameType) -> Tasks:
        """Return the tasks of a fold of the loop that runs in ``frame``."""
        self._used = True
        if frame is not self._frame:
            self._frame = frame
            self._loops += 1
            initialize_lapack(call.train)
        call = replace(call, loop_number=self._loops)
        for middleware in reversed(self._middleware):
            # Only the outermost may return an iterator instead of a list.
            call_next = cast(CallNext, partial(middleware.fold_tasks, call_next=call_next))
        return call_next(call)

    def warn_if_unused(self, search: MiddlewareContext) -> None:
        """Warn that the options had no effect if Spark's loop did not run."""
        if self._used:
            return
        options = " and ".join(middleware.name for middleware in self._middleware)
        have = "have" if len(self._middleware) > 1 else "has"
        search.warn_once(
            f"{options} {have} no effect on a {type(search.tuner).__name__}: it has its own loop "
            "over the folds, or trackmllib does not support this version of pyspark."
        )

    def close(self) -> None:
        self._frame = None
        with ExitStack() as stack:
            for middleware in self._middleware:
                stack.callback(middleware.close)
