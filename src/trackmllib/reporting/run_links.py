"""Ids of a search's runs, and their addresses in the MLflow UI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class RunLinks:
    """Ids of the runs that exist so far; ``tracking_uri`` is redacted."""

    tracking_uri: str | None = None
    experiment_id: str | None = None
    parent: str | None = None
    children: Mapping[int, str] = field(default_factory=dict)

    def page(self, candidate: int | None = None) -> str | None:
        """Address of a candidate's run, or the parent run, or None without a UI."""
        run_id = self.parent if candidate is None else self.children.get(candidate)
        uri = self.tracking_uri or ""
        if run_id is None or self.experiment_id is None or not uri.startswith(("http:", "https:")):
            return None
        return f"{uri.rstrip('/')}/#/experiments/{self.experiment_id}/runs/{run_id}"
