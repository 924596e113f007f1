"""``trackmllib drop``: throw away what is left of a search, having said what that is."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from trackmllib import plural
from trackmllib.cli import terminal
from trackmllib.outbox.home import Home
from trackmllib.outbox.look import SearchOnDisk, look_at
from trackmllib.redaction import redacted


def add_to(verbs: Any) -> None:
    parser = verbs.add_parser("drop", help="throw away what is left on disk of a search")
    parser.add_argument("search_id", metavar="SEARCH_ID", help="as `trackmllib status` shows it")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace, home: Home) -> int:
    """0 when it is gone; 1 when it is not there, still runs, or the answer was no."""
    found = [search for search in look_at(home) if search.search_id == given.search_id]
    if not found:
        terminal.echo(
            f"There is no search {given.search_id} on disk. `trackmllib status` lists them."
        )
        return 1
    if any(search.lives for search in found):
        terminal.echo(f"Search {given.search_id}: {found[0].state}. End that process first.")
        return 1
    terminal.echo(_what_is_lost(found[0]))
    if not given.yes and not _agreed():
        terminal.echo("Nothing was dropped.")
        return 1
    for search in found:
        held = home.take(search.entry)
        if held is None:
            terminal.echo(
                f"Search {given.search_id} has been taken over by another process meanwhile."
            )
            return 1
        held.outbox.drop(given.search_id)
        held.release()
    terminal.echo(f"Search {given.search_id} is dropped.")
    return 0


def _what_is_lost(search: SearchOnDisk) -> str:
    lost = plural.count(search.waiting + search.deferred + search.rejected, "operation")
    return (
        f"{search.name}, search {search.search_id}: {lost} that "
        f"{redacted(search.tracking_uri)} does not have will be lost: params, scores, files, and "
        "the end of runs, which may say RUNNING for ever. What the server has stays there."
    )


def _agreed() -> bool:
    if not sys.stdin.isatty():
        terminal.echo("To drop it without being asked: --yes")
        return False
    return input("Drop it? [y/N] ").strip().lower() in ("y", "yes")
