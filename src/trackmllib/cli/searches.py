"""``trackmllib searches``: the searches on a server, newest first."""

from __future__ import annotations

import argparse
import itertools
from typing import TYPE_CHECKING, Any

from trackmllib.cli import reading, table, terminal, words
from trackmllib.cli.table import Column
from trackmllib.outbox.home import Home
from trackmllib.view import words as shared

if TYPE_CHECKING:
    from trackmllib.listing import Summary

LIMIT = 50


def add_to(verbs: Any) -> None:
    parser = verbs.add_parser("searches", help="the searches on the tracking server, newest first")
    parser.add_argument("--experiment", metavar="E", help="only those of this one: name or id")
    parser.add_argument(
        "--limit",
        type=reading.whole_number(1),
        default=LIMIT,
        metavar="N",
        help=f"at most so many; default: {LIMIT}",
    )
    parser.add_argument(
        "--resumable",
        action="store_true",
        help="only those that autolog(resume=True) can go on with: they did not finish, or run",
    )
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    reading.add_server(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace, home: Home) -> int:
    """0, also where there are none."""
    from trackmllib.listing import summaries
    from trackmllib.tracking.reading import experiment_ids

    server = reading.reader(given)
    experiments = None if given.experiment is None else experiment_ids(server, given.experiment)
    found = summaries(server, experiments)
    if given.resumable:
        found = (one for one in found if one.resumable and one.state != "FINISHED")
    listed = list(itertools.islice(found, given.limit))
    if given.json:
        terminal.write_data(words.as_json({"searches": [vars(summary) for summary in listed]}))
        return 0
    if not listed:
        what = "searches that can be resumed" if given.resumable else "searches"
        where = "" if given.experiment is None else f" in experiment {given.experiment}"
        terminal.echo(f"There are no {what} on {server.server}{where}.")
        return 0
    columns = _columns(listed, resumable=given.resumable)
    shown, _ = table.lines(columns, terminal.width())
    terminal.echo(*shown)
    if next(found, None) is not None:
        terminal.echo("", f"Older ones are left out: --limit {2 * given.limit}", err=True)
    return 0


def _columns(found: list[Summary], *, resumable: bool) -> list[Column]:
    has_several = len({summary.run_id for summary in found}) < len(found)
    columns = [
        Column(title="run", cells=[summary.run_id[: words.SHORT] for summary in found]),
        Column(title="name", cells=[summary.name for summary in found], gives_way=True),
        Column(title="state", cells=[shared.state(summary.state) for summary in found]),
        Column(title="done", cells=[_done(summary) for summary in found], right=True),
        Column(title="best", cells=[words.number(summary.best) for summary in found], right=True),
        Column(
            title="metric",
            cells=[summary.metric or "" for summary in found],
            left_out=1,
            gives_way=True,
        ),
        Column(title="age", cells=[words.ago(summary.start_ms) for summary in found], right=True),
        Column(
            title="experiment",
            cells=[summary.experiment for summary in found],
            left_out=2,
            gives_way=True,
        ),
    ]
    if resumable:
        cells = [f"{one.cells_done}/{'?' if one.cells is None else one.cells}" for one in found]
        columns.insert(4, Column(title="cells", cells=cells, right=True))
    if has_several:
        ids = [summary.search_id[:8] for summary in found]
        columns.insert(1, Column(title="search", cells=ids, left_out=1))
    return columns


def _done(summary: Summary) -> str:
    return f"{summary.done}/{'?' if summary.candidates is None else summary.candidates}"
