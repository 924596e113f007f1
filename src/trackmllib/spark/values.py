"""Values of params as plain data: what people read, and what a JSON file holds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from pyspark.ml.linalg import Matrix, SparseVector, Vector
from pyspark.ml.param import Params

from trackmllib.events import Component, Json, Value
from trackmllib.guard import attempt
from trackmllib.redaction import Hides, holds_secret, looks_secret, within, without_credentials

# Where an object lies in memory says nothing, and is elsewhere in each process.
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+(?=>)")


def plain(
    value: Any, describe: Callable[[Params], Component], hides: Hides = looks_secret
) -> Value:
    """The plain form of a param's value.

    ``describe`` is called for stages and other components, ``hides`` tells which names in the value
    name a secret.

    Never raises for a value that cannot be shown: that one reads as its class name.
    """
    shown = f"<{type(value).__name__}>"

    def read() -> Value:
        kept = within(value, hides) if holds_secret(value, hides) else value
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
        return without_credentials(value)
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
    return without_credentials(text if isinstance(value, str) else _ADDRESS.sub("", text))


def _scalar(value: Any) -> Any:
    """A numpy scalar as Python's own number; anything else as it is."""
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()
    return value
