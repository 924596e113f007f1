"""Loads searches from a server as the tables that they were while they ran."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from trackmllib import json_kinds, limits
from trackmllib.errors import DamagedSearch, UnknownSearch
from trackmllib.events import Cost, Failure
from trackmllib.options.children import ALL
from trackmllib.recorder import files, read_back
from trackmllib.search_result import CandidateResult, Cell, SearchResult, Status
from trackmllib.stored_score import RESUMED_FROM
from trackmllib.tracking.lookup import Found, find
from trackmllib.tracking.reading import Reader, StoredRun
from trackmllib.view.results import Results
from trackmllib.view.runs import Runs

# What SQL stores of MLflow's keep in the place of infinity.
_LARGEST = 1.7976931348623157e308
_SECONDS = ("fit_seconds", "evaluate_seconds")
_COST = "spark."
# Starts are known from rounded ends and seconds.
_ROUNDING_MS = 2

COSTS = tuple(Cost().by_name())
# What the report shows of them.
OF_THE_REPORT = ("executorRunTime",)

Points = Mapping[tuple[str, str], list[tuple[int, float, int]]]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A search that was loaded, and the run that it is on."""

    main: StoredRun
    results: Results


def load(run: str, tracking_uri: str | None, search_id: str | None = None) -> Results:
    """The results of the search that is meant; of several in one run the newest."""
    return load_all(Reader(tracking_uri), run, search_id)[-1].results


def load_all(
    reader: Reader,
    run: str,
    search_id: str | None = None,
    *,
    costs: Collection[str] = COSTS,
    leave_out: Callable[[str], None] | None = None,
) -> list[Loaded]:
    """The searches of a run, oldest first. ``run`` is what ``lookup.find`` takes; ``search_id``,
    or the beginning of it, says which one is meant. ``costs`` are those
    that are asked for where each of them is a request for each child: of searches that run.
    ``leave_out`` is called with a sentence for each damaged search, if another one of the run is
    intact.

    :raises UnknownSearch: nothing of that kind is there, or its description has not arrived.
    :raises DamagedSearch: a file of a search is damaged, and the search cannot be left out.
    """
    found = find(reader, run)
    if search_id is None:
        wanted = [found.search_id] if found.search_id else found.main.search_ids
    else:
        wanted = [_chosen(found, search_id)]
    loaded, damages = [], []
    for each in wanted:
        try:
            result, children = search_result(reader, found.main, each, costs=costs)
        except DamagedSearch as error:
            damages.append(error)
            continue
        if result is not None:
            loaded.append(_loaded(reader, found.main, result, children))
    for damage in damages:
        if leave_out is None or not loaded:
            raise damage
        leave_out(str(damage))
    if not loaded:
        raise UnknownSearch(
            f"run {found.main.run_id} is a search, but there is no {files.SEARCH} among its files "
            "(yet), and without it nothing can be shown"
        )
    return sorted(loaded, key=lambda each: each.results.search.start_ms)


def search_result(
    reader: Reader, main: StoredRun, search_id: str, *, costs: Collection[str] = COSTS
) -> tuple[SearchResult | None, dict[int, StoredRun]]:
    """The table of one search of a main run, None if its description is not there; and its child
    runs, by candidate.

    A search that has ended has written down all of it. One that runs, or whose process died, is
    put together from its child runs: its fits start then where their measured seconds say.
    """
    described, outcome = reader.files(main, search_id, files.SEARCH, files.OUTCOME)
    if described is None:
        return None, {}
    try:
        result = read_back.search_result(described, outcome)
    except ValueError as error:
        raise DamagedSearch(
            f"search {search_id} on run {main.run_id} cannot be shown: {error}"
        ) from error
    if result.search_id != search_id:
        return None, {}
    children = reader.children(main, search_id)
    if outcome is None:
        _fill(result, main, children, reader.histories(_wanted(result, children, costs)))
        _count(result, main)
    return result, children


def _loaded(
    reader: Reader, main: StoredRun, result: SearchResult, children: Mapping[int, StoredRun]
) -> Loaded:
    runs = Runs(
        tracking_uri=reader.uri,
        experiment_id=main.experiment_id,
        main=main.run_id,
        children={index: run.run_id for index, run in children.items()},
    )
    return Loaded(main=main, results=Results(result, lambda: runs))


def _chosen(found: Found, meant: str) -> str:
    known = found.main.search_ids
    fitting = [each for each in known if each.startswith(meant.strip().lower())]
    if len(fitting) == 1:
        return fitting[0]
    several = "several searches of" if fitting else "no search of"
    raise UnknownSearch(
        f"{meant!r} is {several} run {found.main.run_id}; it has {', '.join(sorted(known))}"
    )


def _wanted(
    result: SearchResult, children: Mapping[int, StoredRun], costs: Collection[str]
) -> list[tuple[str, str]]:
    """The metrics that have a point for each fold."""
    of_folds = {limits.key(result.description.metric), *_SECONDS}
    of_folds.update(_COST + cost for cost in costs)
    return [
        (run.run_id, key) for run in children.values() for key in run.metrics if key in of_folds
    ]


def _fill(
    result: SearchResult, main: StoredRun, children: Mapping[int, StoredRun], points: Points
) -> None:
    grid = len(result.description.candidates)
    for index, run in children.items():
        if index >= grid:
            continue
        result.candidates[index] = _candidate(result, run, points)
        if run.tags.get("trackmllib.best") == "true":
            result.best = index
    found = result.candidates.values()
    _assign_threads([cell for candidate in found for cell in candidate.cells.values()])
    result.count()
    _end(result, main)


def _count(result: SearchResult, main: StoredRun) -> None:
    """How much is done, as the main run says it, where not all candidates have runs."""

    if result.children != ALL:
        result.cells_finished = main.count_of("cells_finished", result.search_id)
        result.candidates_finished = main.count_of("candidates_finished", result.search_id)


def _candidate(result: SearchResult, run: StoredRun, points: Points) -> CandidateResult:
    metric = limits.key(result.description.metric)
    status: Status = "RUNNING"
    if run.status in ("FINISHED", "FAILED", "KILLED"):
        status = run.status  # type: ignore[assignment]
    found = CandidateResult(status=status, measured=run.tags.get("trackmllib.times") != "search")
    if result.description.averaged:
        found.average = _number(run.metrics.get(f"avg_{metric}"))
        found.deviation = _number(run.metrics.get(f"std_{metric}"))
    elif status == "FINISHED":
        found.average = _number(run.metrics.get(metric))
    if found.measured:
        folds = read_back.most_folds(len(result.description.candidates))
        _fill_cells(found, run, metric, points, folds)
    return found


def _fill_cells(
    found: CandidateResult, run: StoredRun, metric: str, points: Points, most_folds: int
) -> None:
    values: dict[int, dict[str, float]] = {}
    scored_ms: dict[int, int] = {}
    for key in run.metrics:
        for fold, value, time_ms in points.get((run.run_id, key), ()):
            # The user may log points under the name of one of our metrics.
            if not 0 <= fold < most_folds or not 0 <= time_ms <= json_kinds.LATEST_MS:
                continue
            values.setdefault(fold, {})[key] = value
            if key == metric:
                scored_ms[fold] = time_ms
    for fold, of_fold in sorted(values.items()):
        end_ms = scored_ms.get(fold)
        seconds = [_seconds(of_fold.get(key)) for key in _SECONDS]
        spent_ms = round(1000 * sum(each or 0.0 for each in seconds))
        cost = {
            key.removeprefix(_COST): int(value)
            for key, value in of_fold.items()
            if key.startswith(_COST) and math.isfinite(value)
        }
        found.cells[fold] = Cell(
            start_ms=run.start_ms if end_ms is None else max(run.start_ms, end_ms - spent_ms),
            end_ms=end_ms,
            score=_number(of_fold.get(metric)),
            fit_seconds=seconds[0],
            evaluate_seconds=seconds[1],
            cost=Cost.of_names(cost) if cost else None,
        )
        source = run.tags.get(f"{RESUMED_FROM}.{fold}")
        if source is not None:
            found.cells[fold].taken_ms = run.start_ms
            found.cells[fold].taken_from_run = source
    error = run.tags.get("trackmllib.error")
    if error is not None:
        # Folds come one after the other, so it was the first one without a score.
        fold = next(n for n in range(len(scored_ms) + 1) if n not in scored_ms)
        cell = found.cells.setdefault(fold, Cell(start_ms=run.start_ms))
        cell.end_ms = run.end_ms
        cell.failure = _failure(error, interrupted=found.status == "KILLED")


def _assign_threads(cells: list[Cell]) -> None:
    """Threads are not recorded on child runs: each cell gets the first one that is free when it
    starts, so that no two of a thread overlap. Where the measured seconds leave a few milliseconds
    of overlap that is no thread.
    """
    free_ms: list[float] = []
    here = [cell for cell in cells if cell.taken_ms is None]
    for cell in sorted(here, key=lambda each: (each.start_ms, each.end_ms or math.inf)):
        taken = next(
            (n for n, free in enumerate(free_ms) if free <= cell.start_ms + _ROUNDING_MS), None
        )
        if taken is None:
            taken = len(free_ms)
            free_ms.append(0.0)
        cell.thread = taken
        free_ms[taken] = math.inf if cell.end_ms is None else cell.end_ms


def _end(result: SearchResult, main: StoredRun) -> None:
    """How it ended, if its run says so: what nobody ended is running, for all that is known."""
    error = main.tags.get(f"trackmllib.error_{result.search_id}")
    if error is None and len(main.search_ids) == 1:
        error = main.tags.get("trackmllib.error")
    if error is None and main.status in ("FAILED", "KILLED"):
        error = "SystemExit: the run was ended before the search had an outcome"
    if error is not None:
        result.failure = _failure(error, interrupted=main.status == "KILLED")
        for candidate in result.candidates.values():
            if candidate.status == "RUNNING":
                candidate.status = "KILLED"
    elif main.status != "FINISHED" or result.best is None:
        return
    ends = [found.end_ms for found in result.candidates.values() if found.end_ms is not None]
    result.end_ms = main.end_ms or max(ends, default=result.start_ms)


def _failure(summary: str, *, interrupted: bool) -> Failure:
    kind, _, message = summary.partition(": ")
    return Failure(type=kind, message=message, traceback="", interrupted=interrupted)


def _seconds(value: float | None) -> float | None:
    """A duration; None if the value is no valid one."""
    try:
        return None if value is None else json_kinds.seconds(value)
    except json_kinds.Damaged:
        return None


def _number(number: float | None) -> float | None:
    if number is not None and abs(number) >= _LARGEST:
        return float("inf") if number > 0 else float("-inf")
    return number
