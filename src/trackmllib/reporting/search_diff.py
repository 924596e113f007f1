"""Comparison of several searches on one metric, matched by params."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from trackmllib.domain import naming
from trackmllib.domain.ranking import sort_key
from trackmllib.domain.significance import SYMBOL, compare
from trackmllib.domain.standard_error import PLUS_MINUS, is_known, score_text, standard_error
from trackmllib.reporting import optional_packages, report
from trackmllib.reporting.report_table import MAX_VALUE, Column, Field, ReportRow
from trackmllib.reporting.results import Results
from trackmllib.support import formatting

_PARAM = "params."


def rows(searches: Sequence[Results]) -> list[dict[str, Any]]:
    """A row for each candidate of the searches, in the order of their grids.

    * ``params.<key>``: the value, or None; ``texts`` has the texts of set values by these keys
    * ``average_<n>`` and ``deviation_<n>`` in the n-th search, from 1, or None
    * ``indistinct_<n>``: whether it is not significantly different from the best of that search, or
      None if it was not tested
    * ``best``: whether it has the best average of all

    :raises ValueError: There is no search, or metrics or directions differ.
    """
    _check(searches)
    keys = list(
        dict.fromkeys(
            results.grid.key(param)
            for results in searches
            for param in results.grid.params.values()
        )
    )
    made: dict[str, dict[str, Any]] = {}
    for number, results in enumerate(searches, 1):
        comparison = compare(results.search)
        for candidate in results.search.description.candidates:
            values = {results.grid.key(each): each.value.data for each in candidate.params}
            texts = {results.grid.key(each): each.value.text for each in candidate.params}
            identity = json.dumps(_comparable(values), sort_keys=True, default=str)
            row = made.setdefault(identity, _empty_row(keys, values, texts, len(searches)))
            found = results.search.candidates.get(candidate.index)
            # The first one of equal candidates in a grid counts.
            if found is not None and row[f"average_{number}"] is None:
                row[f"average_{number}"] = found.average
                row[f"deviation_{number}"] = found.deviation
                if comparison.compared:
                    row[f"indistinct_{number}"] = candidate.index in comparison.indistinct
    if searches[0].search.description.larger_is_better is not None:
        first = next(iter(best_first(searches, list(made.values()))), None)
        if first is not None and _averages(first, len(searches)):
            first["best"] = True
    return list(made.values())


def best_first(searches: Sequence[Results], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows by their best average in any search, and last those without one."""
    larger = searches[0].search.description.larger_is_better
    numbers = len(searches)

    def key(row: dict[str, Any]) -> tuple[int, float]:
        keys = (sort_key(average, larger) for average, _ in _averages(row, numbers))
        return min(keys, default=sort_key(None, larger))

    return sorted(rows, key=key)


def sentence(searches: Sequence[Results]) -> str:
    """One sentence: the best candidate, and the number of common ones."""
    return _sentence(searches, rows(searches))


def html(searches: Sequence[Results]) -> str:
    """Comparison as an HTML page.

    :raises ValueError: As in ``rows``.
    :raises DependencyError: jinja2 or matplotlib is missing.
    """
    optional_packages.require(report.REQUIRED, "The report")
    from markupsafe import Markup

    found = rows(searches)
    ordered = best_first(searches, found)
    finding = _sentence(searches, found)
    best = _best(found)
    drawn = _figure(searches, ordered, finding)
    columns, table = _table(searches, ordered)
    has_errors = any(is_known(each.search) for each in searches)
    return report.render(
        "search_diff.html",
        title=formatting.visible(finding, 120),
        sentence=(finding, "", "") if best is None else finding.partition(name(best)),
        searches=[
            {"label": f"Search {number}", "about": label(each), "answer": each.answer}
            for number, each in enumerate(searches, 1)
        ],
        figure=None if drawn is None else Markup(drawn),
        columns=columns,
        rows=table,
        has_errors=has_errors,
        notes=[
            *([PLUS_MINUS] if has_errors else []),
            *(f"{note.removesuffix('.')}." for note in notes(searches)),
        ],
    )


def notes(searches: Sequence[Results], *, is_marked: bool = True) -> list[str]:
    """Meaning of the marks in each search, or the reason for their absence.

    :param is_marked: Whether the table has the marks.
    """
    found: dict[str, list[str]] = {}
    for number, results in enumerate(searches, 1):
        comparison = compare(results.search)
        for note in comparison.notes(comparison.indistinct if is_marked else ()):
            found.setdefault(note, []).append(str(number))
    return [f"Search {', '.join(numbers)}: {note}" for note, numbers in found.items()]


def label(results: Results) -> str:
    """Name of a search with the beginning of its id."""
    name = naming.parent_run(results.search.description, results.search.parent)
    return formatting.visible(f"{name} · {results.search.search_id[:8]}", 140)


def name(row: dict[str, Any], limit: int = 120) -> str:
    """Name of a row from its params: ``maxDepth=4, maxBins=8``."""
    parts = [
        f"{key.removeprefix(_PARAM)}={formatting.visible(text, MAX_VALUE)}"
        for key, text in row["texts"].items()
    ]
    return formatting.visible(", ".join(parts) or "default params", limit)


def _check(searches: Sequence[Results]) -> None:
    if not searches:
        raise ValueError("There is no search to compare.")
    metrics = {each.search.description.metric for each in searches}
    if len(metrics) > 1:
        listed = ", ".join(sorted(metrics))
        raise ValueError(
            f"These searches have different metrics ({listed}), so their scores cannot be compared."
        )
    if len({each.search.description.larger_is_better for each in searches}) > 1:
        raise ValueError(
            "Larger is better in one of these searches and not in another, so their scores cannot "
            "be compared."
        )


def _comparable(value: Any) -> Any:
    """Value without uids of stages, and with 1 for 1.0."""
    if isinstance(value, dict):
        return {key: _comparable(each) for key, each in value.items() if key != "uid"}
    if isinstance(value, (list, tuple)):
        return [_comparable(each) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _empty_row(
    keys: list[str], values: dict[str, Any], texts: dict[str, str], searches: int
) -> dict[str, Any]:
    row: dict[str, Any] = {f"{_PARAM}{key}": values.get(key) for key in keys}
    row["texts"] = {f"{_PARAM}{key}": texts[key] for key in keys if key in texts}
    for number in range(1, searches + 1):
        row[f"average_{number}"] = row[f"deviation_{number}"] = None
        row[f"indistinct_{number}"] = None
    row["best"] = False
    return row


def _numbers(searches: Sequence[Results]) -> range:
    return range(1, len(searches) + 1)


def _averages(row: dict[str, Any], searches: int) -> list[tuple[float, int]]:
    """Averages of a row, without NaN, each with the number of its search."""
    found = ((row[f"average_{number}"], number) for number in range(1, searches + 1))
    return [(each, number) for each, number in found if each is not None and not math.isnan(each)]


def _best(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((row for row in rows if row["best"]), None)


def _sentence(searches: Sequence[Results], rows: list[dict[str, Any]]) -> str:
    description = searches[0].search.description
    common = sum(
        all(row[f"average_{number}"] is not None for number in _numbers(searches)) for row in rows
    )
    shared = (
        f"All searches have {formatting.count(common, 'candidate')} in common."
        if common
        else "No candidate was scored in all of them."
    )
    best = _best(rows)
    if best is None:
        return f"None of the {len(searches):,} searches has a best candidate. {shared}"
    pick = max if description.larger_is_better else min
    average, number = pick(_averages(best, len(searches)), key=lambda each: each[0])
    # Other searches, and other candidates, may have the same average.
    among = [n for each, n in _averages(best, len(searches)) if each == average]
    where = f"search {number}" if len(among) == 1 else "more than one search"
    ties = sum(any(each == average for each, _ in _averages(r, len(searches))) for r in rows) - 1
    tied = f", tied with {formatting.count(ties, 'other')}" if ties else ""
    score = score_text(searches[number - 1].search, average, best[f"deviation_{number}"])
    metric = formatting.visible(description.metric, 60)
    return f"{name(best)} in {where} is best{tied}: {metric} {score}. {shared}"


def _figure(searches: Sequence[Results], rows: list[dict[str, Any]], finding: str) -> str | None:
    from trackmllib.reporting.plotting import export, search_diff, theme

    drawable = [
        row
        for row in rows
        if any(math.isfinite(average) for average, _ in _averages(row, len(searches)))
    ]
    if not drawable:
        return None
    lines = [
        search_diff.DiffRow(
            name=name(row, 44),
            best=row["best"],
            scores=tuple(
                (row[f"average_{n}"], standard_error(each.search, row[f"deviation_{n}"]))
                for n, each in enumerate(searches, 1)
            ),
        )
        for row in drawable[: search_diff.MOST]
    ]
    metric = formatting.visible(searches[0].search.description.metric, 40)
    drawn = search_diff.figure(lines, metric, theme.PLACEHOLDERS)
    return export.svg(drawn, "search_diff", f"Candidates of all searches, best first: {finding}")


def _table(
    searches: Sequence[Results], rows: list[dict[str, Any]]
) -> tuple[list[Column], list[ReportRow]]:
    keys = [key for key in rows[0] if key.startswith(_PARAM)] if rows else []
    columns = [Column(text="Rank")]
    columns += [
        Column(text=formatting.visible(key.removeprefix(_PARAM), 28), is_number=False)
        for key in keys
    ]
    columns += [
        Column(text=f"Search {number}", full=label(each)) for number, each in enumerate(searches, 1)
    ]
    table = []
    for rank, row in enumerate(rows, 1):
        fields = [Field(text=str(rank))]
        for key in keys:
            text = row["texts"].get(key, "")
            short = formatting.visible(text, MAX_VALUE)
            full = formatting.visible(text, 1000) if short != text else None
            fields.append(Field(text=short, full=full, is_number=False))
        for number, each in enumerate(searches, 1):
            average, deviation = row[f"average_{number}"], row[f"deviation_{number}"]
            text = "" if average is None else score_text(each.search, average, deviation)
            if row[f"indistinct_{number}"]:
                text += f" {SYMBOL}"
            fields.append(Field(text=text, sort=_javascript_number(average)))
        table.append(ReportRow(fields=tuple(fields), mark="best" if row["best"] else ""))
    return columns, table


def _javascript_number(average: float | None) -> str:
    """Text that JavaScript parses as the number; empty sorts last."""
    if average is None or math.isnan(average):
        return ""
    return repr(average).replace("inf", "Infinity")
