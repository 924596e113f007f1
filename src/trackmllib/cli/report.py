"""``trackmllib report``: the report of a search as a file."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path
from typing import Any

from trackmllib.cli import reading, terminal
from trackmllib.outbox.home import Home


def add_to(verbs: Any) -> None:
    parser = verbs.add_parser(
        "report",
        help="the report of a search as an HTML file",
        description="Write the report of a search; of several in one run that of the newest.",
    )
    parser.add_argument("run_name", metavar="RUN", help=reading.RUN_HELP)
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="where to write it")
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    reading.add_search(parser)
    reading.add_server(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace, home: Home) -> int:
    """0 when the file is there."""
    from trackmllib.loading import OF_THE_REPORT

    found = reading.loaded(given, costs=OF_THE_REPORT)
    results = found[-1].results
    if len(found) > 1:
        terminal.echo(
            f"trackmllib: of {len(found)} searches in this run the newest, "
            f"{results.search.search_id}; --search takes another.",
            err=True,
        )
    file = results.report(given.output)
    terminal.write_data(f"{file}\n")
    if given.open:
        open_in_browser(file)
    return 0


def open_in_browser(file: Path) -> None:
    if not webbrowser.open(file.resolve().as_uri()):
        terminal.echo("trackmllib: there is no browser here to open it.", err=True)
