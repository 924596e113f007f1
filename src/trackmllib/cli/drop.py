"""``trackmllib drop``: deletes undelivered operations of a search."""

from __future__ import annotations

import sys

import click

from trackmllib.cli import terminal
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.outbox.inspect import SearchOnDisk, left_on_disk
from trackmllib.support import formatting
from trackmllib.support.redaction import redacted


@click.command()
@click.argument("search_id", metavar="SEARCH_ID")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def command(search_id: str, yes: bool) -> int:
    """Delete what is left on disk of a search.

    SEARCH_ID is shown by "trackmllib status".
    """
    directory = OutboxDirectory.for_user()
    searches = left_on_disk(directory).searches
    found = [search for search in searches if search.search_id == search_id]
    if not found:
        terminal.echo(
            f"There is no search {search_id} on disk. `trackmllib status` lists the searches there."
        )
        return 1
    if any(search.owner_alive for search in found):
        terminal.echo(
            f"Search {search_id} is not dropped: {found[0].state}. End that process first."
        )
        return 1
    terminal.echo(_loss(found[0]))
    if not yes and not _confirmed():
        terminal.echo("Nothing was dropped.")
        return 1
    for search in found:
        held = directory.claim(search.entry)
        if held is None:
            terminal.echo(f"Search {search_id} is not dropped: another process is recovering it.")
            return 1
        held.outbox.drop(search_id)
        held.release()
    terminal.echo(f"Search {search_id} was dropped.")
    return 0


def _loss(search: SearchOnDisk) -> str:
    """Say what dropping a search loses."""
    operations = formatting.count(
        search.waiting + search.deferred + search.rejected,
        "operation that has",
        "operations that have",
    )
    return (
        f"Dropping search {search.search_id} ({search.name}) deletes {operations} not reached "
        f"{redacted(search.tracking_uri)}: params, scores, artifacts and the end of runs, which "
        "may stay RUNNING forever. The server keeps what it has received."
    )


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        terminal.echo("Confirm with --yes, since standard input is not a terminal.")
        return False
    return click.confirm("Drop it?")
