"""Decides which names a search uses on a main run that holds other things already.

Rule (Databricks' automated MLflow tracking): what stands is never overwritten; a name that already
has another value gets the search's UUID appended. The same value twice is no conflict.
"""

from __future__ import annotations

from collections.abc import Mapping


def settle(name: str, value: str, existing: Mapping[str, str], search_id: str) -> str:
    """The name to use for a param or a tag, given those that the run has."""
    return renamed(name, search_id) if existing.get(name, value) != value else name


def settle_metric(
    name: str, value: float, series: bool, existing: Mapping[str, float], search_id: str
) -> str:
    """The name to use for a metric. A series never goes on where another one has been."""
    if name not in existing:
        return name
    same = repr(existing[name]) == repr(value)
    return name if same and not series else renamed(name, search_id)


def renamed(name: str, search_id: str) -> str:
    """The name that no other search has: ``numFolds_3f2c…``, with the full UUID."""
    return f"{name}_{search_id}"
