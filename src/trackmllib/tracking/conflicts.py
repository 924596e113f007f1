"""Names of params, tags and metrics on a parent run that others log to.

Name collisions get a ``_<search id>`` suffix, as in Databricks' automated MLflow tracking: nothing
is overwritten. The same value under the same name is no collision.
"""

from __future__ import annotations

from collections.abc import Mapping


def resolve_name(name: str, value: str, existing: Mapping[str, str], search_id: str) -> str:
    """The name for a param or a tag, given the existing ones of the run."""
    return with_search_id(name, search_id) if existing.get(name, value) != value else name


def resolve_metric_name(
    name: str, value: float, series: bool, existing: Mapping[str, float], search_id: str
) -> str:
    """The name for a metric; a series never continues an existing one."""
    if name not in existing:
        return name
    same = repr(existing[name]) == repr(value)
    return name if same and not series else with_search_id(name, search_id)


def with_search_id(name: str, search_id: str) -> str:
    """Append the id of a search: ``numFolds_3f2c…``, with the full UUID."""
    return f"{name}_{search_id}"
