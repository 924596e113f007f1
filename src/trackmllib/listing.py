"""What there is to say of each search on a server, from little more than its main run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from trackmllib import limits
from trackmllib.errors import DamagedSearch, UnknownSearch
from trackmllib.recorder import files, read_back
from trackmllib.search_result import SearchResult
from trackmllib.stored_score import RESUMABLE
from trackmllib.tracking import conflicts
from trackmllib.tracking.reading import Reader, StoredRun

T = TypeVar("T", str, float)

UNREADABLE = "UNREADABLE"
# How errors begin that end a search as KILLED.
_INTERRUPTED = ("KeyboardInterrupt", "SystemExit", "SearchStopped")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One search in a line.

    ``best`` is the best average so far; None means unknown. ``state`` is that of a run, or
    UNREADABLE.
    """

    name: str
    run_id: str
    experiment: str
    search_id: str
    state: str
    candidates: int | None
    done: int
    metric: str | None
    best: float | None
    start_ms: int
    cells: int | None = None
    cells_done: int = 0
    # By a search with autolog(resume=True).
    resumable: bool = False


def summaries(reader: Reader, experiments: Sequence[str] | None = None) -> Iterator[Summary]:
    """The searches in these experiments, or in all, newest first."""
    # A run may be far older than the searches in it, so all of them are read before the first is
    # said; what costs a further question is asked of those only that are taken.
    mains = reader.main_runs(experiments)
    found = [(_start_ms(main, each), main, each) for main in mains for each in main.search_ids]
    for _, main, search_id in sorted(found, key=lambda each: -each[0]):
        try:
            yield from _summary(reader, main, search_id)
        except UnknownSearch:
            # The other searches are listed; `trackmllib show` says what is wrong with this one.
            yield _unreadable(reader, main, search_id)


def _summary(reader: Reader, main: StoredRun, search_id: str) -> Iterator[Summary]:
    if len(main.search_ids) == 1:
        yield _alone(reader, main, search_id)
    else:
        yield from _one_of_several(reader, main, search_id)


def _unreadable(reader: Reader, main: StoredRun, search_id: str) -> Summary:
    return Summary(
        name=main.name,
        run_id=main.run_id,
        experiment=reader.experiments().get(main.experiment_id, ""),
        search_id=search_id,
        state=UNREADABLE,
        candidates=None,
        done=0,
        metric=None,
        best=None,
        start_ms=_start_ms(main, search_id),
        resumable=_is_resumable(main, search_id),
    )


def _start_ms(main: StoredRun, search_id: str) -> int:
    key = "trackmllib.started"
    started = main.tags.get(conflicts.renamed(key, search_id), main.tags.get(key, ""))
    try:
        return round(datetime.fromisoformat(started).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        # Not there, or the user's own.
        return main.start_ms


def _alone(reader: Reader, main: StoredRun, search_id: str) -> Summary:
    """All from params, metrics and tags; ours are under another name where the user had one."""

    def ours(data: Mapping[str, T], key: str) -> T | None:
        return data.get(f"{key}_{search_id}", data.get(key))

    metric = ours(main.params, "metric")
    best = None
    if metric is not None:
        key = limits.key(metric)
        best = ours(main.metrics, f"best_avg_{key}")
        best = ours(main.metrics, f"best_{key}") if best is None else best
    is_over = best is not None or ours(main.metrics, "refit_seconds") is not None
    if best is None and metric is not None:
        best = _best_so_far(reader, main, search_id, limits.key(metric))
    candidates = _whole(ours(main.params, "candidates"))
    return Summary(
        name=main.name,
        run_id=main.run_id,
        experiment=reader.experiments().get(main.experiment_id, ""),
        search_id=search_id,
        state=_state(main, ours(main.tags, "trackmllib.error"), is_over),
        candidates=candidates,
        done=main.count_of("candidates_finished", search_id),
        metric=metric,
        best=best,
        start_ms=_start_ms(main, search_id),
        cells=_cells(ours(main.params, "numFolds"), candidates),
        cells_done=main.count_of("cells_finished", search_id),
        resumable=_is_resumable(main, search_id),
    )


def _whole(text: str | None) -> int | None:
    """The number in a param; None if there is none, or one too large for a search."""
    return int(text) if text is not None and text.isdecimal() and len(text) < 10 else None


def _cells(folds: str | None, candidates: int | None) -> int | None:
    """How many there are in all; a split has one fold."""
    of_each = _whole(folds or "1")
    return None if candidates is None or of_each is None else candidates * of_each


def _is_resumable(main: StoredRun, search_id: str) -> bool:
    keys = (RESUMABLE, conflicts.renamed(RESUMABLE, search_id))
    return any(key in main.tags for key in keys)


def _state(main: StoredRun, error: str | None, is_over: bool) -> str:
    """Of the search: the run, if it is the user's, may go on after it, and fail by itself."""
    if error is not None:
        interrupted = error.startswith(_INTERRUPTED)
        return "KILLED" if interrupted or main.status == "KILLED" else "FAILED"
    return "FINISHED" if is_over else main.status


def _best_so_far(reader: Reader, main: StoredRun, search_id: str, metric: str) -> float | None:
    larger = main.tags.get("trackmllib.larger_is_better")
    if larger is None or main.metrics.get("candidates_finished") is None:
        return None
    is_split = "trainRatio" in main.params
    key = metric if is_split else f"avg_{metric}"
    child = reader.best_child(main, search_id, key, larger == "true")
    return None if child is None else child.metrics[key]


def _one_of_several(reader: Reader, main: StoredRun, search_id: str) -> Iterator[Summary]:
    """One of several searches in a run, whose names there may be anybody's: from its files, if they
    have arrived.
    """
    described, outcome = reader.files(main, search_id, files.SEARCH, files.OUTCOME)
    if described is not None:
        try:
            result = read_back.search_result(described, outcome)
        except ValueError as error:
            raise DamagedSearch(str(error)) from error
        if result.search_id == search_id:
            yield _of_table(reader, main, result, ended=outcome is not None)


def _of_table(reader: Reader, main: StoredRun, result: SearchResult, *, ended: bool) -> Summary:
    best = result.best_so_far()
    of_best = None if best is None else result.candidates.get(best)
    done = result.candidates_finished
    state = result.status if ended else main.status
    if not ended:
        done = main.count_of("candidates_finished", result.search_id)
    return Summary(
        name=main.name,
        run_id=main.run_id,
        experiment=reader.experiments().get(main.experiment_id, ""),
        search_id=result.search_id,
        state=state,
        candidates=len(result.description.candidates),
        done=done,
        metric=result.description.metric,
        best=None if of_best is None else of_best.average,
        start_ms=result.start_ms,
        cells=len(result.description.candidates) * result.folds,
        cells_done=_cells_done(main, result, ended=ended),
        resumable=_is_resumable(main, result.search_id),
    )


def _cells_done(main: StoredRun, result: SearchResult, *, ended: bool) -> int:
    if ended:
        return result.cells_finished
    return main.count_of("cells_finished", result.search_id)
