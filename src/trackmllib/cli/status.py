"""``trackmllib status``: lists searches on disk."""

from __future__ import annotations

from typing import Any

import click

from trackmllib.cli import json_output, parameters, terminal, values
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.outbox.inspect import LeftOnDisk, SearchOnDisk, left_on_disk
from trackmllib.support import formatting
from trackmllib.support.redaction import redacted


@click.command()
@parameters.as_json
def command(as_json: bool) -> None:
    """List searches on disk that are not fully delivered.

    For each search: its tracking server, the operations that wait, and the last error.
    """
    left = left_on_disk(OutboxDirectory.for_user())
    if as_json:
        data = {
            "searches": [_as_data(search) for search in left.searches],
            "damaged": [str(path) for path in left.damaged],
        }
        terminal.write_data(json_output.dumps(data))
        return
    terminal.echo(*lines(left))
    if any(not search.owner_alive for search in left.searches):
        terminal.echo("", "`trackmllib sync` delivers what no running process delivers.")


def lines(left: LeftOnDisk) -> list[str]:
    """Lines about everything that is left, or one if nothing is."""
    if not left:
        return ["Nothing is left on disk: every search is on its server."]
    made = [line for search in left.searches for line in _search_lines(search)]
    for path in left.damaged:
        made += [
            str(path),
            "  damaged outbox file, kept; nothing of it is delivered, and its runs may stay "
            "RUNNING in MLflow. Delete it when you no longer need it.",
        ]
    return made


def _as_data(search: SearchOnDisk) -> dict[str, Any]:
    return {
        "search_id": search.search_id,
        "name": search.name,
        "tracking_uri": redacted(search.tracking_uri),
        "workspace": search.workspace,
        "state": search.state,
        "host": search.host,
        "pid": search.pid,
        "waiting": search.waiting,
        "deferred": search.deferred,
        "deferred_reason": search.deferred_reason,
        "rejected": search.rejected,
        "rejected_reason": search.reason,
        "last_error": search.error,
        "start_ms": search.started_ms,
        "oldest_ms": search.oldest_ms,
    }


def _search_lines(search: SearchOnDisk) -> list[str]:
    """Lines of a search, two to five."""
    wait = formatting.count(search.waiting, "operation waits", "operations wait")
    workspace = "" if search.workspace in (None, "default") else f", workspace {search.workspace}"
    oldest = f", the oldest for {values.age(search.oldest_ms)}" if search.oldest_ms else ""
    made = [
        f"{search.search_id}  {search.name}",
        f"  {search.state}; {wait} for {redacted(search.tracking_uri)}{workspace}{oldest}",
    ]
    if search.error:
        made.append(f"  last error: {search.error}")
    if search.deferred:
        deferred = formatting.count(search.deferred, "operation")
        to = "another process" if search.owner_alive else "the next process or `trackmllib sync`"
        made.append(f"  {deferred} deferred to {to}: {search.deferred_reason}")
    if search.rejected:
        rejected = formatting.count(search.rejected, "operation was", "operations were")
        made.append(f"  {rejected} rejected by the server: {search.reason}")
    return made
