"""``trackmllib sync``: deliver now what processes have left behind."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Collection
from typing import Any

from trackmllib import plural
from trackmllib.cli import status, terminal
from trackmllib.delivery.worker import Delivery
from trackmllib.operations import Operation
from trackmllib.outbox.estate import Estate
from trackmllib.outbox.home import Home
from trackmllib.outbox.look import SearchOnDisk, look_at
from trackmllib.redaction import redacted
from trackmllib.takeover import take_over


def add_to(verbs: Any) -> None:
    parser = verbs.add_parser(
        "sync",
        help="deliver what lies on disk; exit code 0 when nothing is left",
        description="Deliver what lies on disk of processes that have ended. Searches that died "
        "with their process end as KILLED. Rejected operations are sent once more.",
    )
    parser.add_argument(
        "--server",
        metavar="URI",
        help="only what is for this tracking server; may hold the credentials for it",
    )
    parser.add_argument(
        "--timeout", type=_seconds, metavar="S", help="stop after so many seconds; default: never"
    )
    parser.add_argument(
        "--host",
        help="also what this other machine has left in a shared folder; only if no process of it "
        "lives any more",
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace, home: Home) -> int:
    """0 when nothing is left on disk, 1 when something is."""
    # MLflow may not import without a home folder.
    home.check_usable()
    # Not before: the other verbs need no mlflow, which takes a second to load.
    from trackmllib.tracking.active import absolute
    from trackmllib.tracking.apply import MlflowTracking
    from trackmllib.tracking.credentials import Credentials

    credentials = Credentials()
    server = None if given.server is None else credentials.strip(absolute(given.server).rstrip("/"))
    estate = Estate(_say)
    take_over(home, estate, _say, also_host=given.host, and_rejected=True)
    others = {s.search_id for s in look_at(home) if not _is_for(s, server)}
    tracking = MlflowTracking(lambda _, sentence: _say(sentence), estate, credentials)
    delivery = Delivery(estate, tracking, _missing, leave_alone=others)
    delivery.start()
    _wait(delivery, estate, others, given.timeout)
    if delivery.stop():
        estate.release()
    left = look_at(home)
    ours = [search for search in left if _is_for(search, server)]
    for search in ours:
        terminal.echo(*status.lines(search))
    others_left = sorted({redacted(s.tracking_uri) for s in left if not _is_for(s, server)})
    if others_left:
        terminal.echo(f"Left alone, because it is for another server: {', '.join(others_left)}")
    elif not left:
        terminal.echo("Nothing is left on disk: every search is on its server.")
    return 1 if ours else 0


def _is_for(search: SearchOnDisk, server: str | None) -> bool:
    return server is None or search.tracking_uri.rstrip("/") in (server, "")


def _wait(
    delivery: Delivery, estate: Estate, others: Collection[str], timeout: float | None
) -> None:
    """Wait until nothing waits, or time is up; show progress on a terminal."""
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    shows = sys.stderr.isatty()
    not_for_us = sum(map(estate.waiting, others))
    said = ""
    while time.monotonic() < deadline:
        left = delivery.flush(None, min(0.25, deadline - time.monotonic())) - not_for_us
        if left <= delivery.stuck():
            break
        trouble = delivery.trouble()
        if trouble is not None and str(trouble) != said:
            said = str(trouble)
            _say(f"{said}. It is tried again until it answers; Ctrl-C loses nothing")
        if shows:
            terminal.show_progress(f"{plural.count(left, 'operation')} to go")
    if shows:
        terminal.end_progress()


def _missing(operation: Operation, error: Exception) -> None:
    """Do nothing: at its end, ``sync`` prints what was rejected or deferred, and why."""


def _say(sentence: str) -> None:
    terminal.echo(f"trackmllib: {sentence}.", err=True)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds from 0 on")
    return seconds
