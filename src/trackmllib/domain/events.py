"""Events of a search: frozen plain data, without pyspark and mlflow.

A search starts, its fits start and are scored or fail, candidates are complete when their last fold
is scored, the refit starts, and the search finishes or fails. Times are in milliseconds since the
epoch, durations in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from trackmllib.config.children import ALL
from trackmllib.domain.descriptions import (
    Cost,
    Failure,
    MetricAverage,
    ParentFit,
    PriorScore,
    SearchDescription,
    SharedStages,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened in the search ``search_id`` at ``time_ms``."""

    search_id: str
    time_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchStarted(Event):
    """``fit()`` of a tuner was called; ``parent`` is the outer search, if any.

    ``children`` selects the candidates that get child runs: ``all``, or ``best:20``. ``rank_tags``,
    ``primary_metric`` and ``extra_tags`` are the options of these names.
    """

    description: SearchDescription
    parent: ParentFit | None = None
    children: str = ALL
    rank_tags: bool = False
    primary_metric: bool = False
    extra_tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FitStarted(Event):
    """The fit of a candidate on a fold started, in the thread with this id."""

    candidate: int
    fold: int
    thread: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class FitScored(Event):
    """A candidate was fitted and scored on a fold.

    ``dtype`` is the numpy type of the score, which determines how Spark averages it; None for a
    Python number. ``counts_as`` is the number that Spark receives instead of the score, if any.
    ``metrics`` are the values of further metrics by name, computed in ``metrics_seconds`` after
    ``time_ms``. ``derived_from`` is the candidate from whose model this candidate's model was
    derived; None if this candidate was fitted. ``start_ms`` is the start of the last attempt; None
    means the start of the fit. ``shares_work``: the model is derived, or other candidates use work
    that this fit needs, so its seconds and its cost do not cover all of its work.
    """

    candidate: int
    fold: int
    score: float
    fit_seconds: float
    evaluate_seconds: float
    dtype: str | None = None
    counts_as: float | None = None
    metrics: tuple[tuple[str, float], ...] = ()
    metrics_seconds: float | None = None
    derived_from: int | None = None
    start_ms: int | None = None
    shares_work: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelLogged(Event):
    """A model was logged as a logged model of MLflow 3.

    It is the model of a fit, or of the refit if ``candidate`` and ``fold`` are None.
    """

    model_id: str
    candidate: int | None = None
    fold: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchKeyed(Event):
    """The search has keys by which later searches can reuse its scores.

    ``family`` is equal for searches that may have equal keys. ``seeds`` are the unset seeds, by the
    place of their owner. ``metric_fingerprints`` are those of further metrics, by name.
    """

    family: str
    seeds: tuple[tuple[str, int], ...] = ()
    metric_fingerprints: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldKeyed(Event):
    """The keys of a fold's fits were computed; equal keys mean equal scores.

    ``keys`` and ``candidates`` (fingerprints) are by candidate; ``parts`` has the fingerprints of
    the other parts of the keys, by name.
    """

    fold: int
    keys: tuple[str, ...]
    candidates: tuple[str, ...]
    parts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreReused(Event):
    """The score of a prior search was reused in place of a fit."""

    candidate: int
    fold: int
    prior: PriorScore


@dataclass(frozen=True, kw_only=True, slots=True)
class FitRetried(Event):
    """A fit failed for the ``tries``-th time, and is retried.

    ``start_ms`` is the start of the attempt; None means the start of the fit.
    """

    candidate: int
    fold: int
    tries: int
    failure: Failure
    start_ms: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FitFailed(Event):
    """A fit ended with an error of its fit, its transform or its evaluation.

    ``start_ms`` is the start of the last attempt; None means the start of the fit.
    """

    candidate: int
    fold: int
    failure: Failure
    start_ms: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FitCostMeasured(Event):
    """The cost of a fit's Spark jobs was read, some time after the fit."""

    candidate: int
    fold: int
    cost: Cost


@dataclass(frozen=True, kw_only=True, slots=True)
class StagesComputed(Event):
    """Work for several candidates of a fold was done once.

    Shared stages were computed, or the largest of nested candidates was fitted, from ``start_ms``
    to ``time_ms`` in the thread with this id. No fit's duration includes these ``seconds``. They
    are less than that interval if it contains a nested fit, which has its own event.
    """

    fold: int
    shared: SharedStages
    seconds: float
    start_ms: int
    thread: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchCostMeasured(Event):
    """The cost of all Spark jobs of the search was read."""

    cost: Cost


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildRunNeeded(Event):
    """A candidate needs its child run before the end of the search.

    A fit of the candidate calls MLflow, contains a nested search, or logs its model.
    """

    candidate: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateScored(Event):
    """All folds of a candidate were scored, and Spark's code averaged them.

    ``metric_averages`` has those of the further metrics that have a value for each fold, by name.
    """

    candidate: int
    average: float
    deviation: float | None
    metric_averages: tuple[tuple[str, MetricAverage], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RefitStarted(Event):
    """All fits ended, and the refit of the winner started."""

    best: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchFinished(Event):
    """``fit()`` is about to return a model.

    ``averages`` and ``deviations`` are the lists on the model, by candidate; None if it has none.
    ``best`` is the winner's index, None if unknown. ``refit_seconds`` is the time from the last
    score to the model; None without Spark's own loop.
    """

    refit_seconds: float | None
    averages: tuple[float, ...] | None
    deviations: tuple[float, ...] | None
    best: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchFailed(Event):
    """``fit()`` is about to raise."""

    failure: Failure
