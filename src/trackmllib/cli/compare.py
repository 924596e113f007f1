"""``trackmllib compare``: several searches on one metric, in one table or one report."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackmllib.cli import reading, table, terminal, words
from trackmllib.cli.report import open_in_browser
from trackmllib.cli.table import Column
from trackmllib.errors import UnknownSearch
from trackmllib.outbox.home import Home
from trackmllib.view.compared import LEGEND, SYMBOL

if TYPE_CHECKING:
    from trackmllib.events import SearchDescription
    from trackmllib.loading import Loaded
    from trackmllib.view.results import Results

_PARAM = "params."


def add_to(verbs: Any) -> None:
    parser = verbs.add_parser(
        "compare",
        help="several searches on one metric, matched by their params",
        description="Several searches on one metric, matched by their params: a table, or with -o "
        "a report. Of several searches in one run it is the newest.",
    )
    parser.add_argument("run_names", metavar="RUN", nargs="+", help=reading.RUN_HELP)
    parser.add_argument("-o", "--output", metavar="FILE", help="write a report instead of a table")
    parser.add_argument("--open", action="store_true", help="open the report in the browser")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    reading.add_server(parser)
    parser.set_defaults(run=run, refuse=parser.error)


def run(given: argparse.Namespace, home: Home) -> int:
    """0 when it is shown, or the file is there."""
    if len(given.run_names) < 2:
        given.refuse("it takes two runs or more")
    if given.open and given.output is None:
        given.refuse("--open is for the report that -o writes")
    from trackmllib.loading import load_all
    from trackmllib.view import comparison

    server = reading.reader(given)
    loaded = [load_all(server, name, costs=())[-1] for name in given.run_names]
    check(loaded)
    found = [each.results for each in loaded]
    if given.output is not None:
        file = Path(given.output)
        file.write_text(comparison.html(found), encoding="utf-8")
        terminal.write_data(f"{file}\n")
        if given.open:
            open_in_browser(file)
        return 0
    rows = comparison.best_first(found, comparison.rows(found))
    if given.json:
        data = {"searches": [_data(each) for each in loaded], "rows": rows}
        terminal.write_data(words.as_json(data))
        return 0
    terminal.echo(comparison.sentence(found))
    for number, each in enumerate(loaded, 1):
        terminal.echo(f"search {number}: {each.main.name} · run {each.main.run_id}")
    styles = [("bold", "good") if row["best"] else () for row in rows]
    lines, left_out = table.lines(columns(rows, found), terminal.width(), styles)
    terminal.echo("", *lines)
    notes = []
    if any(row[f"indistinct_{number}"] for row in rows for number in range(1, len(found) + 1)):
        notes += [f"{LEGEND} of its search"] if SYMBOL not in left_out else []
    if left_out:
        notes.append(f"left out for want of room: {', '.join(left_out)}")
    if notes:
        terminal.echo(terminal.styled("; ".join(notes), "dim"))
    return 0


def check(loaded: Sequence[Loaded]) -> None:
    """UnknownSearch where the searches cannot be compared."""
    first, *others = loaded
    a = first.results.search.description
    for other in others:
        b = other.results.search.description
        if (a.metric, a.larger_is_better) != (b.metric, b.larger_is_better):
            raise UnknownSearch(
                "searches are compared on one metric, in one direction, but run "
                f"{first.main.run_id} has {_metric(a)}, and run {other.main.run_id} {_metric(b)}"
            )


def columns(rows: list[dict[str, Any]], found: Sequence[Results]) -> list[Column]:
    """The params, as they read, and for each search the average and its deviation."""
    keys = [key for key in rows[0] if key.startswith(_PARAM)]
    made = [
        Column(
            title=key.removeprefix(_PARAM),
            cells=[row["texts"].get(key, "") for row in rows],
            gives_way=True,
        )
        for key in keys
    ]
    numbers = range(1, len(found) + 1)
    larger = found[0].search.description.larger_is_better is not False
    every = {row[f"average_{number}"] for row in rows for number in numbers} - {None}
    finite = filter(math.isfinite, every)
    # Best first, so that the best two can be told from each other.
    digits = words.digits_for(sorted(finite, reverse=larger))
    for number in numbers:
        averages = [row[f"average_{number}"] for row in rows]
        deviations = [row[f"deviation_{number}"] for row in rows]
        made.append(
            Column(
                title=f"search {number}",
                cells=[words.number(a, digits) for a in averages],
                right=True,
            )
        )
        if any(each is not None for each in deviations):
            cells = [words.number(each, digits) for each in deviations]
            made.append(Column(title="±", cells=cells, right=True, left_out=1))
        marks = [SYMBOL if row[f"indistinct_{number}"] else "" for row in rows]
        if any(marks):
            made.append(Column(title=SYMBOL, cells=marks, left_out=2))
    return made


def _data(loaded: Loaded) -> dict[str, Any]:
    return {
        "search_id": loaded.results.search.search_id,
        "name": loaded.main.name,
        "run_id": loaded.main.run_id,
    }


def _metric(description: SearchDescription) -> str:
    if description.larger_is_better is None:
        return description.metric
    way = "larger" if description.larger_is_better else "smaller"
    return f"{description.metric} ({way} is better)"
