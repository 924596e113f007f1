"""What a run has in MLflow, to compare what MLflow logs alone and with trackmllib."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from typing import Any

import yaml
from mlflow.entities import Run

from support.mlflow_reader import Store

# Names of runs, and texts with ids and times, of which only the presence is compared.
_NAMES = ("mlflow.runName",)
_WITH_IDS = ("mlflow.parentRunId", "mlflow.log-model.history")
_DESCRIPTION = "mlflow.note.content"
_UID = re.compile(r"_[0-9a-f]{12}\b")
_FILES = ("estimator_info.json", "best_parameters.json", "metric_info.json")
_RESULTS = "search_results.csv"


def missing(alone: Store, both: Store, has_predictions: bool) -> list[str]:
    """What only the first store has, by run and key; MLflow logged both.

    Each run is compared with the most similar one of the other store. Run names and times aside.

    :param has_predictions: Whether all searches returned a model.
    """
    found = [facts(both, run, has_predictions) for run in both.runs()]
    lost = []
    for run in alone.runs():
        expected = facts(alone, run, has_predictions)
        lost += min((_lost(expected, each) for each in found), key=len, default=list(expected))
    return lost


def facts(store: Store, run: Run, has_predictions: bool) -> dict[tuple[str, ...], Any]:
    """All that a run has, by kind and key."""
    is_child = "mlflow.parentRunId" in run.data.tags
    record: dict[tuple[str, ...], Any] = {("kind",): is_child}
    for kind in ("params", "metrics"):
        record |= {(kind, key): value for key, value in getattr(run.data, kind).items()}
    for key, value in run.data.tags.items():
        if key not in _NAMES:
            record["tags", key] = "" if key in _WITH_IDS else value
    # MLflow marks its run as FAILED if its own code fails after the training.
    record["status",] = "FINISHED" if has_predictions else run.info.status
    for each in run.inputs.dataset_inputs:
        context = each.tags[0].value
        dataset = each.dataset
        # Without the digest, a hash of the plan that differs from process to process.
        record["dataset", context, dataset.name] = (
            dataset.source_type,
            dataset.source,
            dataset.schema,
        )
        record["profile", context] = dataset.profile
    if not is_child:
        record |= _files(store, run)
        record |= _models(store, run)
    return record


def _lost(expected: dict, found: dict) -> list[str]:
    return [
        f"{key}: {value!r} != {found.get(key)!r}"
        for key, value in expected.items()
        if key not in found or not _same(key, value, found[key])
    ]


def _same(key: tuple[str, ...], value: Any, found: Any) -> bool:
    if key == ("tags", _DESCRIPTION):
        return value in found
    if key[0] == "profile" and "unknown" in (value + found):
        # MLflow counts rows for 5 seconds at most.
        return True
    if isinstance(value, float) and isinstance(found, float):
        return math.isclose(value, found, rel_tol=1e-9)
    return value == found


def _files(store: Store, run: Run) -> dict[tuple[str, ...], Any]:
    record: dict[tuple[str, ...], Any] = {}
    top = store.files(run, "")
    for name in top:
        record["file", name] = None
    for name in set(_FILES) & set(top):
        record["file", name] = json.loads(_UID.sub("", store.text(run, name)))
    if _RESULTS in top:
        record["file", _RESULTS] = [
            {key: _number(text) for key, text in row.items()}
            for row in csv.DictReader(io.StringIO(store.text(run, _RESULTS)))
        ]
    for model in {"model", "best_model"} & set(top):
        for name in store.files(run, model):
            record["file", model, name] = None
        described = yaml.safe_load(store.text(run, f"{model}/MLmodel"))
        record["signature", model] = described.get("signature")
        record["example", model] = bool(described.get("saved_input_example_info"))
        record["flavors", model] = sorted(described["flavors"])
    return record


def _models(store: Store, run: Run) -> dict[tuple[str, ...], Any]:
    """Registered models of a run, and its logged models of MLflow 3."""
    record: dict[tuple[str, ...], Any] = {}
    for model in store.client.search_registered_models():
        versions = store.client.search_model_versions(f"name = '{model.name}'")
        of_run = [each.version for each in versions if each.run_id == run.info.run_id]
        if of_run:
            record["registered", model.name] = len(of_run)
    if hasattr(store.client, "search_logged_models"):
        for each in store.client.search_logged_models([run.info.experiment_id]):
            if each.source_run_id == run.info.run_id:
                record["logged model", each.name] = None
    return record


def _number(text: str) -> Any:
    try:
        return round(float(text), 9)
    except ValueError:
        return text
