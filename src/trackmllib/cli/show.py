"""``trackmllib show``: the settings of a search as a table, best first."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from trackmllib import names, plural
from trackmllib.cli import candidates, reading, table, terminal, words
from trackmllib.errors import UnknownSearch
from trackmllib.outbox.home import Home
from trackmllib.recorder import files
from trackmllib.redaction import redacted
from trackmllib.view import ranks
from trackmllib.view import table as rows_of
from trackmllib.view import words as shared
from trackmllib.view.compared import LEGEND, SYMBOL, compare
from trackmllib.view.figures.basis import Basis

if TYPE_CHECKING:
    from trackmllib.loading import Loaded
    from trackmllib.view.results import Results

# Of more than these the best would be far up in a terminal.
ON_A_TERMINAL = 50


def add_to(verbs: Any) -> None:
    parser = verbs.add_parser(
        "show",
        help="the settings of a search, best first",
        description="The settings of a search, best first; of several searches in one run one "
        "table after the other.",
    )
    parser.add_argument("run_name", metavar="RUN", help=reading.RUN_HELP)
    reading.add_search(parser)
    parser.add_argument(
        "--top",
        type=reading.whole_number(0),
        metavar="N",
        help=f"only the N best, 0 for all; default: {ON_A_TERMINAL} on a terminal, else all",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON, for programs")
    form.add_argument("--csv", action="store_true", help="as CSV, a row for each setting")
    reading.add_server(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace, home: Home) -> int:
    """0 if all searches are shown; 1 if one is damaged, and only the others are shown."""
    from trackmllib.loading import COSTS

    damages: list[str] = []
    costs = COSTS if given.json else ()
    found = reading.loaded(given, costs=costs, leave_out=damages.append)
    _show(given, found)
    terminal.echo(*(f"trackmllib: {damage}" for damage in damages), err=True)
    return 1 if damages else 0


def _show(given: argparse.Namespace, found: list[Loaded]) -> None:
    if given.csv:
        if len(found) > 1:
            ids = ", ".join(each.results.search.search_id for each in found)
            raise UnknownSearch(
                f"run {found[0].main.run_id} has {len(found)} searches, and a CSV file has one "
                f"table; say which by --search: {ids}"
            )
        results = found[0].results
        text = files.results_csv(results.search, results.grid)
        terminal.write_data(text)
        return
    if given.json:
        terminal.write_data(words.as_json({"searches": [as_data(each) for each in found]}))
        return
    top = given.top
    if top is None:
        top = ON_A_TERMINAL if sys.stdout.isatty() else 0
    for number, each in enumerate(found):
        terminal.echo(*([""] if number else []), *in_words(each, top or sys.maxsize))


def as_data(loaded: Loaded) -> dict[str, Any]:
    """A search as programs read it; its candidates are the rows of its table, best first."""
    search = loaded.results.search
    runs = loaded.results.runs
    return {
        "search_id": search.search_id,
        "name": loaded.main.name,
        "state": search.status,
        "run_id": runs.main,
        "experiment_id": runs.experiment_id,
        "tracking_uri": redacted(runs.tracking_uri or ""),
        "metric": search.description.metric,
        "larger_is_better": search.description.larger_is_better,
        "started_ms": search.start_ms,
        "ended_ms": search.end_ms,
        "best": search.best_so_far(),
        "indistinct": sorted(compare(search).indistinct),
        "answer": loaded.results.answer,
        "candidates": ordered(loaded.results),
    }


def in_words(loaded: Loaded, top: int) -> list[str]:
    """Name, facts and answer of a search, and its table, each as a line."""
    results = loaded.results
    rows = ordered(results)
    marks = ranks.ranks(results.search)
    shown = rows[:top]
    basis = Basis(results.search, results.grid)
    alike = basis.comparison.indistinct
    # Of the one that the answer speaks of, also where Spark took one whose average is NaN.
    best = basis.best
    styles = [_style(row, best) for row in shown]
    lines, left_out = table.lines(
        candidates.columns(
            results,
            rows,
            [marks.get(row["candidate"], "") for row in rows],
            top,
            basis.comparison,
        ),
        terminal.width(),
        styles,
    )
    made = [terminal.styled(_name(loaded), "bold") + _where(loaded)]
    for text in (_facts(loaded), results.answer):
        made += terminal.paragraph(text)
    made += ["", *lines]
    notes = []
    if any(row["candidate"] in alike for row in shown) and SYMBOL not in left_out:
        notes.append(LEGEND)
    if len(rows) > len(shown):
        notes.append(f"{len(rows) - len(shown)} more: --top 0")
    if left_out:
        notes.append(f"left out for want of room: {', '.join(left_out)}")
    if notes:
        made += [terminal.styled("; ".join(notes), "dim")]
    return made


def ordered(results: Results) -> list[dict[str, Any]]:
    """The rows of the table, best first, and last those that have not begun."""
    rows = rows_of.rows(results.search, results.grid, results.runs)
    place = {index: number for number, index in enumerate(results.search.ranked())}
    return sorted(rows, key=lambda row: place.get(row["candidate"], len(rows)))


def _style(row: dict[str, Any], best: int | None) -> tuple[str, ...]:
    if row["candidate"] == best:
        return ("bold", "good")
    if row["status"] in ("FAILED", "KILLED"):
        return ("bad",)
    return () if row["status"] == "FINISHED" else ("dim",)


def _name(loaded: Loaded) -> str:
    search = loaded.results.search
    made = names.main_run(search.description, search.parent)
    return made if made == loaded.main.name else f"{loaded.main.name} · {made}"


def _where(loaded: Loaded) -> str:
    return f" · run {loaded.main.run_id} · {words.ago(loaded.results.search.start_ms)} ago"


def _facts(loaded: Loaded) -> str:
    search = loaded.results.search
    description = search.description
    facts = [shared.state(search.status)]
    if search.failure is not None:
        facts = [f"{facts[0]}: {search.failure.summary}"]
    settings = plural.count(len(description.candidates), "setting")
    facts.append(f"{search.candidates_finished} of {settings}")
    if description.averaged:
        facts.append(plural.count(search.folds, "fold"))
    better = {True: ", larger is better", False: ", smaller is better", None: ""}
    facts.append(description.metric + better[description.larger_is_better])
    return " · ".join(facts)
