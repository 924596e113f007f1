"""Operations on the child run of a candidate, from the search's state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from trackmllib.domain import mlflow_limits, score_tags
from trackmllib.domain.descriptions import Failure, PriorScore
from trackmllib.domain.events import FitRetried
from trackmllib.domain.operations import (
    DATASET_NAME,
    CreateChildRun,
    EndRun,
    LogArtifact,
    LogBatch,
    LogDataset,
    LogModelMetrics,
    Metric,
    Operation,
    child_run_tags,
)
from trackmllib.domain.score_tags import RESUMED_FROM, StoredScore
from trackmllib.domain.search_state import SearchState
from trackmllib.recorder import artifacts, mlflow_record


def create(state: SearchState, candidate: int) -> Iterator[Operation]:
    """Create the run with its params; it starts with its first fit."""
    found = state.candidates[candidate]
    logged = mlflow_record.child_params(state, candidate, params(state, candidate))
    tags = child_run_tags(state.search_id, candidate) + state.extra_tags
    tags += mlflow_record.child_tags(state)
    if not found.measured:
        tags += (("trackmllib.times", "search"),)
    if state.keyed is not None:
        tags += ((score_tags.RESUMABLE, state.keyed.family),)
    yield CreateChildRun(
        search_id=state.search_id,
        candidate=candidate,
        name=state.run_name(candidate),
        start_ms=state.start_ms if found.start_ms is None else found.start_ms,
        tags=tags,
    )
    if logged:
        yield LogBatch(search_id=state.search_id, candidate=candidate, params=logged)
    dataset = state.description.dataset
    if dataset is not None:
        yield LogDataset.of(state.search_id, dataset, state.description.schema, candidate=candidate)


def params(state: SearchState, candidate: int) -> tuple[tuple[str, str], ...]:
    """Params of a candidate, as its run and its logged models have them."""
    return tuple(
        (state.grid.key(param), mlflow_limits.param_value(param.value.text))
        for param in state.description.candidates[candidate].params
    )


def late_run(state: SearchState, candidate: int) -> Iterator[Operation]:
    """Create the run of a candidate with everything recorded so far.

    The record equals that of a run created early, except that costs have the end time of their fit.
    """
    found = state.candidates[candidate]
    yield from create(state, candidate)
    for fold, fit in sorted(found.fits.items()):
        yield from map(retried, fit.retried)
        if fit.score is not None:
            yield scored(state, candidate, fold)
            yield from fold_model_scored(state, candidate, fold)
        if fit.cost is not None:
            yield costed(state, candidate, fold, fit.end_ms or state.end_ms or fit.start_ms)
    if _has_summary(state, candidate):
        yield summary(state, candidate)
        yield from fold_models_averaged(state, candidate)
    if candidate == state.best:
        yield mark_best(state, candidate)
    for failure in found.failures:
        yield from error(state, candidate, failure)
    if found.status != "RUNNING":
        yield end(state, candidate)


def scored(state: SearchState, candidate: int, fold: int) -> LogBatch:
    """Log score and durations of a fit; the step is the fold."""
    fit = state.candidates[candidate].fits[fold]
    assert fit.end_ms is not None
    seconds = {
        "fit_seconds": fit.fit_seconds or 0.0,
        "evaluate_seconds": fit.evaluate_seconds or 0.0,
    }
    if fit.metrics_seconds is not None:
        seconds["metrics_seconds"] = fit.metrics_seconds
    return LogBatch(
        search_id=state.search_id,
        candidate=candidate,
        metrics=(
            *_scores(state, candidate, fold),
            *(Metric(key, value, fit.end_ms, fold) for key, value in seconds.items()),
        ),
        tags=(
            *_score_tag(state, candidate, fold),
            *_source_tags(state, candidate, fold),
            *_derived_tag(state, candidate, fold),
        ),
    )


def retried(event: FitRetried) -> Operation:
    """Log the number of tries of a fit, with the fold as step, and the error."""
    return LogBatch(
        search_id=event.search_id,
        candidate=event.candidate,
        metrics=(Metric("tries", float(event.tries + 1), event.time_ms, event.fold),),
        tags=(
            (
                f"trackmllib.retried.{event.fold}.{event.tries}",
                mlflow_limits.tag_value(event.failure.summary),
            ),
        ),
    )


def costed(state: SearchState, candidate: int, fold: int, time_ms: int) -> Operation:
    """Log the cost of a fit; the step is the fold."""
    cost = state.candidates[candidate].fits[fold].cost
    assert cost is not None
    return LogBatch(
        search_id=state.search_id,
        candidate=candidate,
        metrics=tuple(
            Metric(f"spark.{name}", float(number), time_ms, fold)
            for name, number in cost.by_name().items()
        ),
    )


def summary(state: SearchState, candidate: int) -> Operation:
    """Log average and deviation of a candidate, or the one score of a split."""
    return LogBatch(
        search_id=state.search_id, candidate=candidate, metrics=_averages(state, candidate)
    )


def fold_model_scored(state: SearchState, candidate: int, fold: int) -> Iterator[Operation]:
    """Add the scores of a fit to its logged model, if any."""
    model_id = state.candidates[candidate].fits[fold].model_id
    return _model_scored(state, candidate, model_id, _scores(state, candidate, fold))


def fold_models_averaged(state: SearchState, candidate: int) -> Iterator[Operation]:
    """Add the averages of a candidate to the logged models of its fits."""
    points = [point for point in _averages(state, candidate) if not point.key.startswith("std_")]
    for _, fit in sorted(state.candidates[candidate].fits.items()):
        yield from _model_scored(state, candidate, fit.model_id, points)


def refit_model_scored(state: SearchState) -> Iterator[Operation]:
    """Add the averages of the winner to the refit's logged model, if any."""
    best = state.best
    if best is not None and best in state.candidates:
        found = state.candidates[best]
        points: Iterable[Metric] = _averages(state, best)
        if not _has_summary(state, best):
            points = [point for fold in found.fits for point in _scores(state, best, fold)]
        yield from _model_scored(state, best, state.model_id, points)


def rank(state: SearchState, candidate: int, rank: int) -> Operation:
    """Tag the run with the rank of the candidate."""
    tags = (("trackmllib.rank", str(rank)),)
    return LogBatch(search_id=state.search_id, candidate=candidate, tags=tags)


def end(state: SearchState, candidate: int) -> Operation:
    """End the run, or with the search if that cut the candidate short."""
    found = state.candidates[candidate]
    assert found.status != "RUNNING"
    end_ms = found.end_ms
    if end_ms is None or found.status == "KILLED":
        end_ms = state.end_ms if state.end_ms is not None else end_ms
    assert end_ms is not None
    return EndRun(
        search_id=state.search_id, candidate=candidate, status=found.status, end_ms=end_ms
    )


def error(state: SearchState, candidate: int, failure: Failure) -> Iterator[Operation]:
    """Log a summary of an error as a tag, and its traceback as an artifact."""
    yield LogBatch(
        search_id=state.search_id,
        candidate=candidate,
        tags=(("trackmllib.error", mlflow_limits.tag_value(failure.summary)),),
    )
    yield LogArtifact(
        search_id=state.search_id,
        candidate=candidate,
        file_name=artifacts.TRACEBACK,
        text=failure.traceback,
    )


def mark_best(state: SearchState, candidate: int, *, best: bool = True) -> Operation:
    """Mark the winner; ``best=False`` removes a mark that was set too early."""
    return LogBatch(
        search_id=state.search_id,
        candidate=candidate,
        tags=(("trackmllib.best", "true" if best else "false"),),
    )


def _scores(state: SearchState, candidate: int, fold: int) -> tuple[Metric, ...]:
    """Points of the scores of a fit; the step is the fold."""
    fit = state.candidates[candidate].fits[fold]
    if fit.score is None or fit.end_ms is None:
        return ()
    values = {state.description.metric: fit.score, **fit.metrics}
    keyed = {mlflow_limits.sanitize_key(name): value for name, value in values.items()}
    return tuple(Metric(key, value, fit.end_ms, fold) for key, value in keyed.items())


def _has_summary(state: SearchState, candidate: int) -> bool:
    """Whether averages of a candidate are logged; a split has only scores."""
    found = state.candidates[candidate]
    is_averaged = found.average is not None and state.description.averaged
    return is_averaged or candidate in state.changed_at_end


def _averages(state: SearchState, candidate: int) -> tuple[Metric, ...]:
    """Points of averages and deviations, or of the one score of a split."""
    metric = state.description.metric
    found = state.candidates[candidate]
    values = {mlflow_limits.sanitize_key(metric): found.average}
    if state.description.averaged:
        values = {}
        averages = {metric: (found.average, found.deviation)}
        averages |= {name: (each.average, each.deviation) for name, each in found.metrics.items()}
        for name, (average, deviation) in averages.items():
            key = mlflow_limits.sanitize_key(name)
            values |= {f"avg_{key}": average, f"std_{key}": deviation}
    # Equal in each call, because a logged model shares the points of the run.
    time_ms = state.end_ms if candidate in state.changed_at_end else found.end_ms
    time_ms = state.start_ms if time_ms is None else time_ms
    return tuple(Metric(key, value, time_ms) for key, value in values.items() if value is not None)


def _model_scored(
    state: SearchState, candidate: int, model_id: str | None, points: Iterable[Metric]
) -> Iterator[Operation]:
    """Add points to a model, except NaN, which MLflow would store as 0."""
    metrics = tuple(point for point in points if not math.isnan(point.value))
    dataset = state.description.dataset
    if model_id is not None and metrics:
        yield LogModelMetrics(
            search_id=state.search_id,
            candidate=candidate,
            model_id=model_id,
            metrics=metrics,
            dataset=() if dataset is None else (DATASET_NAME, dataset.digest),
        )


def _score_tag(state: SearchState, candidate: int, fold: int) -> Iterator[tuple[str, str]]:
    """Tag from which later searches reuse the score."""
    keyed, keys = state.keyed, state.keys.get(fold)
    fit = state.candidates[candidate].fits[fold]
    if keyed is None or keys is None or fit.score is None or fit.end_ms is None:
        return
    if fit.dtype is not None or not math.isfinite(fit.score):
        return
    yield score_tags.tag(
        fold,
        StoredScore(
            key=keys.keys[candidate],
            parts={"candidate": keys.candidates[candidate], **dict(keys.parts)},
            metrics=dict(keyed.metric_fingerprints),
            prior=PriorScore(
                score=fit.score,
                fit_seconds=fit.fit_seconds or 0.0,
                evaluate_seconds=fit.evaluate_seconds or 0.0,
                start_ms=fit.start_ms,
                end_ms=fit.end_ms,
                search_id=state.search_id,
                metrics=tuple(fit.metrics.items()),
            ),
        ),
    )


def _source_tags(state: SearchState, candidate: int, fold: int) -> Iterator[tuple[str, str]]:
    """Tags that name the runs, or else searches, of reused scores."""
    fits = state.candidates[candidate].fits
    if fits[fold].reused_ms is None:
        return
    sources = {at: fit.reused_from_run or fit.reused_from for at, fit in sorted(fits.items())}
    found = dict.fromkeys(source for source in sources.values() if source is not None)
    yield RESUMED_FROM, mlflow_limits.tag_value(", ".join(found))
    yield f"{RESUMED_FROM}.{fold}", sources[fold] or ""


def _derived_tag(state: SearchState, candidate: int, fold: int) -> Iterator[tuple[str, str]]:
    """Tag with the candidate from whose model this model is derived."""
    derived_from = state.candidates[candidate].fits[fold].derived_from
    if derived_from is not None:
        yield "trackmllib.derived_from", str(derived_from)
