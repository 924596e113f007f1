"""Table of a search as a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

_FLOATS = ("average", "deviation", "seconds")
_FLOAT_PREFIXES = ("fold_", "avg_", "std_")


def dataframe(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """DataFrame with the keys of the rows as columns."""
    if not rows:
        return pd.DataFrame()
    return pd.DataFrame({name: _column(name, [row[name] for row in rows]) for name in rows[0]})


def _column(name: str, values: list[Any]) -> pd.Series:
    if name in _FLOATS or name.startswith(_FLOAT_PREFIXES):
        return pd.Series(values, dtype="float64")
    present = [value for value in values if value is not None]
    complete = len(present) == len(values)
    if present and all(isinstance(value, bool) for value in present):
        return pd.Series(values, dtype="bool" if complete else "boolean")
    if present and all(type(value) is int and -(2**63) <= value < 2**63 for value in present):
        return pd.Series(values, dtype="int64" if complete else "Int64")
    if present and all(_is_number(value) for value in present):
        return pd.Series(values, dtype="float64")
    return pd.Series(values, dtype="object")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
