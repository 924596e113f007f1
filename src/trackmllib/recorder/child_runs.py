"""What the child run of a candidate is told."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from trackmllib import limits, names, stored_score
from trackmllib.events import (
    CellCosted,
    CellFailed,
    CellRetried,
    CellScored,
    Earlier,
    Failure,
)
from trackmllib.names import GridNames
from trackmllib.operations import (
    CreateChildRun,
    EndRun,
    LogArtifact,
    LogBatch,
    Metric,
    Operation,
    child_run_tags,
)
from trackmllib.recorder import files
from trackmllib.search_result import SearchResult
from trackmllib.stored_score import RESUMED_FROM, StoredScore


def create(result: SearchResult, grid: GridNames, index: int) -> Iterator[Operation]:
    """The run itself, from the first start of a cell, with the params that the grid varies."""
    candidate = result.description.candidates[index]
    found = result.candidates[index]
    tags = child_run_tags(result.search_id, index)
    if not found.measured:
        tags += (("trackmllib.times", "search"),)
    if result.keyed is not None:
        tags += ((stored_score.RESUMABLE, result.keyed.family),)
    yield CreateChildRun(
        search_id=result.search_id,
        candidate=index,
        name=names.child_run(candidate, grid),
        start_ms=result.start_ms if found.start_ms is None else found.start_ms,
        tags=tags,
    )
    if candidate.settings:
        yield LogBatch(
            search_id=result.search_id,
            candidate=index,
            params=tuple(
                (grid.key(setting), limits.param_value(setting.value.text))
                for setting in candidate.settings
            ),
        )


def scored(result: SearchResult, event: CellScored) -> LogBatch:
    """Score and seconds of one fold; the step is the fold."""
    metric = limits.key(result.description.metric)
    return LogBatch(
        search_id=event.search_id,
        candidate=event.candidate,
        metrics=(
            Metric(metric, event.score, event.time_ms, event.fold),
            Metric("fit_seconds", event.fit_seconds, event.time_ms, event.fold),
            Metric("evaluate_seconds", event.evaluate_seconds, event.time_ms, event.fold),
        ),
        tags=tuple(_for_later(result, event.candidate, event.fold)),
    )


def taken_up(result: SearchResult, index: int, fold: int) -> Operation:
    """The score of an earlier search, with its times as they were measured then, and where it is
    from.
    """
    cell = result.candidates[index].cells[fold]
    assert cell.score is not None
    assert cell.end_ms is not None
    scores = scored(
        result,
        CellScored(
            search_id=result.search_id,
            time_ms=cell.end_ms,
            candidate=index,
            fold=fold,
            score=cell.score,
            fit_seconds=cell.fit_seconds or 0.0,
            evaluate_seconds=cell.evaluate_seconds or 0.0,
        ),
    )
    found = result.candidates[index].cells.items()
    sources = [each.taken_from_run or each.taken_from for _, each in sorted(found)]
    whence = ", ".join(dict.fromkeys(source for source in sources if source is not None))
    resumed = (
        (RESUMED_FROM, limits.tag_value(whence)),
        (f"{RESUMED_FROM}.{fold}", cell.taken_from_run or cell.taken_from or ""),
    )
    return replace(scores, tags=(*scores.tags, *resumed))


def retried(event: CellRetried) -> Operation:
    """How often a cell was tried, the step is the fold; and what the last try ended with."""
    return LogBatch(
        search_id=event.search_id,
        candidate=event.candidate,
        metrics=(Metric("tries", float(event.tries + 1), event.time_ms, event.fold),),
        tags=(
            (
                f"trackmllib.retried.{event.fold}.{event.tries}",
                limits.tag_value(event.failure.summary),
            ),
        ),
    )


def _for_later(result: SearchResult, index: int, fold: int) -> Iterator[tuple[str, str]]:
    """The tag by which a later search takes up a score."""
    keyed, keys = result.keyed, result.keys.get(fold)
    cell = result.candidates[index].cells[fold]
    if keyed is None or keys is None or cell.score is None or cell.end_ms is None:
        return
    if not cell.exact or not math.isfinite(cell.score):
        return
    yield stored_score.tag(
        fold,
        StoredScore(
            key=keys.keys[index],
            parts={"candidate": keys.candidates[index], **dict(keys.parts)},
            earlier=Earlier(
                score=cell.score,
                fit_seconds=cell.fit_seconds or 0.0,
                evaluate_seconds=cell.evaluate_seconds or 0.0,
                start_ms=cell.start_ms,
                end_ms=cell.end_ms,
                search_id=result.search_id,
            ),
        ),
    )


def costed(event: CellCosted) -> Operation:
    """What Spark's jobs for a cell cost; the step is the fold."""
    return LogBatch(
        search_id=event.search_id,
        candidate=event.candidate,
        metrics=tuple(
            Metric(f"spark.{name}", float(number), event.time_ms, event.fold)
            for name, number in event.cost.by_name().items()
        ),
    )


def summary(result: SearchResult, index: int, time_ms: int) -> Operation:
    """What Spark made of the scores: average and deviation, or the one score of a split."""
    metric = limits.key(result.description.metric)
    found = result.candidates[index]
    points = {metric: found.average}
    if result.description.averaged:
        points = {f"avg_{metric}": found.average, f"std_{metric}": found.deviation}
    return LogBatch(
        search_id=result.search_id,
        candidate=index,
        metrics=tuple(
            Metric(key, value, time_ms) for key, value in points.items() if value is not None
        ),
    )


def end(result: SearchResult, index: int) -> Operation:
    """The final status. An open candidate of a search that failed was cut short at its end."""
    found = result.candidates[index]
    assert found.status != "RUNNING"
    end_ms = found.end_ms
    if end_ms is None or found.status == "KILLED":
        end_ms = result.end_ms if result.end_ms is not None else end_ms
    assert end_ms is not None
    return EndRun(search_id=result.search_id, candidate=index, status=found.status, end_ms=end_ms)


def failed(result: SearchResult, event: CellFailed) -> Iterator[Operation]:
    """The error of a cell, which is the end of its candidate."""
    yield from error(result, event.candidate, event.failure)
    yield end(result, event.candidate)


def error(result: SearchResult, index: int, failure: Failure) -> Iterator[Operation]:
    """Type and first line of an error in a tag, its traceback in a file."""
    yield LogBatch(
        search_id=result.search_id,
        candidate=index,
        tags=(("trackmllib.error", limits.tag_value(failure.summary)),),
    )
    yield LogArtifact(
        search_id=result.search_id,
        candidate=index,
        file_name=files.TRACEBACK,
        text=failure.traceback,
    )


def mark_best(result: SearchResult, index: int, *, best: bool = True) -> Operation:
    """The winner's mark; ``best=False`` takes back one that was set too early."""
    return LogBatch(
        search_id=result.search_id,
        candidate=index,
        tags=(("trackmllib.best", "true" if best else "false"),),
    )
