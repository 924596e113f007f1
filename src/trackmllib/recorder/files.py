"""The files of a search: what is searched, and what came of it.

``read_back.py`` makes a SearchResult of ``search.json`` and ``outcome.json`` again.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from itertools import chain

from trackmllib import names
from trackmllib.events import Candidate, Component, Failure, Json, Place
from trackmllib.names import GridNames
from trackmllib.search_result import CandidateResult, Cell, SearchResult

SEARCH = "search.json"
RESULTS = "results.csv"
OUTCOME = "outcome.json"
BEST_PARAMS = "best_params.json"
TRACEBACK = "traceback.txt"


def search_json(result: SearchResult, grid: GridNames) -> str:
    """Everything known of a search before its first fit; of the data names and types only."""
    description = result.description
    started = datetime.fromtimestamp(result.start_ms / 1000, tz=timezone.utc)
    whole = _json(
        {
            "search_id": result.search_id,
            "started": started.isoformat(timespec="milliseconds"),
            "tuner": _tuner(description.tuner),
            "estimator": _component(description.estimator),
            "evaluator": _component(description.evaluator),
            "metric": description.metric,
            "larger_is_better": description.larger_is_better,
            "averaged": description.averaged,
            "folds": description.folds,
            "grid": {
                "params": [
                    {
                        "key": grid.key(setting),
                        "name": setting.name,
                        "stage": setting.owner,
                        "stage_class": setting.owner_class,
                        "stage_position": setting.owner_position,
                    }
                    for setting in grid.settings.values()
                ],
                "candidates": [],
            },
            "schema": [{"name": name, "type": kind} for name, kind in description.schema],
            "versions": dict(description.versions),
            "application_id": description.application_id,
            "children": result.children,
            "inside_of": _place(result.parent),
            "shared_stages": [
                {"stages": list(shared.stages), "candidates": list(shared.candidates)}
                for shared in description.shared
            ],
        }
    )
    # A param of the user's may look like this too, but stands before.
    before, key, after = whole.rpartition('"candidates": []')
    candidates = (_searched(candidate, grid) for candidate in description.candidates)
    return "".join([before, key[:-1], *_one_by_one(candidates), "]", after])


def results_csv(result: SearchResult, grid: GridNames) -> str:
    """A row for each candidate, also for those that did not begin (status ``SCHEDULED``)."""
    description = result.description
    folds = max(
        [description.folds]
        + [fold + 1 for candidate in result.candidates.values() for fold in candidate.cells]
    )
    takes_up = any(found.taken_up for found in result.candidates.values())
    settings = list(grid.settings.values())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            *("candidate", *(f"params.{grid.key(setting)}" for setting in settings), "status"),
            *(f"fold_{fold}" for fold in range(folds)),
            *("average", "deviation", "seconds"),
            *(("resumed",) if takes_up else ()),
        ]
    )
    for candidate in description.candidates:
        values = {grid.key(setting): setting.value.text for setting in candidate.settings}
        row = [str(candidate.index), *(values.get(grid.key(setting), "") for setting in settings)]
        found = result.candidates.get(candidate.index)
        if found is None:
            writer.writerow([*row, "SCHEDULED", *[""] * (folds + 3 + takes_up)])
            continue
        scores = [found.cells[fold].score if fold in found.cells else None for fold in range(folds)]
        numbers: list[float | None] = [*scores, found.average, found.deviation, found.seconds]
        if takes_up:
            numbers.append(found.taken_up)
        writer.writerow(
            [*row, found.status, *("" if number is None else repr(number) for number in numbers)]
        )
    return text.getvalue()


def outcome_json(result: SearchResult) -> Iterator[str]:
    """All that became of a search, down to the cells, piece by piece: of many cells it is long.
    What is not finite reads ``"nan"``.
    """
    whole = json.dumps(
        {
            "status": result.status,
            "started_ms": result.start_ms,
            "ended_ms": result.end_ms,
            "error": _error(result.failure),
            "best": result.best,
            "refit_seconds": result.refit_seconds,
            "cost": None if result.cost is None else result.cost.by_name(),
        },
        ensure_ascii=False,
    )
    candidates = (_became(index, found) for index, found in sorted(result.candidates.items()))
    return chain([whole[:-1], ', "candidates": ['], _one_by_one(candidates), ["]}\n"])


def best_params_json(result: SearchResult, grid: GridNames) -> str:
    """The params of the best candidate, of a failed search the best one that was complete."""
    best = result.best_so_far()
    if best is None:
        return _json({})
    return _json(_params(result.description.candidates[best], grid))


def _place(parent: Place | None) -> Json:
    if parent is None:
        return None
    return {
        "search_id": parent.search_id,
        "candidate": parent.candidate,
        "fold": parent.fold,
        "refit": parent.refit,
    }


def _params(candidate: Candidate, grid: GridNames) -> dict[str, Json]:
    return {grid.key(setting): setting.value.data for setting in candidate.settings}


def _texts(candidate: Candidate, grid: GridNames) -> dict[str, Json]:
    """How values read, of those that do not read as their data does."""
    return {
        grid.key(setting): setting.value.text
        for setting in candidate.settings
        if setting.value.text != str(setting.value.data)
    }


def _searched(candidate: Candidate, grid: GridNames) -> Json:
    return {
        "candidate": candidate.index,
        "name": names.child_run(candidate, grid),
        "params": _params(candidate, grid),
        "texts": _texts(candidate, grid),
    }


def _became(index: int, found: CandidateResult) -> Json:
    return {
        "candidate": index,
        "status": found.status,
        "measured": found.measured,
        "average": _number(found.average),
        "deviation": _number(found.deviation),
        "cells": [_cell(fold, cell) for fold, cell in sorted(found.cells.items())],
    }


def _cell(fold: int, cell: Cell) -> Json:
    return {
        "fold": fold,
        "thread": cell.thread,
        "started_ms": cell.start_ms,
        "ended_ms": cell.end_ms,
        "score": _number(cell.score),
        "fit_seconds": cell.fit_seconds,
        "evaluate_seconds": cell.evaluate_seconds,
        "error": _error(cell.failure),
        "cost": None if cell.cost is None else cell.cost.by_name(),
        **_taken(cell),
    }


def _taken(cell: Cell) -> dict[str, Json]:
    """Where the score of a cell was taken up; nothing of one that was computed."""
    if cell.taken_ms is None:
        return {}
    return {
        "taken_up_ms": cell.taken_ms,
        "taken_from": cell.taken_from,
        "taken_from_run": cell.taken_from_run,
    }


def _error(failure: Failure | None) -> Json:
    if failure is None:
        return None
    return {
        "type": failure.type,
        "message": failure.message,
        "interrupted": failure.interrupted,
    }


def _number(number: float | None) -> float | str | None:
    return number if number is None or math.isfinite(number) else str(number)


def _component(component: Component | None) -> Json:
    return None if component is None else component.to_json()


def _tuner(tuner: Component) -> Json:
    """The tuner without its estimator and evaluator, which stand in fields of their own."""
    data = tuner.to_json()
    params = data["params"]
    assert isinstance(params, dict)
    data["params"] = {k: v for k, v in params.items() if k not in ("estimator", "evaluator")}
    return data


def _one_by_one(items: Iterable[Json]) -> Iterator[str]:
    """The items of a list, a line for each: as one tree they take 50 MB for a moment, if there are
    50,000 cells in them.
    """
    comma = "\n"
    for item in items:
        yield comma + json.dumps(item, ensure_ascii=False)
        comma = ",\n"
    if comma != "\n":
        yield "\n"


def _json(data: Json) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
