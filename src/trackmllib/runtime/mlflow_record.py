"""Plain data of everything that MLflow's autologging would log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from trackmllib.domain import mlflow_limits
from trackmllib.domain.descriptions import MlflowCandidate, MlflowRecord, Value
from trackmllib.support.redaction import Hides, redact_credentials, redact_value
from trackmllib.tracking import mlflow_autologging

Pairs = tuple[tuple[str, str], ...]


def run_tags() -> Pairs:
    """Tags that MLflow gives to a run that its autologging creates."""
    return tuple(
        (mlflow_limits.sanitize_key(str(key)), mlflow_limits.tag_value(str(value)))
        for key, value in mlflow_autologging.managed_run_tags().items()
        if not str(key).startswith("trackmllib.")
    )


def record_of(tuner: Any, hides: Hides) -> MlflowRecord:
    """Collect what MLflow would log for a search.

    :param tuner: A copy, because MLflow sets an attribute.
    :param hides: Whether the param of this name is secret.
    :raises Exception: The error with which MLflow's autologging would log nothing.
    """
    logged = mlflow_autologging.logged_of(tuner)
    # MLflow's keys end with the name of the param.
    redact = partial(redact_value, hides=lambda key: hides(key.rpartition(".")[2]))
    children = [dict(_texts(redact(params))) for params in logged.children]
    is_complete = len(children) == len(logged.grid)
    shared = _shared(children) if is_complete else {}
    return MlflowRecord(
        params=_texts(redact(logged.params)),
        tags=_texts(logged.tags),
        run_tags=run_tags(),
        estimator_info=json.dumps(redact(logged.info), indent=2, default=_text),
        child_tags=_texts(logged.child_tags),
        child_params=tuple(shared.items()),
        candidates=tuple(
            MlflowCandidate(
                grid=tuple((key, _value(value)) for key, value in redact(grid).items()),
                params=tuple(item for item in own.items() if item not in shared.items()),
            )
            for grid, own in zip(
                logged.grid, [*children, *[{}] * (len(logged.grid) - len(children))], strict=True
            )
        ),
    )


def _texts(values: Mapping[str, Any]) -> Pairs:
    return tuple((key, _text(value)) for key, value in values.items())


def _text(value: Any) -> str:
    """The text that MLflow logs, without credentials."""
    text, most = redact_credentials(str(value)), mlflow_limits.MAX_PARAM_VALUE
    return text if len(text) <= most else text[: most - 3] + "..."


def _value(value: Any) -> Value:
    """A value of the grid; data that is not JSON is logged as text."""
    return Value(text=_text(value), data=json.loads(json.dumps(value, default=_text)))


def _shared(children: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The items that all mappings have."""
    first, *others = children or [{}]
    return {key: value for key, value in first.items() if all(o.get(key) == value for o in others)}
