"""What the main run of a search is told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone

from trackmllib import limits, names, stored_score
from trackmllib.events import CellTakenUp, SearchCosted, SearchKeyed
from trackmllib.names import GridNames
from trackmllib.operations import (
    Describe,
    Destination,
    EndRun,
    LinkSearch,
    LogArtifact,
    LogBatch,
    LogDataset,
    Metric,
    OpenMainRun,
    Operation,
    RunStatus,
)
from trackmllib.options.children import ALL
from trackmllib.packing import file_text
from trackmllib.recorder import files
from trackmllib.recorder.description import describe
from trackmllib.search_result import SearchResult


def opened(
    result: SearchResult, grid: GridNames, destination: Destination, described: Describe
) -> Iterator[Operation]:
    """The run itself, and the description of the search."""
    is_new = destination.run_id is None
    yield OpenMainRun(
        search_id=result.search_id,
        destination=destination,
        name=names.main_run(result.description, result.parent),
        start_ms=result.start_ms,
        description=described.text if is_new else "",
    )
    if not is_new:
        yield described
    yield LogBatch(
        search_id=result.search_id, params=tuple(_params(result).items()), tags=tuple(_tags(result))
    )
    yield _file(result, files.SEARCH, [files.search_json(result, grid)])
    dataset = result.description.dataset
    if dataset is not None:
        yield LogDataset(
            search_id=result.search_id,
            digest=dataset.digest,
            path=dataset.path,
            schema=result.description.schema,
        )


def progress(result: SearchResult, time_ms: int, *, key: str, count: int) -> Operation:
    """A live count; the step is the number of finished cells."""
    point = Metric(key, float(count), time_ms, result.cells_finished, series=True)
    return LogBatch(search_id=result.search_id, metrics=(point,))


def keyed(event: SearchKeyed) -> Operation:
    """By what later searches find the scores of this one."""
    tags = [(stored_score.RESUMABLE, event.family)]
    if event.seeds:
        tags.append((stored_score.SEEDS, limits.tag_value(json.dumps(dict(event.seeds)))))
    return LogBatch(search_id=event.search_id, tags=tuple(tags))


def taken_up(result: SearchResult, event: CellTakenUp) -> Iterator[Operation]:
    """That the search goes on with scores of an earlier one: both say so, once for each."""
    source = event.earlier.search_id
    if result.taken_from[source] == 1:
        yield LinkSearch(search_id=event.search_id, earlier=source)


def shared(result: SearchResult, time_ms: int) -> Operation:
    """The seconds spent so far on stages that candidates share; a step for each time."""
    seconds, step = result.shared_seconds, result.shared_times
    point = Metric("shared_seconds", seconds, time_ms, step, series=True)
    return LogBatch(search_id=result.search_id, metrics=(point,))


def costed(event: SearchCosted) -> Operation:
    """What all of Spark's jobs for the search cost."""
    return LogBatch(
        search_id=event.search_id,
        metrics=tuple(
            Metric(f"spark.{name}", float(number), event.time_ms)
            for name, number in event.cost.by_name().items()
        ),
    )


def finished(
    result: SearchResult, grid: GridNames, destination: Destination
) -> Iterator[Operation]:
    """The winner, the files, and the end of a run that is ours."""
    assert result.end_ms is not None
    yield from _best(result, grid, result.end_ms)
    if result.refit_seconds is not None:
        yield LogBatch(
            search_id=result.search_id,
            metrics=(Metric("refit_seconds", result.refit_seconds, result.end_ms),),
        )
    yield from _outcome(result, grid, result.end_ms)
    yield from _end(result, destination, "FINISHED")


def failed(result: SearchResult, grid: GridNames, destination: Destination) -> Iterator[Operation]:
    """The error, the files with what there is, and the end of a run that is ours."""
    assert result.failure is not None
    assert result.end_ms is not None
    yield from _best(result, grid, result.end_ms)
    yield LogBatch(
        search_id=result.search_id,
        tags=(("trackmllib.error", limits.tag_value(result.failure.summary)),),
    )
    yield LogArtifact(
        search_id=result.search_id, file_name=files.TRACEBACK, text=result.failure.traceback
    )
    yield from _outcome(result, grid, result.end_ms)
    yield from _end(result, destination, "KILLED" if result.failure.interrupted else "FAILED")


def _params(result: SearchResult) -> dict[str, str]:
    """Ours win over a param of the same name that a subclass has; that one is in search.json."""
    description = result.description
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
    return {limits.key(name): limits.param_value(text) for name, text in texts.items()}


def _tags(result: SearchResult) -> Iterator[tuple[str, str]]:
    description = result.description
    yield "trackmllib.search_id", result.search_id
    # The run of a user may be far older than the search.
    yield "trackmllib.started", _utc(result.start_ms)
    for name, version in description.versions:
        yield f"trackmllib.{name}", version
    if description.application_id is not None:
        yield "trackmllib.application_id", description.application_id
    if description.page is not None:
        yield "trackmllib.spark_ui", description.page
    if description.page_in_history is not None:
        yield "trackmllib.spark_history", description.page_in_history
    if description.larger_is_better is not None:
        yield "trackmllib.larger_is_better", str(description.larger_is_better).lower()
    if result.children != ALL:
        yield "trackmllib.children", result.children
    if result.parent is not None:
        yield "trackmllib.parent_search_id", result.parent.search_id
        if result.parent.fold is not None:
            yield "trackmllib.fold", str(result.parent.fold)


def _utc(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, tz=timezone.utc)
    return moment.isoformat(timespec="milliseconds")


def _best(result: SearchResult, grid: GridNames, time_ms: int) -> Iterator[Operation]:
    if result.best is None:
        return
    candidate = result.description.candidates[result.best]
    average = result.candidates[result.best].average
    metric = limits.key(result.description.metric)
    key = f"best_avg_{metric}" if result.description.averaged else f"best_{metric}"
    yield LogBatch(
        search_id=result.search_id,
        params=tuple(
            (f"best_{grid.key(setting)}", limits.param_value(setting.value.text))
            for setting in candidate.settings
        ),
        metrics=() if average is None else (Metric(key, average, time_ms),),
    )


def _outcome(result: SearchResult, grid: GridNames, time_ms: int) -> Iterator[Operation]:
    """What is read of the search. The description first: where the files stand, it does too."""
    yield describe(result, grid, time_ms)
    yield _file(result, files.RESULTS, [files.results_csv(result, grid)])
    yield _file(result, files.OUTCOME, files.outcome_json(result))
    yield _file(result, files.BEST_PARAMS, [files.best_params_json(result, grid)])


def _file(result: SearchResult, file_name: str, pieces: Iterable[str]) -> Operation:
    file = file_text(pieces)
    return LogArtifact(search_id=result.search_id, file_name=file_name, **file._asdict())


def _end(result: SearchResult, destination: Destination, status: RunStatus) -> Iterator[Operation]:
    if destination.owned and result.end_ms is not None:
        yield EndRun(search_id=result.search_id, status=status, end_ms=result.end_ms)
