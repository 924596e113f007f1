"""Where the runs of a search are on their server, as far as that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The ids of a search's runs. ``tracking_uri`` is redacted; None where nothing is known yet."""

    tracking_uri: str | None = None
    experiment_id: str | None = None
    main: str | None = None
    children: Mapping[int, str] = field(default_factory=dict)

    def page(self, candidate: int | None = None) -> str | None:
        """The address of a run on MLflow's page; None where the server has none, or it is not
        known. Candidate None: the main run.
        """
        run_id = self.main if candidate is None else self.children.get(candidate)
        uri = self.tracking_uri or ""
        if run_id is None or self.experiment_id is None or not uri.startswith(("http:", "https:")):
            return None
        return f"{uri.rstrip('/')}/#/experiments/{self.experiment_id}/runs/{run_id}"
