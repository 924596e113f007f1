"""``trackmllib compare``: compares several searches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trackmllib.cli import json_output, parameters, table, terminal
from trackmllib.cli.report import open_in_browser
from trackmllib.cli.table import TextColumn
from trackmllib.domain.significance import SYMBOL
from trackmllib.domain.standard_error import PLUS_MINUS, standard_error
from trackmllib.exceptions import UnknownSearch
from trackmllib.support import formatting

if TYPE_CHECKING:
    from trackmllib.domain.descriptions import SearchDescription
    from trackmllib.history.search_loader import LoadedSearch
    from trackmllib.reporting.results import Results

_PARAM = "params."


@click.command(epilog=parameters.RUN_EPILOG)
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write an HTML report to this file instead of printing a table.",
)
@parameters.open_report
@parameters.as_json
@parameters.tracking_uri
def command(
    runs: tuple[str, ...],
    output: Path | None,
    open_report: bool,
    as_json: bool,
    tracking_uri: str | None,
) -> None:
    """Compare searches on one metric, candidate by candidate.

    Candidates with the same params are matched. Of a run with several searches, the newest is
    compared.
    """
    if len(runs) < 2:
        raise click.UsageError("compare needs at least two runs.")
    if open_report and output is None:
        raise click.UsageError("--open needs a report: add -o FILE.")
    # Imported late, because mlflow takes a second.
    from trackmllib.history.run_reader import RunReader
    from trackmllib.history.search_loader import load_searches
    from trackmllib.reporting import search_diff

    server = RunReader(tracking_uri)
    loaded = [load_searches(server, name, costs=())[-1] for name in runs]
    check_comparable(loaded)
    found = [each.results for each in loaded]
    if output is not None:
        output.write_text(search_diff.html(found), encoding="utf-8")
        terminal.write_data(f"{output}\n")
        if open_report:
            open_in_browser(output)
        return
    rows = search_diff.best_first(found, search_diff.rows(found))
    if as_json:
        data = {"searches": [_as_data(each) for each in loaded], "rows": rows}
        terminal.write_data(json_output.dumps(data))
        return
    terminal.echo(search_diff.sentence(found))
    for number, each in enumerate(loaded, 1):
        terminal.echo(f"search {number}: {each.parent_run.name} · run {each.parent_run.run_id}")
    _print_table(rows, found)


def check_comparable(loaded: Sequence[LoadedSearch]) -> None:
    """Raise UnknownSearch if metrics or their directions differ."""
    first, *others = loaded
    a = first.results.search.description
    for other in others:
        b = other.results.search.description
        if (a.metric, a.larger_is_better) != (b.metric, b.larger_is_better):
            raise UnknownSearch(
                f"run {first.parent_run.run_id} has {_metric(a)}, and run "
                f"{other.parent_run.run_id} has {_metric(b)}; only searches on one metric and "
                "direction can be compared"
            )


def columns(rows: list[dict[str, Any]], found: Sequence[Results]) -> list[TextColumn]:
    """Columns of params, and of average, standard error and mark per search."""
    params = [key for key in rows[0] if key.startswith(_PARAM)]
    made = [
        TextColumn(
            title=key.removeprefix(_PARAM),
            values=[row["texts"].get(key, "") for row in rows],
            shrinks=True,
        )
        for key in params
    ]
    decimals = _decimals(rows, found)
    for number, results in enumerate(found, 1):
        averages = [formatting.column_number(row[f"average_{number}"], decimals) for row in rows]
        made.append(TextColumn(title=f"search {number}", values=averages, align_right=True))
        errors = [
            formatting.column_number(
                standard_error(results.search, row[f"deviation_{number}"]), decimals
            )
            for row in rows
        ]
        if any(errors):
            made.append(TextColumn(title="±", values=errors, align_right=True, omit_order=1))
        marks = [SYMBOL if row[f"indistinct_{number}"] else "" for row in rows]
        if any(marks):
            made.append(TextColumn(title=SYMBOL, values=marks, omit_order=2))
    return made


def _decimals(rows: list[dict[str, Any]], found: Sequence[Results]) -> int:
    """Decimals that distinguish the best two averages of all searches."""
    larger = found[0].search.description.larger_is_better is not False
    averages = {row[f"average_{number}"] for row in rows for number in range(1, len(found) + 1)}
    finite = filter(math.isfinite, averages - {None})
    return formatting.column_digits(sorted(finite, reverse=larger))


def _print_table(rows: list[dict[str, Any]], found: Sequence[Results]) -> None:
    from trackmllib.reporting import search_diff

    styles = [{"bold": True, "fg": "green"} if row["best"] else {} for row in rows]
    made = columns(rows, found)
    lines, omitted = table.lines(made, terminal.width(), styles)
    terminal.echo("", *lines)
    titles = {column.title for column in made} - set(omitted)
    notes = [PLUS_MINUS] if "±" in titles else []
    notes += search_diff.notes(found, is_marked=SYMBOL in titles)
    if omitted:
        notes.append(table.omitted_note(omitted))
    for note in notes:
        terminal.echo(*(terminal.styled(line, dim=True) for line in terminal.paragraph(note)))


def _as_data(loaded: LoadedSearch) -> dict[str, Any]:
    return {
        "search_id": loaded.results.search.search_id,
        "name": loaded.parent_run.name,
        "run_id": loaded.parent_run.run_id,
    }


def _metric(description: SearchDescription) -> str:
    if description.larger_is_better is None:
        return description.metric
    direction = "larger" if description.larger_is_better else "smaller"
    return f"{description.metric} ({direction} is better)"
