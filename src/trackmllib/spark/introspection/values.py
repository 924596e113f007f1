"""Values of params as plain data, as text and for JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from pyspark.ml.linalg import Matrix, SparseVector, Vector
from pyspark.ml.param import Params

from trackmllib.domain.descriptions import Component, Json, Value
from trackmllib.support.guard import attempt
from trackmllib.support.redaction import (
    Hides,
    contains_secret,
    looks_secret,
    redact_credentials,
    redact_value,
)

# The address of an object means nothing, and differs in each process.
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+(?=>)")


def describe_value(
    value: Any, describe: Callable[[Params], Component], hides: Hides = looks_secret
) -> Value:
    """Describe the value of a param, or name its class if that fails.

    :param describe: Describes stages and other components.
    :param hides: Whether a name in the value names a secret.
    """
    shown = f"<{type(value).__name__}>"

    def read() -> Value:
        kept = redact_value(value, hides) if contains_secret(value, hides) else value
        return Value(text=_text(kept, describe), data=_data(kept, describe))

    return attempt(read, Value(text=shown, data=shown))


def _text(value: Any, describe: Callable[[Params], Component]) -> str:
    if isinstance(value, Params):
        return describe(value).text
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(item, Params) for item in value):
            return ", ".join(_text(item, describe) for item in value)
        return "[" + ", ".join(_text(item, describe) for item in value) + "]"
    return _printed(_scalar(value))


def _data(value: Any, describe: Callable[[Params], Component]) -> Json:
    value = _scalar(value)
    if isinstance(value, str):
        return redact_credentials(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Params):
        return describe(value).to_json()
    if isinstance(value, dict):
        return {str(key): _data(item, describe) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_data(item, describe) for item in value]
    if isinstance(value, SparseVector):
        return {
            "type": "SparseVector",
            "size": int(value.size),
            "indices": value.indices.tolist(),
            "values": value.values.tolist(),
        }
    if isinstance(value, (Vector, Matrix)):
        return {"type": type(value).__name__, "values": _data(value.toArray().tolist(), describe)}
    return _printed(value)


def _printed(value: Any) -> str:
    text = str(value)
    return redact_credentials(text if isinstance(value, str) else _ADDRESS.sub("", text))


def _scalar(value: Any) -> Any:
    """Convert a numpy scalar to a Python number."""
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()
    return value
