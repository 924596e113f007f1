"""Operations on the parent run of a search."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timezone

from trackmllib.config.children import ALL
from trackmllib.domain import mlflow_limits, naming, score_tags
from trackmllib.domain.events import ScoreReused, SearchCostMeasured, SearchKeyed, SearchStarted
from trackmllib.domain.operations import (
    Destination,
    EndRun,
    LinkSearch,
    LogArtifact,
    LogBatch,
    LogDataset,
    Metric,
    OpenParentRun,
    Operation,
    RunStatus,
    SetPrimaryMetric,
)
from trackmllib.domain.search_state import SearchState
from trackmllib.recorder import artifacts, child_selection, mlflow_record
from trackmllib.recorder.description import describe
from trackmllib.support.compression import file_text


def opened(state: SearchState, destination: Destination) -> Iterator[Operation]:
    """Create or find the run, and log the description of the search."""
    is_new = destination.run_id is None
    described = describe(state, state.start_ms)
    yield OpenParentRun(
        search_id=state.search_id,
        destination=destination,
        name=naming.parent_run(state.description, state.parent),
        start_ms=state.start_ms,
        description=described.text if is_new else "",
    )
    if not is_new:
        yield described
    yield LogBatch(
        search_id=state.search_id,
        params=mlflow_record.parent_params(state, _params(state)),
        tags=mlflow_record.parent_tags(state, destination, _tags(state, destination)),
    )
    yield _artifact(state, artifacts.SEARCH, [artifacts.search_json(state)])
    dataset = state.description.dataset
    if dataset is not None:
        yield LogDataset.of(state.search_id, dataset, state.description.schema)
    yield from mlflow_record.opened(state)


def primary_metric(event: SearchStarted) -> Iterator[Operation]:
    """Set the primary metric of the experiment, if requested and not nested."""
    if event.primary_metric and event.parent is None:
        description = event.description
        metric = mlflow_limits.sanitize_key(description.metric)
        yield SetPrimaryMetric(
            search_id=event.search_id,
            key=f"avg_{metric}" if description.averaged else metric,
            larger_is_better=description.larger_is_better,
        )


def fits_finished(state: SearchState, time_ms: int) -> Operation:
    """Log the number of fits with a score."""
    return _count(state, "fits_finished", state.fits_finished, time_ms)


def candidates_finished(state: SearchState, time_ms: int) -> Operation:
    """Log the number of complete candidates."""
    return _count(state, "candidates_finished", state.candidates_finished, time_ms)


def keyed(event: SearchKeyed) -> Operation:
    """Tag the run so that later searches find its scores."""
    tags = [(score_tags.RESUMABLE, event.family)]
    if event.seeds:
        tags.append((score_tags.SEEDS, mlflow_limits.tag_value(json.dumps(dict(event.seeds)))))
    return LogBatch(search_id=event.search_id, tags=tuple(tags))


def reused(state: SearchState, event: ScoreReused) -> Iterator[Operation]:
    """Link the run to that of a prior search, with its first reused score."""
    prior_search_id = event.prior.search_id
    if state.reused_from[prior_search_id] == 1:
        yield LinkSearch(search_id=event.search_id, prior_search_id=prior_search_id)


def stages_computed(state: SearchState, time_ms: int) -> Operation:
    """Log the total seconds of shared stages; the step counts them."""
    seconds, step = state.shared_seconds, len(state.shared_work)
    point = Metric("shared_seconds", seconds, time_ms, step, series=True)
    return LogBatch(search_id=state.search_id, metrics=(point,))


def costed(event: SearchCostMeasured) -> Operation:
    """Log the cost of the search."""
    return LogBatch(
        search_id=event.search_id,
        metrics=tuple(
            Metric(f"spark.{name}", float(number), event.time_ms)
            for name, number in event.cost.by_name().items()
        ),
    )


def finished(state: SearchState, destination: Destination) -> Iterator[Operation]:
    """Log the winner and the artifacts, and end the run if it is ours."""
    assert state.end_ms is not None
    yield from _best(state, state.end_ms)
    yield from mlflow_record.finished(state)
    if state.refit_seconds is not None:
        yield LogBatch(
            search_id=state.search_id,
            metrics=(Metric("refit_seconds", state.refit_seconds, state.end_ms),),
        )
    yield from _outcome(state, state.end_ms)
    yield from _end(state, destination, "FINISHED")


def failed(state: SearchState, destination: Destination) -> Iterator[Operation]:
    """Log the error and the artifacts, and end the run if it is ours."""
    assert state.failure is not None
    assert state.end_ms is not None
    yield from _best(state, state.end_ms)
    yield LogBatch(
        search_id=state.search_id,
        tags=(("trackmllib.error", mlflow_limits.tag_value(state.failure.summary)),),
    )
    yield LogArtifact(
        search_id=state.search_id, file_name=artifacts.TRACEBACK, text=state.failure.traceback
    )
    yield from _outcome(state, state.end_ms)
    yield from _end(state, destination, "KILLED" if state.failure.interrupted else "FAILED")


def _count(state: SearchState, key: str, count: int, time_ms: int) -> Operation:
    """Log a live count; the step is the number of finished fits."""
    point = Metric(key, float(count), time_ms, state.fits_finished, series=True)
    return LogBatch(search_id=state.search_id, metrics=(point,))


def _params(state: SearchState) -> dict[str, str]:
    """Params of the run; ours replace a subclass's params of the same name."""
    description = state.description
    texts = {param.name: param.value.text for param in description.tuner.params}
    texts.pop("estimator", None)
    texts.pop("evaluator", None)
    if description.estimator is not None:
        texts["estimator"] = description.estimator.label
    if description.evaluator is not None:
        texts["evaluator"] = description.evaluator.label
        texts["metric"] = description.metric
        for param in description.evaluator.params:
            if not param.is_default:
                texts[f"evaluator.{param.name}"] = param.value.text
    texts["candidates"] = str(len(description.candidates))
    return {
        mlflow_limits.sanitize_key(name): mlflow_limits.param_value(text)
        for name, text in texts.items()
    }


def _tags(state: SearchState, destination: Destination) -> Iterator[tuple[str, str]]:
    description = state.description
    yield "trackmllib.search_id", state.search_id
    # The parent run may be older than the search.
    yield "trackmllib.started", _utc(state.start_ms)
    if not destination.owned:
        yield "trackmllib.user_run", "true"
    for name, version in description.versions:
        yield f"trackmllib.{name}", version
    if description.application_id is not None:
        yield "trackmllib.application_id", description.application_id
    if description.spark_ui_url is not None:
        yield "trackmllib.spark_ui", description.spark_ui_url
    if description.spark_history_url is not None:
        yield "trackmllib.spark_history", description.spark_history_url
    if description.larger_is_better is not None:
        yield "trackmllib.larger_is_better", str(description.larger_is_better).lower()
    if state.children != ALL:
        yield "trackmllib.children", state.children
    yield from state.extra_tags
    if state.parent is not None:
        yield "trackmllib.parent_search_id", state.parent.search_id
        if state.parent.fold is not None:
            yield "trackmllib.fold", str(state.parent.fold)


def _utc(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, tz=timezone.utc)
    return moment.isoformat(timespec="milliseconds")


def _best(state: SearchState, time_ms: int) -> Iterator[Operation]:
    if state.best is None:
        return
    candidate = state.description.candidates[state.best]
    average = state.candidates[state.best].average
    metric = mlflow_limits.sanitize_key(state.description.metric)
    key = f"best_avg_{metric}" if state.description.averaged else f"best_{metric}"
    yield LogBatch(
        search_id=state.search_id,
        params=mlflow_record.best_params(
            state,
            {
                f"best_{state.grid.key(param)}": mlflow_limits.param_value(param.value.text)
                for param in candidate.params
            },
        ),
        metrics=() if average is None else (Metric(key, average, time_ms),),
    )


def _outcome(state: SearchState, time_ms: int) -> Iterator[Operation]:
    """Log description and artifacts; artifacts last, which mark the end."""
    has_run = state.best is not None and state.best in child_selection.recorded(state)
    best = state.best if has_run else None
    yield replace(describe(state, time_ms), best=best)
    yield _artifact(state, artifacts.RESULTS, [artifacts.results_csv(state)])
    yield _artifact(state, artifacts.OUTCOME, artifacts.outcome_json(state))
    yield _artifact(state, artifacts.BEST_PARAMS, [artifacts.best_params_json(state)])


def _artifact(state: SearchState, file_name: str, pieces: Iterable[str]) -> Operation:
    file = file_text(pieces)
    return LogArtifact(search_id=state.search_id, file_name=file_name, **file._asdict())


def _end(state: SearchState, destination: Destination, status: RunStatus) -> Iterator[Operation]:
    if destination.owned and state.end_ms is not None:
        yield EndRun(search_id=state.search_id, status=status, end_ms=state.end_ms)
