"""Numbers and times as they read on the command line, and as they stand in its JSON."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any

# As much of a run id as tells it from others.
SHORT = 12


def ago(since_ms: int) -> str:
    """The time since then, in one unit."""
    seconds = max(0.0, time.time() - since_ms / 1000)
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def number(value: float | None, digits: int = 4) -> str:
    """A score; nothing where there is none."""
    if value is None:
        return ""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return str(value)
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}g}"


def digits_for(values: Sequence[float | None]) -> int:
    """As many digits as tell the first two of these values from each other; 4 to 12."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    first = next(iter(finite), None)
    second = next((value for value in finite if value != first), None)
    if first is None or second is None:
        return 4
    return next((n for n in range(4, 12) if number(first, n) != number(second, n)), 12)


def as_json(data: Any) -> str:
    """Lines of JSON that every program can read.

    JSON has neither NaN nor infinities: these are the strings ``"NaN"``, ``"Infinity"`` and
    ``"-Infinity"``.
    """
    return json.dumps(_plain(data), indent=2, allow_nan=False) + "\n"


def _plain(data: Any) -> Any:
    match data:
        case dict():
            return {str(key): _plain(value) for key, value in data.items()}
        case list() | tuple():
            return [_plain(value) for value in data]
        case float() if not math.isfinite(data):
            return "NaN" if math.isnan(data) else "Infinity" if data > 0 else "-Infinity"
    return data
