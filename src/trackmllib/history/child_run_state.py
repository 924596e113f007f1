"""State of a search without an outcome file, rebuilt from its runs.

Such a search is running, or its process has died. The start of a fit is computed from its end and
its duration.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from trackmllib.config.children import ALL
from trackmllib.domain import mlflow_limits
from trackmllib.domain.descriptions import Cost, Failure, MetricAverage
from trackmllib.domain.score_tags import RESUMED_FROM
from trackmllib.domain.search_state import CandidateResult, FoldFit, SearchState, Status
from trackmllib.history.run_reader import RunReader, StoredRun
from trackmllib.recorder import artifact_reader
from trackmllib.support import json_validation

# MLflow's SQL stores replace infinity by this.
_LARGEST = 1.7976931348623157e308
_SECONDS = ("fit_seconds", "evaluate_seconds")
_METRICS_SECONDS = "metrics_seconds"
_COST_PREFIX = "spark."
# Error of a computed start, because end and duration are rounded.
_ROUNDING_MS = 2

# Points of metrics, as (step, value, time), by run id and key.
Points = Mapping[tuple[str, str], Sequence[tuple[int, float, int]]]
# Key of the tuner's metric on child runs, and the names of further metrics by key.
MetricKeys = tuple[str, Mapping[str, str]]


def rebuild(
    state: SearchState,
    reader: RunReader,
    parent: StoredRun,
    children: Mapping[int, StoredRun],
    costs: Collection[str],
) -> None:
    """Fill the state of a search from its parent run and its child runs.

    :param state: The state at the start of the search.
    :param costs: Names of the costs to read.
    """
    points = reader.histories(_metrics_by_fold(state, children, costs))
    plan = state.description.shared + state.description.nested_fits
    sharing = {candidate for shared in plan for candidate in shared.candidates}
    for index, run in children.items():
        if index < len(state.description.candidates):
            found = state.candidates[index] = _candidate(state, run, points)
            for fit in found.fits.values():
                fit.shares_work = index in sharing
                if fit.end_ms is not None and fit.reused_ms is None:
                    fit.end_attempt(None, fit.end_ms)
            if run.tags.get("trackmllib.best") == "true":
                state.best = index
    _assign_threads(
        [fit for candidate in state.candidates.values() for fit in candidate.fits.values()]
    )
    state.count()
    _set_end(state, parent)
    if state.children != ALL:
        # Only the parent run counts candidates without a child run.
        state.fits_finished = parent.count_of("fits_finished", state.search_id)
        state.candidates_finished = parent.count_of("candidates_finished", state.search_id)


def _metrics_by_fold(
    state: SearchState, children: Mapping[int, StoredRun], costs: Collection[str]
) -> list[tuple[str, str]]:
    """Metrics of child runs that have a point per fold, as run id and key."""
    by_fold = {mlflow_limits.sanitize_key(state.description.metric), *_SECONDS, _METRICS_SECONDS}
    by_fold.update(_further_keys(state))
    by_fold.update(_COST_PREFIX + cost for cost in costs)
    return [(run.run_id, key) for run in children.values() for key in run.metrics if key in by_fold]


def _further_keys(state: SearchState) -> dict[str, str]:
    """Names of further metrics by their key on child runs."""
    names = [each.name for each in state.description.further_metrics]
    return {mlflow_limits.sanitize_key(name): name for name in names}


def _candidate(state: SearchState, run: StoredRun, points: Points) -> CandidateResult:
    metric = mlflow_limits.sanitize_key(state.description.metric)
    status: Status = "RUNNING"
    if run.status in ("FINISHED", "FAILED", "KILLED"):
        status = run.status  # type: ignore[assignment]
    candidate = CandidateResult(
        status=status, measured=run.tags.get("trackmllib.times") != "search"
    )
    if state.description.averaged:
        candidate.average = _number(run.metrics.get(f"avg_{metric}"))
        candidate.deviation = _number(run.metrics.get(f"std_{metric}"))
        candidate.metrics = _further_averages(state, run)
    elif status == "FINISHED":
        candidate.average = _number(run.metrics.get(metric))
    if candidate.measured:
        max_folds = artifact_reader.most_folds(len(state.description.candidates))
        _add_fits(candidate, run, (metric, _further_keys(state)), points, max_folds)
    if not state.description.averaged and status == "FINISHED" and 0 in candidate.fits:
        values = candidate.fits[0].metrics.items()
        candidate.metrics = {name: MetricAverage(average=value) for name, value in values}
    return candidate


def _further_averages(state: SearchState, run: StoredRun) -> dict[str, MetricAverage]:
    averages = {}
    for key, name in _further_keys(state).items():
        average = _number(run.metrics.get(f"avg_{key}"))
        if average is not None:
            deviation = _number(run.metrics.get(f"std_{key}"))
            averages[name] = MetricAverage(average=average, deviation=deviation)
    return averages


def _add_fits(
    candidate: CandidateResult, run: StoredRun, keys: MetricKeys, points: Points, max_folds: int
) -> None:
    values: dict[int, dict[str, float]] = {}
    scored_ms: dict[int, int] = {}
    for key in run.metrics:
        for fold, value, time_ms in points.get((run.run_id, key), ()):
            # Other points are the user's own.
            if 0 <= fold < max_folds and 0 <= time_ms <= json_validation.MAX_TIME_MS:
                values.setdefault(fold, {})[key] = value
                if key == keys[0]:
                    scored_ms[fold] = time_ms
    for fold, of_fold in sorted(values.items()):
        candidate.fits[fold] = _fold_fit(run, of_fold, keys, scored_ms.get(fold))
        source = run.tags.get(f"{RESUMED_FROM}.{fold}")
        if source is not None:
            candidate.fits[fold].reused_ms = run.start_ms
            candidate.fits[fold].reused_from_run = source
    error = run.tags.get("trackmllib.error")
    if error is not None:
        # Folds are computed in order, so the first one without a score failed.
        fold = next(n for n in range(len(scored_ms) + 1) if n not in scored_ms)
        failed = candidate.fits.setdefault(fold, FoldFit(start_ms=run.start_ms))
        failed.end_ms = run.end_ms
        failed.failure = _failure(error, interrupted=candidate.status == "KILLED")


def _fold_fit(
    run: StoredRun, values: Mapping[str, float], keys: MetricKeys, end_ms: int | None
) -> FoldFit:
    metric, further = keys
    fit_seconds, evaluate_seconds = (_seconds(values.get(key)) for key in _SECONDS)
    start_ms = run.start_ms
    if end_ms is not None:
        seconds = (fit_seconds or 0.0) + (evaluate_seconds or 0.0)
        start_ms = max(start_ms, end_ms - round(1000 * seconds))
    cost = {
        key.removeprefix(_COST_PREFIX): int(value)
        for key, value in values.items()
        if key.startswith(_COST_PREFIX) and math.isfinite(value)
    }
    return FoldFit(
        start_ms=start_ms,
        end_ms=end_ms,
        score=_number(values.get(metric)),
        metrics={
            name: number
            for key, name in further.items()
            if (number := _number(values.get(key))) is not None
        },
        metrics_seconds=_seconds(values.get(_METRICS_SECONDS)),
        fit_seconds=fit_seconds,
        evaluate_seconds=evaluate_seconds,
        cost=Cost.of_names(cost) if cost else None,
    )


def _assign_threads(fits: list[FoldFit]) -> None:
    """Assign each fit the first thread that is free at its start.

    Child runs don't record threads. Overlaps of a few milliseconds are rounding errors.
    """
    free_ms: list[float] = []
    computed = [fit for fit in fits if fit.reused_ms is None]
    for fit in sorted(computed, key=lambda each: (each.start_ms, each.end_ms or math.inf)):
        latest_ms = fit.start_ms + _ROUNDING_MS
        thread = next((n for n, ms in enumerate(free_ms) if ms <= latest_ms), len(free_ms))
        if thread == len(free_ms):
            free_ms.append(0.0)
        fit.thread = thread
        busy = round(1000 * (fit.metrics_seconds or 0.0))
        free_ms[thread] = math.inf if fit.end_ms is None else fit.end_ms + busy


def _set_end(state: SearchState, parent: StoredRun) -> None:
    """Set how the search ended, if it did."""
    error = parent.tags.get(f"trackmllib.error_{state.search_id}")
    if error is None and len(parent.search_ids) == 1:
        error = parent.tags.get("trackmllib.error")
    if error is None and parent.status in ("FAILED", "KILLED"):
        error = "SystemExit: the run was ended before the search had an outcome"
    if error is not None:
        state.failure = _failure(error, interrupted=parent.status == "KILLED")
        for candidate in state.candidates.values():
            if candidate.status == "RUNNING":
                candidate.status = "KILLED"
    elif parent.status != "FINISHED" or state.best is None:
        return
    ends = [found.end_ms for found in state.candidates.values() if found.end_ms is not None]
    state.end_ms = parent.end_ms or max(ends, default=state.start_ms)


def _failure(summary: str, *, interrupted: bool) -> Failure:
    kind, _, message = summary.partition(": ")
    return Failure(type=kind, message=message, traceback="", interrupted=interrupted)


def _seconds(value: float | None) -> float | None:
    """Duration, or None if it is missing or invalid."""
    try:
        return None if value is None else json_validation.seconds(value)
    except json_validation.InvalidValue:
        return None


def _number(number: float | None) -> float | None:
    if number is not None and abs(number) >= _LARGEST:
        return math.copysign(math.inf, number)
    return number
