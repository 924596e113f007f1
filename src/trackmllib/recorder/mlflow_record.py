"""Params, tags and files that MLflow's autologging would log for a search.

They are part of the record if ``mlflow.autolog()`` has switched recording on. If MLflow and
trackmllib log a param under the same key, MLflow's value is logged.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping

from trackmllib.domain import mlflow_limits
from trackmllib.domain.descriptions import Json, MlflowCandidate
from trackmllib.domain.operations import Destination, LogArtifact, Operation
from trackmllib.domain.search_state import SearchState

ESTIMATOR_INFO = "estimator_info.json"
BEST_PARAMETERS = "best_parameters.json"
SEARCH_RESULTS = "search_results.csv"

Pairs = tuple[tuple[str, str], ...]


def parent_params(state: SearchState, ours: Mapping[str, str]) -> Pairs:
    """Params of the parent run at the start, including ours."""
    record = state.description.mlflow
    return _merged(ours.items(), () if record is None else record.params)


def parent_tags(
    state: SearchState, destination: Destination, ours: Iterable[tuple[str, str]]
) -> Pairs:
    """Tags of the parent run, including ours; some only on a run of ours."""
    record = state.description.mlflow
    if record is None:
        return tuple(ours)
    return _merged(ours, (*(record.run_tags if destination.owned else ()), *record.tags))


def child_params(state: SearchState, candidate: int, ours: Pairs) -> Pairs:
    """Params of a child run, including ours."""
    record, own = state.description.mlflow, _candidate(state, candidate)
    if record is None or own is None:
        return ours
    return _merged(ours, (*record.child_params, *own.params))


def child_tags(state: SearchState) -> Pairs:
    """Tags of each child run."""
    record = state.description.mlflow
    return () if record is None else record.child_tags


def best_params(state: SearchState, ours: Mapping[str, str]) -> Pairs:
    """Params of the best candidate on the parent run, including ours."""
    own = None if state.best is None else _candidate(state, state.best)
    grid = () if own is None else own.grid
    theirs = ((f"best_{key}", mlflow_limits.param_value(value.text)) for key, value in grid)
    return _merged(ours.items(), theirs)


def opened(state: SearchState) -> Iterator[Operation]:
    """Log the file that MLflow logs before the search."""
    record = state.description.mlflow
    if record is not None and record.estimator_info:
        yield _file(state, ESTIMATOR_INFO, record.estimator_info)


def finished(state: SearchState) -> Iterator[Operation]:
    """Log the files that MLflow logs after the search."""
    record = state.description.mlflow
    best = None if state.best is None else _candidate(state, state.best)
    if record is None or best is None:
        return
    yield _file(state, SEARCH_RESULTS, _search_results(state, record.candidates))
    yield _file(state, BEST_PARAMETERS, json.dumps(_grid(best), indent=2))


def _search_results(state: SearchState, candidates: Iterable[MlflowCandidate]) -> str:
    metric = state.description.metric
    metrics = (f"avg_{metric}", f"std_{metric}") if state.description.averaged else (metric,)
    rows = []
    for index, candidate in enumerate(candidates):
        found, grid = state.candidates.get(index), _grid(candidate)
        scores = (None, None) if found is None else (found.average, found.deviation)
        row: dict[str, Json] = {"params": json.dumps(grid)}
        row |= dict(zip(metrics, scores, strict=False))
        row |= {f"param.{key}": value for key, value in grid.items()}
        rows.append(row)
    text = io.StringIO()
    # Columns of any row, in order.
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _grid(candidate: MlflowCandidate) -> dict[str, Json]:
    return {key: value.data for key, value in candidate.grid}


def _candidate(state: SearchState, index: int) -> MlflowCandidate | None:
    record = state.description.mlflow
    if record is None or index >= len(record.candidates):
        return None
    return record.candidates[index]


def _merged(ours: Iterable[tuple[str, str]], theirs: Iterable[tuple[str, str]]) -> Pairs:
    sanitized = ((mlflow_limits.sanitize_key(key), value) for key, value in theirs)
    return tuple(dict([*ours, *sanitized]).items())


def _file(state: SearchState, file_name: str, text: str) -> Operation:
    return LogArtifact(search_id=state.search_id, file_name=file_name, text=text, in_folder=False)
