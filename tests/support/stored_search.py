"""Tables of searches, live and loaded from a server."""

from __future__ import annotations

import mlflow
from mlflow import MlflowClient

from support.search_player import Player
from trackmllib.domain.naming import GridNames
from trackmllib.reporting import table
from trackmllib.reporting.results import Results
from trackmllib.reporting.run_links import RunLinks
from trackmllib.tracking.client import CANDIDATE, SEARCH_ID


def runs_of(player: Player, search_id: str) -> dict[int | None, mlflow.entities.Run]:
    """The runs of a search by candidate, read by their tags."""
    found = MlflowClient(tracking_uri=player.uri).search_runs(
        [player.experiment_id], f"tags.`{SEARCH_ID}` = '{search_id}'"
    )
    numbers = [run.data.tags.get(CANDIDATE) for run in found]
    return {None if n is None else int(n): run for n, run in zip(numbers, found, strict=True)}


def parent_run_id(player: Player, search_id: str) -> str:
    """The id of the parent run of a search."""
    return runs_of(player, search_id)[None].info.run_id


def live_rows(player: Player, search_id: str) -> str:
    """Return the live table of a search as text, in which NaN equals NaN.

    Run ids are read from MLflow.
    """
    result = player.tables[search_id]
    children = {
        n: run.info.run_id for n, run in runs_of(player, search_id).items() if n is not None
    }
    names = GridNames(result.description.candidates)
    return repr(table.rows(result, names, RunLinks(children=children)))


def loaded_rows(results: Results) -> str:
    """The table of a loaded search, as text."""
    return repr(table.rows(results.search, results.grid, results.runs))
