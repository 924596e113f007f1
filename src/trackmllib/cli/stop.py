"""``trackmllib stop``: stops a search that runs in another process."""

from __future__ import annotations

import click

from trackmllib.cli import parameters, terminal


@click.command(epilog=parameters.RUN_EPILOG)
@parameters.run
@parameters.tracking_uri
def command(run: str, tracking_uri: str | None) -> int:
    """Stop a running search after its current fits.

    This sets the tag trackmllib.stop on the parent run, as you can in the MLflow UI. Within
    seconds the search starts no more fits, and once its current fits are done, fit() raises
    trackmllib.SearchStopped. Its scores are recorded; autolog(resume=True) continues from there.
    """
    from trackmllib.history.run_lookup import find_parent_run
    from trackmllib.history.run_reader import RunReader
    from trackmllib.tracking.stop_request import STOP

    server = RunReader(tracking_uri)
    parent = find_parent_run(server, run).parent_run
    label = f"Run {parent.run_id} ({parent.name})"
    if "trackmllib.parent_search_id" in parent.tags:
        terminal.echo(f"{label} is a nested search; stop the outer search instead.")
        return 1
    if parent.status != "RUNNING":
        terminal.echo(f"{label} is {parent.status}: there is nothing to stop.")
        return 1
    server.set_tag(parent.run_id, STOP, "true")
    terminal.echo(f"{label} stops after its current fits and ends as KILLED.")
    return 0
