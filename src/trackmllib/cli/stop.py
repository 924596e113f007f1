"""``trackmllib stop``: stops a search that runs in another process."""

from __future__ import annotations

import click

from trackmllib.cli import parameters, terminal


@click.command(epilog=parameters.RUN_EPILOG)
@parameters.run
@parameters.search
@parameters.tracking_uri
def command(run: str, search_id: str | None, tracking_uri: str | None) -> int:
    """Stop a running search after its current fits.

    This adds the id of the search to the tag trackmllib.stop of the parent run. Within seconds
    the search starts no more fits, and once its current fits are done, fit() raises
    trackmllib.SearchStopped. Its scores are recorded; autolog(resume=True) continues from there.
    If several searches are running in the run, it stops all of them, unless --search selects one.
    The exit code is 1 if there is nothing to stop.
    """
    from trackmllib.history.run_lookup import find_parent_run
    from trackmllib.history.run_reader import RunReader
    from trackmllib.history.search_loader import has_ended, wanted_ids
    from trackmllib.tracking import stop_request

    server = RunReader(tracking_uri)
    match = find_parent_run(server, run)
    parent = match.parent_run
    wanted = wanted_ids(match, search_id)
    label = f"run {parent.run_id} ({parent.name})"
    if "trackmllib.parent_search_id" in parent.tags:
        terminal.echo(f"Search {wanted[0]} in {label} is nested; stop the outer search instead.")
        return 1
    running = [each for each in wanted if not has_ended(server, parent, each)]
    if not running:
        ended = "" if parent.status == "RUNNING" else f" (the run is {parent.status})"
        for each in wanted:
            terminal.echo(f"Search {each} in {label} has ended{ended}; there is nothing to stop.")
        return 1
    requested = [
        each for each in stop_request.requested_ids(parent.tags) if each in parent.search_ids
    ]
    server.set_tag(parent.run_id, stop_request.STOP, stop_request.tag_value([*running, *requested]))
    becomes = ", and the run ends as KILLED"
    if parent.is_users:
        becomes = "; the run is your own, and trackmllib does not end it"
    for each in running:
        terminal.echo(
            f"Search {each} in {label} stops after its current fits: fit() raises SearchStopped"
            f"{becomes}."
        )
    return 0
