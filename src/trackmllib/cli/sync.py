"""``trackmllib sync``: delivers what ended processes left on disk."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Collection

import click

from trackmllib.cli import parameters, status, terminal
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.outbox.inspect import LeftOnDisk, SearchOnDisk, left_on_disk
from trackmllib.outbox.orphaned import OrphanedOutbox
from trackmllib.outbox.relay import Relay
from trackmllib.runtime.recovery import recover
from trackmllib.support import formatting
from trackmllib.support.redaction import redacted


@click.command()
@click.option(
    "--tracking-uri",
    metavar="URI",
    help="Deliver only to this tracking server. The URI may contain credentials.",
)
@click.option(
    "--timeout",
    type=parameters.Seconds(min=0),
    metavar="SECONDS",
    help="Give up after this many seconds. Default: no limit.",
)
@click.option(
    "--host",
    metavar="NAME",
    help="Also deliver what this other machine left in a shared folder. Only if none of its "
    "processes is alive.",
)
def command(tracking_uri: str | None, timeout: float | None, host: str | None) -> int:
    """Deliver what ended processes left on disk.

    Searches that died with their process end as KILLED. Operations that a server rejected are
    sent once more. The exit code is 0 if nothing is left.
    """
    directory = OutboxDirectory.for_user()
    # First, because importing MLflow may fail without a home directory.
    directory.check_usable()
    # Imported late, because mlflow takes a second.
    from trackmllib.tracking.active_run import absolute
    from trackmllib.tracking.credentials import Credentials
    from trackmllib.tracking.executor import MlflowExecutor

    credentials = Credentials()
    server = None
    if tracking_uri is not None:
        server = credentials.strip(absolute(tracking_uri).rstrip("/"))
    orphaned = OrphanedOutbox(_print_message)
    recover(directory, orphaned, _print_message, also_host=host, and_rejected=True)
    others = {
        search.search_id
        for search in left_on_disk(directory).searches
        if not _is_for(search, server)
    }
    tracking = MlflowExecutor(lambda _, sentence: _print_message(sentence), orphaned, credentials)
    # Rejected and deferred operations are listed at the end.
    relay = Relay(orphaned, tracking, lambda *_: None, exclude=others)
    relay.start()
    _wait(relay, orphaned, others, timeout)
    if relay.stop():
        orphaned.release()
    left = left_on_disk(directory)
    ours = LeftOnDisk(
        searches=[search for search in left.searches if _is_for(search, server)],
        damaged=left.damaged,
    )
    if ours or not left:
        terminal.echo(*status.lines(ours))
    servers_left = sorted(
        {redacted(s.tracking_uri) for s in left.searches if not _is_for(s, server)}
    )
    if servers_left:
        terminal.echo(f"Not delivered, since it is for other servers: {', '.join(servers_left)}")
    return 1 if ours else 0


def _is_for(search: SearchOnDisk, server: str | None) -> bool:
    return server is None or search.tracking_uri.rstrip("/") in (server, "")


def _wait(
    relay: Relay, orphaned: OrphanedOutbox, others: Collection[str], timeout: float | None
) -> None:
    """Wait for delivery until the timeout; show progress on a terminal."""
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    shows_progress = sys.stderr.isatty()
    not_ours = sum(map(orphaned.waiting, others))
    reported = ""
    while time.monotonic() < deadline:
        left = relay.flush(None, min(0.25, deadline - time.monotonic())) - not_ours
        if left <= relay.blocked_count():
            break
        error = relay.last_error()
        if error is not None and str(error) != reported:
            reported = str(error)
            _print_message(f"{reported}. Retrying until the server answers; Ctrl-C loses nothing")
        if shows_progress:
            terminal.show_progress(f"{formatting.count(left, 'operation')} to go")
    if shows_progress:
        terminal.end_progress()


def _print_message(sentence: str) -> None:
    terminal.echo(f"trackmllib: {sentence}.", err=True)
