"""JSON that every program can read."""

from __future__ import annotations

import json
import math
from typing import Any


def dumps(data: Any) -> str:
    """Indented JSON with a newline at its end.

    JSON has neither NaN nor infinities: they are the strings ``"NaN"``, ``"Infinity"`` and
    ``"-Infinity"``.
    """
    return json.dumps(_encodable(data), indent=2, allow_nan=False) + "\n"


def _encodable(data: Any) -> Any:
    match data:
        case dict():
            return {str(key): _encodable(value) for key, value in data.items()}
        case list() | tuple():
            return [_encodable(value) for value in data]
        case float() if not math.isfinite(data):
            return "NaN" if math.isnan(data) else "Infinity" if data > 0 else "-Infinity"
    return data
