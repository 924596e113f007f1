"""``trackmllib show``: shows the candidates of a search."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from trackmllib.cli import candidates, json_output, parameters, table, terminal, values
from trackmllib.domain import further_metrics, naming, ranking
from trackmllib.domain.significance import SYMBOL, Comparison, compare
from trackmllib.domain.standard_error import PLUS_MINUS
from trackmllib.exceptions import UnknownSearch
from trackmllib.recorder import artifacts
from trackmllib.reporting import summary
from trackmllib.reporting import table as results_table
from trackmllib.support import formatting
from trackmllib.support.redaction import redacted

if TYPE_CHECKING:
    from trackmllib.domain.search_state import SearchState
    from trackmllib.history.search_loader import LoadedSearch
    from trackmllib.reporting.results import Results

# More rows would push the best candidates off the screen.
ROWS_ON_TERMINAL = 50


@click.command(epilog=parameters.RUN_EPILOG)
@parameters.run
@parameters.search
@click.option(
    "--top",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Only the N best candidates; 0 shows all. Default: {ROWS_ON_TERMINAL} on a terminal, "
    "otherwise all.",
)
@click.option(
    "--metric",
    metavar="NAME",
    help="Rank by this metric of the search instead of the tuner's own, and show its values.",
)
@parameters.as_json
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a row for each candidate.")
@parameters.tracking_uri
def command(
    run: str,
    search_id: str | None,
    top: int | None,
    metric: str | None,
    as_json: bool,
    as_csv: bool,
    tracking_uri: str | None,
) -> int:
    """Show the candidates of a search, best first.

    A run with several searches has a table for each of them. The exit code is 1 if a search is
    damaged and only the others are shown.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv cannot be combined.")
    if as_csv and metric is not None:
        raise click.UsageError("--csv has all metrics, in the order of the grid; omit --metric.")
    # Imported late, because mlflow takes a second.
    from trackmllib.history.run_reader import RunReader
    from trackmllib.history.search_loader import ALL_COSTS, load_searches

    damages: list[str] = []
    costs = ALL_COSTS if as_json else ()
    found = load_searches(
        RunReader(tracking_uri), run, search_id, costs=costs, leave_out=damages.append
    )
    for each in found:
        # No output if one of them has no such metric.
        _further_metric(each.results.search, metric)
    if as_csv:
        terminal.write_data(_csv(found))
    elif as_json:
        terminal.write_data(
            json_output.dumps({"searches": [as_data(each, metric) for each in found]})
        )
    else:
        _print_tables(found, top, metric)
    terminal.echo(*(f"trackmllib: {damage}" for damage in damages), err=True)
    return 1 if damages else 0


def as_data(loaded: LoadedSearch, metric: str | None = None) -> dict[str, Any]:
    """Search for JSON, with its candidates as rows, best first by this metric."""
    search = loaded.results.search
    by = _further_metric(search, metric)
    comparison = compare(search)
    runs = loaded.results.runs
    return {
        "search_id": search.search_id,
        "name": loaded.parent_run.name,
        "state": search.status,
        "run_id": runs.parent,
        "experiment_id": runs.experiment_id,
        "tracking_uri": redacted(runs.tracking_uri or ""),
        "metric": search.description.metric,
        "larger_is_better": search.description.larger_is_better,
        "further_metrics": [asdict(each) for each in search.description.further_metrics],
        "ranked_by": by or search.description.metric,
        "start_ms": search.start_ms,
        "end_ms": search.end_ms,
        "best": ranking.best(search),
        "indistinct": sorted(comparison.indistinct) if comparison.compared else None,
        "answer": loaded.results.answer,
        "candidates": ordered(loaded.results, by),
    }


def as_lines(loaded: LoadedSearch, top: int, metric: str | None = None) -> list[str]:
    """Lines of a search: name, facts, answer and table, ranked by this metric."""
    results = loaded.results
    search = results.search
    by = _further_metric(search, metric)
    rows = ordered(results, by)
    comparison = compare(search)
    # The candidate of the answer, which may be one with a NaN average.
    best = summary.answer(search, results.grid, comparison).best
    if by is not None:
        # The test compares candidates on the tuner's own metric.
        comparison = Comparison(best=best)
    columns = candidates.columns(results, rows, top, comparison, by)
    styles = [_style(row, best) for row in rows[:top]]
    lines, omitted = table.lines(columns, terminal.width(), styles)

    titles = {column.title for column in columns} - set(omitted)
    legend = [PLUS_MINUS] if "±" in titles else []
    legend += comparison.notes(row["candidate"] for row in rows[:top] if SYMBOL in titles)
    notes = []
    if len(rows) > top:
        notes.append(f"{len(rows) - top} more: --top 0")
    if omitted:
        notes.append(table.omitted_note(omitted))
    if notes:
        legend.append("; ".join(notes))
    footer = [
        terminal.styled(line, dim=True) for text in legend for line in terminal.paragraph(text)
    ]
    return [
        terminal.joined(
            terminal.styled(_name(loaded), bold=True),
            f" · run {loaded.parent_run.run_id} · {values.age(search.start_ms)} ago",
        ),
        *terminal.paragraph(_facts(loaded, by)),
        *terminal.paragraph(results.answer),
        "",
        *lines,
        *footer,
    ]


def ordered(results: Results, metric: str | None = None) -> list[dict[str, Any]]:
    """Rows of the table, best first, and last those that have not started.

    ``metric`` is a further metric, or None for the tuner's own.
    """
    search = results.search
    rows = results_table.rows(search, results.grid, results.runs)
    if metric is not None:
        ranks = ranking.ranks(search, metric)
        rows = [{**row, "rank": ranks.get(row["candidate"])} for row in rows]
    place = {index: number for number, index in enumerate(ranking.ranked(search, metric))}
    return sorted(rows, key=lambda row: place.get(row["candidate"], len(rows)))


def _further_metric(search: SearchState, metric: str | None) -> str | None:
    """Metric of the search by its name; None for the tuner's own.

    :raises UnknownSearch: The search has no such metric.
    """
    known = further_metrics.names(search.description)
    if metric is not None and metric not in known:
        raise UnknownSearch(
            f"search {search.search_id} has no metric {metric!r}; it has {', '.join(known)}"
        )
    return None if metric == search.description.metric else metric


def _csv(found: list[LoadedSearch]) -> str:
    if len(found) > 1:
        ids = ", ".join(each.results.search.search_id for each in found)
        raise UnknownSearch(
            f"run {found[0].parent_run.run_id} has {len(found)} searches, and CSV shows one; "
            f"select it with --search: {ids}"
        )
    results = found[0].results
    return artifacts.results_csv(results.search)


def _print_tables(found: list[LoadedSearch], top: int | None, metric: str | None) -> None:
    if top is None:
        top = ROWS_ON_TERMINAL if sys.stdout.isatty() else 0
    for number, each in enumerate(found):
        if number:
            terminal.echo("")
        terminal.echo(*as_lines(each, top or sys.maxsize, metric))


def _style(row: dict[str, Any], best: int | None) -> dict[str, Any]:
    if row["candidate"] == best:
        return {"bold": True, "fg": "green"}
    if row["status"] in ("FAILED", "KILLED"):
        return {"fg": "red"}
    return {} if row["status"] == "FINISHED" else {"dim": True}


def _name(loaded: LoadedSearch) -> str:
    """Name of the run, and of the search if it differs."""
    search = loaded.results.search
    name = naming.parent_run(search.description, search.parent)
    return name if name == loaded.parent_run.name else f"{loaded.parent_run.name} · {name}"


def _facts(loaded: LoadedSearch, metric: str | None) -> str:
    search = loaded.results.search
    description = search.description
    facts = [results_table.status_text(search.status)]
    if search.failure is not None:
        facts = [f"{facts[0]}: {search.failure.summary}"]
    total = formatting.count(len(description.candidates), "candidate")
    facts.append(f"{search.candidates_finished} of {total}")
    if description.averaged:
        facts.append(formatting.count(search.folds, "fold"))
    better = {True: ", larger is better", False: ", smaller is better", None: ""}
    ranked_by = description.metric if metric is None else f"ranked by {metric}"
    facts.append(ranked_by + better[further_metrics.larger_is_better(description, metric)])
    return " · ".join(facts)
