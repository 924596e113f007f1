"""A search as a notebook shows it: the answer, and the ten best with a sparkline of their folds.

In HTML, without jinja2 or matplotlib, in whatever colours the notebook has.
"""

from __future__ import annotations

from html import escape

from trackmllib import plural
from trackmllib.view import table, words
from trackmllib.view.compared import LEGEND
from trackmllib.view.figures.basis import Basis
from trackmllib.view.ranks import ranks
from trackmllib.view.runs import Runs

MOST = 10
_WIDTH, _HEIGHT = 72, 18
_CELL = "text-align:left;padding:2px 10px"


def html(basis: Basis, runs: Runs, most: int = MOST) -> str:
    """A fragment of a page; everything that is not ours is escaped."""
    search = basis.search
    ranked = search.ranked()[:most]
    sentence = escape(basis.answer.sentence)
    parts = ["<div>", f'<p style="font-size:1.1em;margin:.3em 0"><b>{sentence}</b></p>']
    if ranked:
        parts += _table(basis, runs, ranked)
        more = len(search.description.candidates) - len(ranked)
        notes = [f"and {plural.count(more, 'more setting')}"] if more else []
        if any(index in basis.comparison.indistinct for index in ranked):
            notes.append(LEGEND)
        if notes:
            text = "; ".join(notes)
            parts.append(f'<p style="opacity:.75;margin:.3em 0">{escape(text)}</p>')
    return "".join([*parts, "</div>"])


def sparkline(scores: list[float | None], low: float, high: float) -> str:
    """The scores of the folds as points of an SVG, from ``low`` at the left to ``high``."""
    span = (high - low) or 1.0
    shown = [score for score in scores if score is not None and low <= score <= high]
    points = "".join(
        f'<circle cx="{5 + (_WIDTH - 10) * (score - low) / span:.1f}" cy="{_HEIGHT / 2:.0f}" '
        f'r="3" fill="currentColor" fill-opacity=".6"/>'
        for score in shown
    )
    label = "scores of the folds: " + ", ".join(f"{score:.4g}" for score in shown)
    return (
        f'<svg role="img" aria-label="{escape(label)}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}"><path d="M2 {_HEIGHT / 2:.0f}H{_WIDTH - 2}" '
        f'stroke="currentColor" stroke-opacity=".3"/>{points}</svg>'
    )


def _table(basis: Basis, runs: Runs, ranked: list[int]) -> list[str]:
    heads = ["", *(words.visible(param.key, 28) for param in basis.params), basis.metric]
    folds = basis.search.folds
    scores = {
        index: [table.score(basis.search.candidates[index], fold) for fold in range(folds)]
        for index in ranked
    }
    finite = [s for row in scores.values() for s in row if s is not None and abs(s) < float("inf")]
    has_folds = folds > 1 and bool(finite)
    heads += ["folds"] if has_folds else []
    heads += ["run"] if runs.children else []
    parts = ["<table><thead><tr>"]
    parts += [f'<th scope="col" style="{_CELL}">{escape(head)}</th>' for head in heads]
    parts.append("</tr></thead><tbody>")
    marks = ranks(basis.search)
    for index in ranked:
        found = basis.search.candidates[index]
        rank = f"{marks.get(index, '')} {basis.comparison.mark(index)}".strip()
        weight = ";font-weight:bold" if index == basis.best else ""
        score = words.score(found.average, found.deviation)
        if found.average is None:
            score = words.state(found.status)
        cells = [words.visible(param.levels[param.of[index]].text, 40) for param in basis.params]
        parts.append(f'<tr><th scope="row" style="{_CELL}{weight}">{rank}</th>')
        parts += [f'<td style="{_CELL}{weight}">{escape(cell)}</td>' for cell in [*cells, score]]
        if has_folds:
            line = sparkline(scores[index], min(finite), max(finite))
            parts.append(f'<td style="{_CELL}">{line}</td>')
        if runs.children:
            parts.append(f'<td style="{_CELL}">{_link(runs, index)}</td>')
        parts.append("</tr>")
    return [*parts, "</tbody></table>"]


def _link(runs: Runs, index: int) -> str:
    run_id = escape(runs.children.get(index, "")[:8])
    page = runs.page(index)
    if page is None:
        return run_id
    return f'<a href="{escape(page)}" target="_blank" rel="noopener">{run_id}</a>'
