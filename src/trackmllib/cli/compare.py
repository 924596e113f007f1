"""``trackmllib compare``: several searches on one metric, in one table or one report."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackmllib.cli import reading, table, terminal, words
from trackmllib.cli.report import open_in_browser
from trackmllib.cli.table import Column
from trackmllib.errors import UnknownSearch
from trackmllib.outbox.home import Home

if TYPE_CHECKING:
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

    server = reading.reader(given)
    found = [load_all(server, name)[-1].results for name in given.run_names]
    check(found, given.run_names)
    comparison: Any = importlib.import_module("trackmllib.view.comparison")
    if given.output is not None:
        file = Path(given.output)
        file.write_text(comparison.html(found), encoding="utf-8")
        print(file)
        if given.open:
            open_in_browser(file)
        return 0
    rows = comparison.rows(found)
    if given.json:
        print(words.as_json({"rows": rows}))
        return 0
    lines, left_out = table.lines(columns(rows), terminal.width())
    print("\n".join(lines))
    if left_out:
        note = f"left out for want of room: {', '.join(left_out)}"
        print(terminal.styled(note, "dim"))
    return 0


def check(found: list[Results], said: list[str]) -> None:
    """UnknownSearch where the searches cannot be compared."""
    first = found[0].search.description
    for results, name in zip(found, said, strict=True):
        other = results.search.description
        if (first.metric, first.larger_is_better) != (other.metric, other.larger_is_better):
            raise UnknownSearch(
                f"searches are compared on one metric, but {terminal.clean(said[0])} has "
                f"{first.metric}, and {terminal.clean(name)} has {other.metric}"
            )


def columns(rows: list[dict[str, Any]]) -> list[Column]:
    """A column for each key of the rows; params and the first three others always stay."""
    keys = list(rows[0]) if rows else []
    others = [key for key in keys if not key.startswith(_PARAM)]
    return [
        Column(
            title=key.removeprefix(_PARAM),
            cells=[_cell(row[key]) for row in rows],
            left_out=0 if key.startswith(_PARAM) else max(0, others.index(key) - 2),
            gives_way=not all(isinstance(row[key], (int, float, type(None))) for row in rows),
            right=all(isinstance(row[key], (int, float, type(None))) for row in rows),
        )
        for key in keys
    ]


def _cell(value: Any) -> str:
    return words.number(value) if isinstance(value, float) else "" if value is None else str(value)
