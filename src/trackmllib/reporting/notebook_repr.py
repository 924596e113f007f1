"""HTML of a search for notebooks: the answer, and a table.

Needs neither jinja2 nor matplotlib, and has the notebook's own colours.
"""

from __future__ import annotations

import math
from html import escape

from trackmllib.reporting.figures.context import SearchContext
from trackmllib.reporting.run_links import RunLinks
from trackmllib.reporting.short_table import ShortTable, short_table

MOST = 10
_WIDTH, _HEIGHT = 72, 18
_CELL = "text-align:left;padding:2px 10px"


def html(context: SearchContext, runs: RunLinks) -> str:
    """HTML fragment; the user's texts are escaped."""
    table = short_table(context, MOST, limit=40)
    answer = escape(context.answer.sentence)
    parts = ["<div>", f'<p style="font-size:1.1em;margin:.3em 0"><b>{answer}</b></p>']
    if context.further_metrics:
        parts.append(f'<p style="margin:.3em 0">{escape(context.further_metrics)}</p>')
    if table.rows:
        parts += _table(context, runs, table)
    if table.rows and table.notes:
        notes = escape("; ".join(table.notes))
        parts.append(f'<p style="opacity:.75;margin:.3em 0">{notes}</p>')
    return "".join([*parts, "</div>"])


def sparkline(scores: list[float], low: float, high: float) -> str:
    """Scores of folds as points in an SVG, from ``low`` to ``high``."""
    span = (high - low) or 1.0
    points = "".join(
        f'<circle cx="{5 + (_WIDTH - 10) * (score - low) / span:.1f}" cy="{_HEIGHT / 2:.0f}" '
        f'r="3" fill="currentColor" fill-opacity=".6"/>'
        for score in scores
    )
    label = "scores of the folds: " + ", ".join(f"{score:.4g}" for score in scores)
    return (
        f'<svg role="img" aria-label="{escape(label)}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}"><path d="M2 {_HEIGHT / 2:.0f}H{_WIDTH - 2}" '
        f'stroke="currentColor" stroke-opacity=".3"/>{points}</svg>'
    )


def _table(context: SearchContext, runs: RunLinks, table: ShortTable) -> list[str]:
    search = context.search
    scores = {
        row.candidate: [
            score
            for fold in range(search.folds)
            if (score := search.candidates[row.candidate].fold_score(fold)) is not None
            and math.isfinite(score)
        ]
        for row in table.rows
    }
    finite = [score for of_row in scores.values() for score in of_row]
    has_folds = search.folds > 1 and bool(finite)
    heads = ["", *table.heads]
    heads += ["folds"] if has_folds else []
    heads += ["run"] if runs.children else []
    parts = ["<table><thead><tr>"]
    parts += [f'<th scope="col" style="{_CELL}">{escape(head)}</th>' for head in heads]
    parts.append("</tr></thead><tbody>")
    for row in table.rows:
        rank = f"{row.rank} {row.mark}".strip()
        style = _CELL + (";font-weight:bold" if row.candidate == context.best else "")
        parts.append(f'<tr><th scope="row" style="{style}">{rank}</th>')
        texts = (*row.params, row.score)
        parts += [f'<td style="{style}">{escape(text)}</td>' for text in texts]
        if has_folds:
            line = sparkline(scores[row.candidate], min(finite), max(finite))
            parts.append(f'<td style="{_CELL}">{line}</td>')
        if runs.children:
            parts.append(f'<td style="{_CELL}">{_link(runs, row.candidate)}</td>')
        parts.append("</tr>")
    return [*parts, "</tbody></table>"]


def _link(runs: RunLinks, candidate: int) -> str:
    run_id = escape(runs.children.get(candidate, "")[:8])
    page = runs.page(candidate)
    if page is None:
        return run_id
    return f'<a href="{escape(page)}" target="_blank" rel="noopener">{run_id}</a>'
