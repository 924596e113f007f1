"""The files of a search: ``search.json``, ``results.csv`` and ``best_params.json``."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timezone

from trackmllib.events import Candidate, Component, Json, Place
from trackmllib.recorder import names
from trackmllib.recorder.names import GridNames
from trackmllib.results import SearchResult

SEARCH = "search.json"
RESULTS = "results.csv"
BEST_PARAMS = "best_params.json"
TRACEBACK = "traceback.txt"


def search_json(result: SearchResult, grid: GridNames) -> str:
    """Everything known of a search before its first fit; of the data names and types only."""
    description = result.description
    started = datetime.fromtimestamp(result.start_ms / 1000, tz=timezone.utc)
    return _json(
        {
            "search_id": result.search_id,
            "started": started.isoformat(timespec="milliseconds"),
            "tuner": _tuner(description.tuner),
            "estimator": _component(description.estimator),
            "evaluator": _component(description.evaluator),
            "metric": description.metric,
            "larger_is_better": description.larger_is_better,
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
                "candidates": [
                    {
                        "candidate": candidate.index,
                        "name": names.child_run(candidate, grid),
                        "params": _params(candidate, grid),
                    }
                    for candidate in description.candidates
                ],
            },
            "schema": [{"name": name, "type": kind} for name, kind in description.schema],
            "versions": dict(description.versions),
            "application_id": description.application_id,
            "inside_of": _place(result.parent),
        }
    )


def results_csv(result: SearchResult, grid: GridNames) -> str:
    """A row for each candidate, also for those that did not begin (status ``SCHEDULED``)."""
    description = result.description
    folds = max(
        [description.folds]
        + [fold + 1 for candidate in result.candidates.values() for fold in candidate.cells]
    )
    settings = list(grid.settings.values())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            *("candidate", *(f"params.{grid.key(setting)}" for setting in settings), "status"),
            *(f"fold_{fold}" for fold in range(folds)),
            *("average", "deviation", "seconds"),
        ]
    )
    for candidate in description.candidates:
        values = {grid.key(setting): setting.value.text for setting in candidate.settings}
        row = [str(candidate.index), *(values.get(grid.key(setting), "") for setting in settings)]
        found = result.candidates.get(candidate.index)
        if found is None:
            writer.writerow([*row, "SCHEDULED", *[""] * (folds + 3)])
            continue
        scores = [found.cells[fold].score if fold in found.cells else None for fold in range(folds)]
        numbers = [*scores, found.average, found.deviation, found.seconds]
        writer.writerow(
            [*row, found.status, *("" if number is None else repr(number) for number in numbers)]
        )
    return text.getvalue()


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
    }


def _params(candidate: Candidate, grid: GridNames) -> dict[str, Json]:
    return {grid.key(setting): setting.value.data for setting in candidate.settings}


def _component(component: Component | None) -> Json:
    return None if component is None else component.to_json()


def _tuner(tuner: Component) -> Json:
    """The tuner without its estimator and evaluator, which stand in fields of their own."""
    data = tuner.to_json()
    params = data["params"]
    assert isinstance(params, dict)
    data["params"] = {k: v for k, v in params.items() if k not in ("estimator", "evaluator")}
    return data


def _json(data: Json) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
