"""``trackmllib show``: the candidates of a search as a table, best first."""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING, Any

from trackmllib import names
from trackmllib.cli import reading, table, terminal, words
from trackmllib.cli.table import Column
from trackmllib.errors import UnknownSearch
from trackmllib.outbox.home import Home
from trackmllib.recorder import files
from trackmllib.redaction import redacted
from trackmllib.view import table as rows_of

if TYPE_CHECKING:
    from trackmllib.loading import Loaded
    from trackmllib.search_result import SearchResult
    from trackmllib.view.results import Results

# Of more than these the best would be far up in a terminal.
ON_A_TERMINAL = 50
BAR = 12


def add_to(verbs: Any) -> None:
    parser = verbs.add_parser(
        "show",
        help="the candidates of a search, best first",
        description="The candidates of a search, best first; of several searches in one run one "
        "table after the other.",
    )
    parser.add_argument("run_name", metavar="RUN", help=reading.RUN_HELP)
    reading.add_search(parser)
    parser.add_argument(
        "--top",
        type=_from_0,
        metavar="N",
        help=f"only the N best, 0 for all; default: {ON_A_TERMINAL} on a terminal, else all",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON, for programs")
    form.add_argument("--csv", action="store_true", help="as CSV, a row for each candidate")
    reading.add_server(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace, home: Home) -> int:
    """0 when it is shown."""
    found = reading.loaded(given, costs=given.json)
    if given.csv:
        if len(found) > 1:
            ids = ", ".join(each.results.search.search_id for each in found)
            raise UnknownSearch(
                f"run {found[0].main.run_id} has {len(found)} searches, and a CSV file has one "
                f"table; say which by --search: {ids}"
            )
        results = found[0].results
        sys.stdout.write(files.results_csv(results.search, results.grid))
        return 0
    if given.json:
        print(words.as_json({"searches": [as_data(each) for each in found]}))
        return 0
    top = given.top
    if top is None:
        top = ON_A_TERMINAL if sys.stdout.isatty() else 0
    print("\n\n".join("\n".join(in_words(each, top or sys.maxsize)) for each in found))
    return 0


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
        "answer": loaded.results.answer,
        "candidates": ordered(loaded.results),
    }


def in_words(loaded: Loaded, top: int) -> list[str]:
    """Name, facts and answer of a search, and its table, each as a line."""
    results = loaded.results
    rows = ordered(results)
    marks = ranks(results.search)
    shown = rows[:top]
    best = results.search.best_so_far()
    styles = [_style(row, best) for row in shown]
    lines, left_out = table.lines(
        columns(results, rows, [marks.get(row["candidate"], "") for row in rows], top),
        terminal.width(),
        styles,
    )
    made = [terminal.styled(terminal.clean(_name(loaded)), "bold") + _where(loaded)]
    for text in (_facts(loaded), results.answer):
        made += terminal.paragraph(text)
    made += ["", *lines]
    notes = []
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


def ranks(search: SearchResult) -> dict[int, str]:
    """The rank of each candidate that has one, by index; ``2=`` where others have the same average.

    One whose average is NaN has none, unless Spark took it for the best.
    """
    if search.description.larger_is_better is None:
        return {}
    best = search.best_so_far()
    averages = {index: search.candidates[index].average for index in search.ranked()}
    having = [
        index
        for index, average in averages.items()
        if index == best or (average is not None and not math.isnan(average))
    ]
    first: dict[str, int] = {}
    for number, index in enumerate(having, 1):
        first.setdefault(repr(averages[index]), number)
    count = [repr(averages[index]) for index in having]
    return {
        index: f"{first[said]}{'=' if count.count(said) > 1 else ''}"
        for index, said in zip(having, count, strict=True)
    }


def columns(
    results: Results, rows: list[dict[str, Any]], marks: list[str], top: int
) -> list[Column]:
    """The columns of the table, cut to its first rows; bars and digits are those of all of it."""
    search = results.search
    averages = [row["average"] for row in rows]
    digits = words.digits_for(averages)
    candidates = {candidate.index: candidate for candidate in search.description.candidates}
    shown = rows[:top]

    def texts(key: str, digits: int = 4) -> list[str]:
        return [words.number(row[key], digits) for row in shown]

    numbers = [str(row["candidate"]) for row in shown]
    made = [Column(title="candidate", cells=numbers, right=True, left_out=8)]
    if any(marks):
        made.insert(0, Column(title="rank", cells=marks[:top], right=True, left_out=4))
    for where, setting in results.grid.settings.items():
        values = [
            next(
                (
                    s.value.text
                    for s in candidates[row["candidate"]].settings
                    if (s.owner, s.name) == where
                ),
                "",
            )
            for row in shown
        ]
        made.append(Column(title=results.grid.label(setting), cells=values, gives_way=True))
    made.append(Column(title=search.description.metric, cells=texts("average", digits), right=True))
    if any(row["deviation"] is not None for row in shown):
        made.append(Column(title="±", cells=texts("deviation", digits), right=True, left_out=3))
    if any(marks):
        made.append(Column(title="", cells=bars(averages, search)[:top], left_out=2))
    for fold in range(search.folds if search.description.averaged else 0):
        made.append(
            Column(title=f"fold {fold}", cells=texts(f"fold_{fold}"), right=True, left_out=6)
        )
    seconds = ["" if row["seconds"] is None else f"{row['seconds']:.1f}" for row in shown]
    made.append(Column(title="seconds", cells=seconds, right=True, left_out=5))
    states = [words.state(row["status"]) for row in shown]
    settled = all(row["status"] == "FINISHED" for row in rows)
    made.append(Column(title="state", cells=states, left_out=9 if settled else 1))
    ids = [(row["run_id"] or "")[: words.SHORT] for row in shown]
    made.append(Column(title="run", cells=ids, left_out=7))
    return made


def bars(averages: list[float | None], search: SearchResult) -> list[str]:
    """From nothing for the worst to a full bar for the best; NaN, and what has none, has no bar."""
    larger = search.description.larger_is_better is not False
    finite = [each for each in averages if each is not None and math.isfinite(each)]
    worst, best = min(finite, default=0.0), max(finite, default=0.0)
    if not larger:
        worst, best = best, worst

    def share(average: float) -> float:
        if math.isinf(average):
            return float((average > 0) == larger)
        # Halves, lest a difference overflow.
        return 1.0 if worst == best else (average / 2 - worst / 2) / (best / 2 - worst / 2)

    return [
        "" if average is None or math.isnan(average) else terminal.bar(share(average), BAR)
        for average in averages
    ]


def _from_0(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is no number from 0 on")
    return number


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
    facts = [words.state(search.status)]
    if search.failure is not None:
        facts = [f"{facts[0]}: {search.failure.summary}"]
    facts.append(f"{search.candidates_finished} of {len(description.candidates)} candidates")
    if description.averaged:
        facts.append(f"{search.folds} folds")
    better = {True: ", larger is better", False: ", smaller is better", None: ""}
    facts.append(description.metric + better[description.larger_is_better])
    return " · ".join(facts)
