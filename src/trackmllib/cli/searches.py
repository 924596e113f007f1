"""``trackmllib searches``: lists searches on a tracking server."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import click

from trackmllib.cli import json_output, parameters, table, terminal, values
from trackmllib.cli.table import TextColumn
from trackmllib.reporting.table import status_text
from trackmllib.support import formatting

if TYPE_CHECKING:
    from trackmllib.history.search_list import SearchSummary


@click.command()
@click.option("--experiment", metavar="NAME_OR_ID", help="Only searches of this experiment.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    default=50,
    show_default=True,
    help="Maximum number of searches.",
)
@click.option(
    "--resumable",
    is_flag=True,
    help="Only unfinished searches that autolog(resume=True) can continue.",
)
@parameters.as_json
@parameters.tracking_uri
def command(
    experiment: str | None, limit: int, resumable: bool, as_json: bool, tracking_uri: str | None
) -> None:
    """List searches on the tracking server, newest first."""
    # Imported late, because mlflow takes a second.
    from trackmllib.history.run_reader import RunReader, experiment_ids
    from trackmllib.history.search_list import list_searches

    server = RunReader(tracking_uri)
    experiments = None if experiment is None else experiment_ids(server, experiment)
    found = list_searches(server, experiments)
    if resumable:
        found = (each for each in found if each.resumable and each.state != "FINISHED")
    listed = list(itertools.islice(found, limit))
    if as_json:
        terminal.write_data(json_output.dumps({"searches": [vars(each) for each in listed]}))
        return
    if not listed:
        what = "searches that can be resumed" if resumable else "searches"
        where = "" if experiment is None else f" in experiment {experiment}"
        terminal.echo(f"There are no {what} on {server.server}{where}.")
        return
    lines, _ = table.lines(columns(listed, resumable=resumable), terminal.width())
    terminal.echo(*lines)
    if next(found, None) is not None:
        terminal.echo("", f"Older searches are not listed: --limit {2 * limit}", err=True)


def columns(found: list[SearchSummary], *, resumable: bool) -> list[TextColumn]:
    """Columns of the list; ``resumable`` adds the number of fits."""
    run_ids = [each.run_id for each in found]
    made = [TextColumn(title="run", values=[values.short_id(each) for each in run_ids])]
    if len(set(run_ids)) < len(run_ids):
        search_ids = [each.search_id[:8] for each in found]
        made.append(TextColumn(title="search", values=search_ids, omit_order=1))
    made += [
        TextColumn(title="name", values=[each.name for each in found], shrinks=True),
        TextColumn(title="state", values=[status_text(each.state) for each in found]),
        TextColumn(
            title="done",
            values=[_fraction(each.done, each.candidates) for each in found],
            align_right=True,
        ),
    ]
    if resumable:
        fits = [_fraction(each.fits_done, each.fits) for each in found]
        made.append(TextColumn(title="fits", values=fits, align_right=True))
    best = [formatting.column_number(each.best) for each in found]
    metrics = [each.metric or "" for each in found]
    ages = [values.age(each.start_ms) for each in found]
    experiments = [each.experiment for each in found]
    return [
        *made,
        TextColumn(title="best", values=best, align_right=True),
        TextColumn(title="metric", values=metrics, omit_order=1, shrinks=True),
        TextColumn(title="age", values=ages, align_right=True),
        TextColumn(title="experiment", values=experiments, omit_order=2, shrinks=True),
    ]


def _fraction(done: int, total: int | None) -> str:
    return f"{done}/{'?' if total is None else total}"
