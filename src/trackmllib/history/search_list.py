"""List of the searches on a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from trackmllib.domain import mlflow_limits, ranking
from trackmllib.domain.score_tags import RESUMABLE
from trackmllib.exceptions import DamagedSearch, UnknownSearch
from trackmllib.history.run_reader import RunReader, StoredRun, own_value
from trackmllib.recorder import artifact_reader, artifacts

UNREADABLE = "UNREADABLE"
# Errors that end a search as KILLED.
_INTERRUPTIONS = ("KeyboardInterrupt", "SystemExit", "SearchStopped")


@dataclass(frozen=True, kw_only=True)
class SearchSummary:
    """One search in the list; unknown values are None.

    ``state`` is a run status, or UNREADABLE. ``best`` is the best average so far. ``resumable``:
    the search ran with ``autolog(resume=True)``.
    """

    name: str
    run_id: str
    experiment: str
    search_id: str
    start_ms: int
    resumable: bool
    state: str = UNREADABLE
    candidates: int | None = None
    done: int = 0
    fits: int | None = None
    fits_done: int = 0
    metric: str | None = None
    best: float | None = None


def list_searches(
    reader: RunReader, experiments: Sequence[str] | None = None
) -> Iterator[SearchSummary]:
    """List the searches in these experiments, or in all, newest first.

    All parent runs are read at the start, because a search may be far newer than its run. Further
    requests are sent as the iterator is consumed.
    """
    found = [
        (_start_ms(parent, search_id), parent, search_id)
        for parent in reader.parent_runs(experiments)
        for search_id in parent.search_ids
    ]
    for _, parent, search_id in sorted(found, key=lambda each: -each[0]):
        unreadable = SearchSummary(
            name=parent.name,
            run_id=parent.run_id,
            experiment=reader.experiments().get(parent.experiment_id, ""),
            search_id=search_id,
            start_ms=_start_ms(parent, search_id),
            resumable=own_value(parent.tags, RESUMABLE, search_id) is not None,
        )
        try:
            if len(parent.search_ids) == 1:
                yield _from_run(reader, parent, unreadable)
            else:
                # Values on the run may belong to another search.
                yield from _from_files(reader, parent, unreadable)
        except UnknownSearch:
            # `trackmllib show` explains why.
            yield unreadable


def _start_ms(parent: StoredRun, search_id: str) -> int:
    started = own_value(parent.tags, "trackmllib.started", search_id)
    try:
        return round(datetime.fromisoformat(started or "").timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        # The tag is missing, or the user's own.
        return parent.start_ms


def _from_run(reader: RunReader, parent: StoredRun, summary: SearchSummary) -> SearchSummary:
    """Complete a summary with the params, metrics and tags of the parent run."""
    search_id = summary.search_id
    metric = own_value(parent.params, "metric", search_id)
    best = None
    if metric is not None:
        key = mlflow_limits.sanitize_key(metric)
        best = own_value(parent.metrics, f"best_avg_{key}", search_id)
        best = own_value(parent.metrics, f"best_{key}", search_id) if best is None else best
    is_over = best is not None or own_value(parent.metrics, "refit_seconds", search_id) is not None
    if best is None and metric is not None:
        best = _best_so_far(reader, parent, search_id, mlflow_limits.sanitize_key(metric))
    candidates = _integer(own_value(parent.params, "candidates", search_id))
    # A TrainValidationSplit has one fold.
    folds = _integer(own_value(parent.params, "numFolds", search_id) or "1")
    return replace(
        summary,
        state=_state(parent, own_value(parent.tags, "trackmllib.error", search_id), is_over),
        candidates=candidates,
        done=parent.count_of("candidates_finished", search_id),
        fits=None if candidates is None or folds is None else candidates * folds,
        fits_done=parent.count_of("fits_finished", search_id),
        metric=metric,
        best=best,
    )


def _integer(text: str | None) -> int | None:
    """Number in a param; None if it is missing or too large."""
    return int(text) if text is not None and text.isdecimal() and len(text) < 10 else None


def _state(parent: StoredRun, error: str | None, is_over: bool) -> str:
    """State of the search; the user's run may continue after it."""
    if error is not None:
        interrupted = error.startswith(_INTERRUPTIONS)
        return "KILLED" if interrupted or parent.status == "KILLED" else "FAILED"
    return "FINISHED" if is_over else parent.status


def _best_so_far(reader: RunReader, parent: StoredRun, search_id: str, metric: str) -> float | None:
    larger = parent.tags.get("trackmllib.larger_is_better")
    if larger is None or parent.metrics.get("candidates_finished") is None:
        return None
    is_split = "trainRatio" in parent.params
    key = metric if is_split else f"avg_{metric}"
    child = reader.best_child(parent, search_id, key, larger == "true")
    return None if child is None else child.metrics[key]


def _from_files(
    reader: RunReader, parent: StoredRun, summary: SearchSummary
) -> Iterator[SearchSummary]:
    """Complete a summary with the files of the search, if there are any."""
    search_id = summary.search_id
    described, outcome = reader.files(parent, search_id, artifacts.SEARCH, artifacts.OUTCOME)
    if described is None:
        return
    try:
        state = artifact_reader.read_state(described, outcome)
    except ValueError as error:
        raise DamagedSearch(str(error)) from error
    if state.search_id != search_id:
        return
    best = ranking.best(state)
    best_candidate = None if best is None else state.candidates.get(best)
    has_ended = outcome is not None
    candidates = len(state.description.candidates)
    yield replace(
        summary,
        start_ms=state.start_ms,
        state=state.status if has_ended else parent.status,
        candidates=candidates,
        done=state.candidates_finished
        if has_ended
        else parent.count_of("candidates_finished", search_id),
        fits=candidates * state.folds,
        fits_done=state.fits_finished if has_ended else parent.count_of("fits_finished", search_id),
        metric=state.description.metric,
        best=None if best_candidate is None else best_candidate.average,
    )
