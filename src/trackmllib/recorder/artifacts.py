"""Artifacts of a search; ``artifact_reader`` reads the JSON files back."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from functools import partial
from itertools import chain

from trackmllib.domain import further_metrics, ranking
from trackmllib.domain.descriptions import Candidate, Component, Failure, Json, ParentFit
from trackmllib.domain.events import StagesComputed
from trackmllib.domain.search_state import CandidateResult, FoldFit, SearchState

SEARCH = "search.json"
RESULTS = "results.csv"
OUTCOME = "outcome.json"
BEST_PARAMS = "best_params.json"
TRACEBACK = "traceback.txt"


def search_json(state: SearchState) -> str:
    """Description of a search; of the data, only column names and types."""
    description = state.description
    started = datetime.fromtimestamp(state.start_ms / 1000, tz=timezone.utc)
    whole = _json(
        {
            "search_id": state.search_id,
            "started": started.isoformat(timespec="milliseconds"),
            "tuner": _tuner(description.tuner),
            "estimator": _component(description.estimator),
            "evaluator": _component(description.evaluator),
            "metric": description.metric,
            "larger_is_better": description.larger_is_better,
            "further_metrics": [
                {"name": each.name, "larger_is_better": each.larger_is_better}
                for each in description.further_metrics
            ],
            "averaged": description.averaged,
            "folds": description.folds,
            "grid": {
                "params": [
                    {
                        "key": state.grid.key(param),
                        "name": param.name,
                        "stage": param.owner,
                        "stage_class": param.owner_class,
                        "stage_position": param.owner_position,
                    }
                    for param in state.grid.params.values()
                ],
                "candidates": [],
            },
            "schema": [{"name": name, "type": kind} for name, kind in description.schema],
            "versions": dict(description.versions),
            "application_id": description.application_id,
            "parallel_folds": description.parallel_folds,
            "children": state.children,
            "inside_of": _parent(state.parent),
            "shared_stages": [
                {"stages": list(shared.stages), "candidates": list(shared.candidates)}
                for shared in description.shared
            ],
            "nested_fits": [
                {"stages": list(nested.stages), "candidates": list(nested.candidates)}
                for nested in description.nested_fits
            ],
        }
    )
    # A param of the user's may contain the same text, but before the grid.
    before, key, after = whole.rpartition('"candidates": []')
    candidates = (_candidate(state, each) for each in description.candidates)
    return "".join([before, key[:-1], *_one_by_one(candidates), "]", after])


def results_csv(state: SearchState) -> str:
    """A row per candidate; its status is ``SCHEDULED`` before its first fit."""
    description = state.description
    folds = max(
        [description.folds]
        + [fold + 1 for candidate in state.candidates.values() for fold in candidate.fits]
    )
    has_reused = any(found.reused for found in state.candidates.values())
    keys = [state.grid.key(param) for param in state.grid.params.values()]
    further = partial(further_metrics.columns, description.further_metrics, folds=folds)
    columns = [
        *(f"fold_{fold}" for fold in range(folds)),
        *("average", "deviation", "rank", "seconds"),
        *(("resumed",) if has_reused else ()),
        *further(CandidateResult()),
    ]
    ranks = ranking.ranks(state)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["candidate", *(f"params.{key}" for key in keys), "status", *columns])
    for candidate in description.candidates:
        values = {state.grid.key(param): param.value.text for param in candidate.params}
        row = [str(candidate.index), *(values.get(key, "") for key in keys)]
        found = state.candidates.get(candidate.index)
        if found is None:
            writer.writerow([*row, "SCHEDULED", *[""] * len(columns)])
            continue
        numbers = [
            *(found.fold_score(fold) for fold in range(folds)),
            *(found.average, found.deviation, ranks.get(candidate.index), found.seconds),
            *((found.reused,) if has_reused else ()),
            *further(found).values(),
        ]
        writer.writerow(
            [*row, found.status, *("" if number is None else repr(number) for number in numbers)]
        )
    return text.getvalue()


def outcome_json(state: SearchState) -> Iterator[str]:
    """Outcome of a search with its fits, in pieces, because it may be long.

    Numbers that are not finite are texts: ``"nan"``.
    """
    whole = json.dumps(
        {
            "status": state.status,
            "started_ms": state.start_ms,
            "ended_ms": state.end_ms,
            "error": _error(state.failure),
            "best": state.best,
            "refit_seconds": state.refit_seconds,
            "cost": None if state.cost is None else state.cost.by_name(),
            "shared_work": [_work(work) for work in state.shared_work],
        },
        ensure_ascii=False,
    )
    candidates = (_result(index, found) for index, found in sorted(state.candidates.items()))
    return chain([whole[:-1], ', "candidates": ['], _one_by_one(candidates), ["]}\n"])


def best_params_json(state: SearchState) -> str:
    """Params of the best candidate; of the best complete one if unfinished."""
    best = ranking.best(state)
    return _json({} if best is None else _params(state, state.description.candidates[best]))


def _parent(parent: ParentFit | None) -> Json:
    if parent is None:
        return None
    return {
        "search_id": parent.search_id,
        "candidate": parent.candidate,
        "fold": parent.fold,
        "refit": parent.refit,
    }


def _candidate(state: SearchState, candidate: Candidate) -> Json:
    return {
        "candidate": candidate.index,
        "name": state.run_name(candidate.index),
        "params": _params(state, candidate),
        # Only where the text differs from str(data).
        "texts": {
            state.grid.key(param): param.value.text
            for param in candidate.params
            if param.value.text != str(param.value.data)
        },
    }


def _params(state: SearchState, candidate: Candidate) -> dict[str, Json]:
    return {state.grid.key(param): param.value.data for param in candidate.params}


def _result(index: int, found: CandidateResult) -> Json:
    averages = {
        name: [_number(each.average), _number(each.deviation)]
        for name, each in found.metrics.items()
    }
    return {
        "candidate": index,
        "status": found.status,
        "measured": found.measured,
        "average": _number(found.average),
        "deviation": _number(found.deviation),
        **({"metrics": averages} if averages else {}),
        "fits": [_fit(fold, fit) for fold, fit in sorted(found.fits.items())],
    }


def _fit(fold: int, fit: FoldFit) -> Json:
    data: dict[str, Json] = {
        "fold": fold,
        "thread": fit.thread,
        "started_ms": fit.start_ms,
        "ended_ms": fit.end_ms,
        "score": _number(fit.score),
        "fit_seconds": fit.fit_seconds,
        "evaluate_seconds": fit.evaluate_seconds,
        "error": _error(fit.failure),
        "cost": None if fit.cost is None else fit.cost.by_name(),
    }
    if fit.metrics:
        data["metrics"] = {name: _number(value) for name, value in fit.metrics.items()}
        data["metrics_seconds"] = fit.metrics_seconds
    if len(fit.attempts) > 1:
        data["attempts"] = [list(each) for each in fit.attempts]
    if fit.shares_work:
        data["shares_work"] = True
    if fit.derived_from is not None:
        data["derived_from"] = fit.derived_from
    if fit.reused_ms is not None:
        data |= {
            "reused_ms": fit.reused_ms,
            "reused_from": fit.reused_from,
            "reused_from_run": fit.reused_from_run,
        }
    return data


def _work(work: StagesComputed) -> Json:
    return {
        "fold": work.fold,
        "stages": list(work.shared.stages),
        "candidates": list(work.shared.candidates),
        "thread": work.thread,
        "started_ms": work.start_ms,
        "ended_ms": work.time_ms,
        "seconds": work.seconds,
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
    """Tuner without estimator and evaluator, which have their own fields."""
    data = tuner.to_json()
    params = data["params"]
    assert isinstance(params, dict)
    data["params"] = {k: v for k, v in params.items() if k not in ("estimator", "evaluator")}
    return data


def _one_by_one(items: Iterable[Json]) -> Iterator[str]:
    """Yield items of a list, one per line; one tree of all would be large."""
    comma = "\n"
    for item in items:
        yield comma + json.dumps(item, ensure_ascii=False)
        comma = ",\n"
    if comma != "\n":
        yield "\n"


def _json(data: Json) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
