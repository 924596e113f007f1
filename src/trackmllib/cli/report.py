"""``trackmllib report``: writes the report of a search to a file."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from trackmllib.cli import parameters, terminal


@click.command(epilog=parameters.RUN_EPILOG)
@parameters.run
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    required=True,
    help="File to write the report to.",
)
@parameters.open_report
@parameters.search
@parameters.tracking_uri
def command(
    run: str, output: str, open_report: bool, search_id: str | None, tracking_uri: str | None
) -> None:
    """Write the report of a search as an HTML file.

    If the run has several searches, the report is that of the newest one.
    """
    # Imported late, because mlflow takes a second.
    from trackmllib.history.run_reader import RunReader
    from trackmllib.history.search_loader import REPORT_COSTS, load_searches

    found = load_searches(RunReader(tracking_uri), run, search_id, costs=REPORT_COSTS)
    results = found[-1].results
    if len(found) > 1:
        terminal.echo(
            f"trackmllib: the report is of the newest of {len(found)} searches in this run, "
            f"{results.search.search_id}; --search selects another one.",
            err=True,
        )
    file = results.report(output)
    terminal.write_data(f"{file}\n")
    if open_report:
        open_in_browser(file)


def open_in_browser(file: Path) -> None:
    """Open a file in the browser, or print that there is none."""
    if not webbrowser.open(file.resolve().as_uri()):
        terminal.echo(f"trackmllib: no browser found; open {file} yourself.", err=True)
