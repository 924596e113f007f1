"""Several searches on one metric: one table, one sentence, one page.

Settings are matched by their params: the same keys with the same values are the same setting, in
whatever order each grid has them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from trackmllib import names, plural
from trackmllib.view import extras, report, words
from trackmllib.view.compared import SYMBOL, compare
from trackmllib.view.report_table import Column, Field, Row
from trackmllib.view.results import Results


def rows(searches: Sequence[Results]) -> list[dict[str, Any]]:
    """A row for each setting that one of the searches has, all with the same keys: ``params.<key>``
    with the value itself (None where it is not set), ``texts`` with how those that are set read,
    by the same keys, ``average_<n>`` and ``deviation_<n>`` for the n-th search from 1 (None where
    it has not tried the setting), ``indistinct_<n>``, True if it cannot be told apart from the
    best one of that search, and ``best``, True for the setting with the best average of all.

    In the order of the grids. ValueError where the searches are not on one metric, in one
    direction, or where there is none.
    """
    _check(searches)
    keys = _keys(searches)
    made: dict[str, dict[str, Any]] = {}
    for number, results in enumerate(searches, 1):
        indistinct = compare(results.search).indistinct
        for candidate in results.search.description.candidates:
            values = {results.grid.key(each): each.value.data for each in candidate.settings}
            texts = {results.grid.key(each): each.value.text for each in candidate.settings}
            identity = json.dumps(_comparable(values), sort_keys=True, default=str)
            row = made.setdefault(identity, _empty(keys, values, texts, len(searches)))
            found = results.search.candidates.get(candidate.index)
            # A grid may have the same setting twice; its first score stands.
            if found is not None and row[f"average_{number}"] is None:
                row[f"average_{number}"] = found.average
                row[f"deviation_{number}"] = found.deviation
                row[f"indistinct_{number}"] = candidate.index in indistinct
    best = _best(list(made.values()), searches)
    for row in made.values():
        row["best"] = row is best
    return list(made.values())


def sentence(searches: Sequence[Results]) -> str:
    """Which search has the best setting, and how many settings they have in common."""
    return _sentence(searches, rows(searches))


def html(searches: Sequence[Results]) -> str:
    """A page with the sentence, one figure and the table. Errors are those of ``rows``, and
    DependencyError where jinja2 or matplotlib is missing.
    """
    extras.need(report.NEEDED, "The report")
    from markupsafe import Markup

    made = rows(searches)
    finding = _sentence(searches, made)
    drawn = _figure(searches, made, finding)
    columns, table = _table(searches, made)
    return report.render(
        "comparison.html",
        title=words.visible(finding, 120),
        sentence=_parts(finding, made),
        searches=[
            {"label": f"Search {number}", "about": label(each), "answer": each.answer}
            for number, each in enumerate(searches, 1)
        ],
        figure=None if drawn is None else Markup(drawn),
        columns=columns,
        rows=table,
        is_marked=any(_is_marked(row, len(searches)) for row in made),
    )


def label(results: Results) -> str:
    """A search in a few words: its name, and the beginning of its id."""
    name = names.main_run(results.search.description, results.search.parent)
    return words.visible(f"{name} · {results.search.search_id[:8]}", 140)


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


def _keys(searches: Sequence[Results]) -> list[str]:
    found: dict[str, None] = {}
    for results in searches:
        for setting in results.grid.settings.values():
            found.setdefault(results.grid.key(setting))
    return list(found)


def _comparable(value: Any) -> Any:
    """1 and 1.0 are the same value, True is another; of a stage its uid says nothing."""
    if isinstance(value, dict):
        return {key: _comparable(each) for key, each in value.items() if key != "uid"}
    if isinstance(value, (list, tuple)):
        return [_comparable(each) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _empty(
    keys: list[str], values: dict[str, Any], texts: dict[str, str], searches: int
) -> dict[str, Any]:
    row: dict[str, Any] = {f"params.{key}": values.get(key) for key in keys}
    row["texts"] = {f"params.{key}": texts[key] for key in keys if key in texts}
    for number in range(1, searches + 1):
        row[f"average_{number}"] = row[f"deviation_{number}"] = None
        row[f"indistinct_{number}"] = False
    return row


def _averages(row: dict[str, Any], searches: int) -> list[tuple[float, int]]:
    """The averages of a row that are numbers, infinity too, each with the number of its search."""
    found = ((row[f"average_{number}"], number) for number in range(1, searches + 1))
    return [(each, number) for each, number in found if each is not None and not math.isnan(each)]


def _is_marked(row: dict[str, Any], searches: int) -> bool:
    return any(row[f"indistinct_{number}"] for number in range(1, searches + 1))


def _best(made: list[dict[str, Any]], searches: Sequence[Results]) -> dict[str, Any] | None:
    larger = searches[0].search.description.larger_is_better
    scored = [row for row in made if _averages(row, len(searches))]
    if larger is None or not scored:
        return None
    pick = max if larger else min
    return pick(scored, key=lambda row: pick(_averages(row, len(searches)))[0])


def best_first(searches: Sequence[Results], made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """These rows by their best average in any search, those that have none or only NaN last."""
    larger = searches[0].search.description.larger_is_better is not False
    pick, sign = (max, -1) if larger else (min, 1)

    def place(row: dict[str, Any]) -> tuple[int, float]:
        averages = _averages(row, len(searches))
        return (0, sign * pick(averages)[0]) if averages else (1, 0.0)

    return sorted(made, key=place)


def _parts(finding: str, made: list[dict[str, Any]]) -> tuple[str, str, str]:
    """The sentence in three parts, the middle one the name of the best setting."""
    best = next((row for row in made if row["best"]), None)
    return (finding, "", "") if best is None else finding.partition(name(best))


def _sentence(searches: Sequence[Results], made: list[dict[str, Any]]) -> str:
    description = searches[0].search.description
    common = sum(
        all(row[f"average_{number}"] is not None for number in range(1, len(searches) + 1))
        for row in made
    )
    shared = (
        f"All have {plural.count(common, 'setting')} in common."
        if common
        else "No setting was scored in all of them."
    )
    best = next((row for row in made if row["best"]), None)
    if best is None:
        return f"None of the {plural.count(len(searches), 'search', 'searches')} is best. {shared}"
    pick = max if description.larger_is_better else min
    average, number = pick(_averages(best, len(searches)), key=lambda each: each[0])
    # Where others have the same average: this one in other searches, or other settings.
    among = [n for each, n in _averages(best, len(searches)) if each == average]
    tied = sum(any(each == average for each, _ in _averages(row, len(searches))) for row in made)
    score = words.score(average, best[f"deviation_{number}"])
    metric = words.visible(description.metric, 60)
    where = f"search {number}" if len(among) == 1 else "more than one search"
    tie = f", as one of {tied:,}" if tied > 1 else ""
    return f"{name(best)} in {where} is best{tie}: {metric} {score}. {shared}"


def _sorted_as(average: float | None) -> str:
    """The text that JavaScript makes a number of; nothing for what stays last."""
    if average is None or math.isnan(average):
        return ""
    return repr(average).replace("inf", "Infinity")


def name(row: dict[str, Any], limit: int = 120) -> str:
    """A row by its params: ``maxDepth=4, maxBins=8``."""
    parts = [
        f"{key.removeprefix('params.')}={words.visible(text, 40)}"
        for key, text in row["texts"].items()
    ]
    return words.visible(", ".join(parts) or "default params", limit)


def _drawable(row: dict[str, Any], searches: int) -> bool:
    return any(math.isfinite(average) for average, _ in _averages(row, searches))


def _figure(searches: Sequence[Results], made: list[dict[str, Any]], finding: str) -> str | None:
    from trackmllib.view.drawing import comparison, files, look

    scored = [row for row in best_first(searches, made) if _drawable(row, len(searches))]
    if not scored:
        return None
    lines = [
        comparison.Line(
            name=name(row, 44),
            best=row["best"],
            scores=tuple(
                (row[f"average_{number}"], row[f"deviation_{number}"])
                for number in range(1, len(searches) + 1)
            ),
        )
        for row in scored[: comparison.MOST]
    ]
    metric = words.visible(searches[0].search.description.metric, 40)
    drawn = comparison.figure(lines, metric, look.PLACEHOLDERS)
    return files.svg(drawn, "comparison", f"Settings of all searches, best first: {finding}")


def _table(
    searches: Sequence[Results], made: list[dict[str, Any]]
) -> tuple[list[Column], list[Row]]:
    keys = [key for key in made[0] if key.startswith("params.")] if made else []
    columns = [Column(text="Rank")]
    columns += [
        Column(text=words.visible(key.removeprefix("params."), 28), is_number=False) for key in keys
    ]
    columns += [
        Column(text=f"Search {number}", full=label(each)) for number, each in enumerate(searches, 1)
    ]
    table = []
    for number, row in enumerate(best_first(searches, made), 1):
        fields = [Field(text=str(number))]
        for key in keys:
            text = row["texts"].get(key, "")
            short = words.visible(text, 40)
            full = words.visible(text, 1000) if short != text else None
            fields.append(Field(text=short, full=full, is_number=False))
        for search in range(1, len(searches) + 1):
            average, deviation = row[f"average_{search}"], row[f"deviation_{search}"]
            text = "" if average is None else words.score(average, deviation)
            if row[f"indistinct_{search}"]:
                text += f" {SYMBOL}"
            fields.append(Field(text=text, sort=_sorted_as(average)))
        table.append(Row(fields=tuple(fields), mark="best" if row["best"] else ""))
    return columns, table
