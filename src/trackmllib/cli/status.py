"""``trackmllib status``: the searches on disk, their server, and what waits."""

from __future__ import annotations

import argparse
import json
from typing import Any

from trackmllib import plural
from trackmllib.cli import terminal
from trackmllib.cli.words import ago
from trackmllib.outbox.home import Home
from trackmllib.outbox.look import SearchOnDisk, look_at
from trackmllib.redaction import redacted


def add_to(verbs: Any) -> None:
    parser = verbs.add_parser("status", help="what lies on disk, for which server, and why")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace, home: Home) -> int:
    """Print a table, or a list of objects; always 0."""
    searches = look_at(home)
    damaged = [str(path) for path in home.damaged()]
    if given.json:
        data = {"searches": [_plain(search) for search in searches], "damaged": damaged}
        terminal.write_data(json.dumps(data, indent=2) + "\n")
        return 0
    if not searches and not damaged:
        terminal.echo("Nothing is left on disk: every search is on its server.")
    for search in searches:
        terminal.echo(*lines(search))
    for path in damaged:
        terminal.echo(path, "  a damaged file, kept; what could be read of it has been taken over.")
    if any(not search.lives for search in searches):
        terminal.echo("", "`trackmllib sync` delivers what no process is delivering by itself.")
    return 0


def _plain(search: SearchOnDisk) -> dict[str, Any]:
    return {
        "search_id": search.search_id,
        "name": search.name,
        "server": redacted(search.tracking_uri),
        "workspace": search.workspace,
        "state": search.state,
        "host": search.host,
        "pid": search.pid,
        "waiting": search.waiting,
        "deferred": search.deferred,
        "deferred_reason": search.deferred_reason,
        "rejected": search.rejected,
        "reason": search.reason,
        "last_error": search.error,
        "started_ms": search.started_ms,
        "oldest_ms": search.oldest_ms,
    }


def lines(search: SearchOnDisk) -> list[str]:
    """A search in two to five lines."""
    wait = plural.count(search.waiting, "operation waits", "operations wait")
    workspace = "" if search.workspace in (None, "default") else f", workspace {search.workspace}"
    made = [
        f"{search.search_id}  {search.name}",
        f"  {search.state}; {wait} for {redacted(search.tracking_uri)}{workspace}"
        + (f", the oldest for {ago(search.oldest_ms)}" if search.oldest_ms else ""),
    ]
    if search.error:
        made.append(f"  last error: {search.error}")
    if search.deferred:
        deferred = plural.count(search.deferred, "operation", "operations")
        whom = "another process" if search.lives else "the next process or `trackmllib sync`"
        made.append(f"  {deferred} deferred to {whom}: {search.deferred_reason}")
    if search.rejected:
        rejected = plural.count(search.rejected, "operation was", "operations were")
        made.append(f"  {rejected} rejected by the server: {search.reason}")
    return made
