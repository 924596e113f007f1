"""Report of a search: a self-contained HTML page, and a PNG."""

from __future__ import annotations

from datetime import datetime, timezone
from importlib import resources
from typing import Any

from trackmllib.domain import naming, standard_error
from trackmllib.domain.significance import RULE
from trackmllib.domain.standard_error import score_text
from trackmllib.reporting import figure_kinds, further_metrics, optional_packages
from trackmllib.reporting.figures.context import NotAskedFor, NothingToDraw, SearchContext
from trackmllib.reporting.report_table import table
from trackmllib.reporting.run_links import RunLinks
from trackmllib.support import formatting

_CORRECTION = (
    "Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52 (2003): with k "
    "folds, the variance of an average is that of one score, times 1/k + 1/(k − 1)."
)
REQUIRED = ("jinja2", "matplotlib")
HEADINGS = {
    "scores": "Candidates, best first",
    "training": "Training against validation score",
    "params": "Score over each param",
    "heatmaps": "Score over two params",
    "parallel": "All params together",
    "importance": "What drives the score",
    "timeline": "When each fit ran",
    "cost": "Cost against score",
}


def html(context: SearchContext, runs: RunLinks) -> str:
    """Report as an HTML page; raises DependencyError."""
    optional_packages.require(REQUIRED, "The report")
    figures, missing = _figures(context)
    columns, rows = table(context, runs)
    return render(
        "report.html",
        title=formatting.visible(context.answer.sentence, 120),
        about=_about(context),
        answer=_answer(context),
        certainty=context.answer.certainty,
        best=_best(context),
        further_metrics=further_metrics.rows(context),
        figures=figures,
        missing=missing,
        columns=columns,
        rows=rows,
        comparison=context.comparison,
        notes=_notes(context),
        parent_page=runs.page(),
    )


def png(context: SearchContext) -> bytes:
    """First figure as a PNG; raises NothingToDraw without a score."""
    return figure_kinds.png(context, "scores")


def render(template: str, **values: Any) -> str:
    """Render a template, with all values escaped."""
    from jinja2 import DictLoader, Environment, StrictUndefined

    folder = resources.files("trackmllib.reporting") / "templates"
    loader = DictLoader(
        {
            name: (folder / name).read_text(encoding="utf-8")
            for name in ("page.html", "page.css", "page.js", "table.html", template)
        }
    )
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def _figures(context: SearchContext) -> tuple[list[dict[str, Any]], list[str]]:
    """Drawn figures, and why others were not drawn."""
    from markupsafe import Markup

    figures, missing = [], []
    for kind, heading in HEADINGS.items():
        try:
            svg, data = figure_kinds.svg(context, kind, heading)
        except NotAskedFor:
            continue
        except NothingToDraw as reason:
            missing.append(f"{heading}: {reason}")
            continue
        except Exception as error:  # noqa: BLE001 - a failed figure must not cost the report
            shown = formatting.visible(f"{type(error).__name__}: {error}", 200)
            missing.append(f"{heading}: not drawn, because of an error in trackmllib: {shown}")
            continue
        figures.append(
            {
                "kind": kind,
                "heading": heading,
                "finding": data.finding,
                "caveat": getattr(data, "caveat", None),
                # Matplotlib escapes texts.
                "svg": Markup(svg),
            }
        )
    return figures, missing


def _about(context: SearchContext) -> str:
    search = context.search
    description = search.description
    began = datetime.fromtimestamp(search.start_ms / 1000, tz=timezone.utc)
    parts = [
        naming.parent_run(description, search.parent),
        formatting.count(len(description.candidates), "candidate"),
        formatting.count(search.folds, "fold") if description.averaged else "one split",
        f"{began:%Y-%m-%d %H:%M} UTC",
    ]
    if search.end_ms is not None:
        parts.append(formatting.duration((search.end_ms - search.start_ms) / 1000))
    return formatting.visible(" · ".join(parts), 300)


def _answer(context: SearchContext) -> tuple[str, str, str]:
    """The answer in three parts, with the candidate's name in the middle."""
    sentence = context.answer.sentence
    if context.best is None:
        return sentence, "", ""
    candidate = context.search.description.candidates[context.best]
    return sentence.partition(formatting.visible(naming.child_run(candidate, context.grid), 120))


def _best(context: SearchContext) -> dict[str, Any] | None:
    """Params and score of the best candidate."""
    if context.best is None:
        return None
    found = context.search.candidates[context.best]
    return {
        "params": [
            {
                "key": formatting.visible(context.grid.label(param), 80),
                "text": formatting.visible(param.value.text, 200),
                "full": formatting.visible(param.value.text, 6000),
            }
            for param in context.search.description.candidates[context.best].params
        ],
        "metric": context.metric,
        "score": score_text(context.search, found.average, found.deviation),
    }


def _notes(context: SearchContext) -> list[str]:
    search = context.search
    versions = ", ".join(f"{name} {version}" for name, version in search.description.versions)
    tested = f"Candidates are compared with the best one by the {RULE}."
    return [
        f"Search {formatting.visible(search.search_id, 60)}, recorded by trackmllib.",
        *([tested] if context.comparison.compared else []),
        *([_CORRECTION] if standard_error.is_known(search) else []),
        "Shares of the variance are from a functional ANOVA over the grid, with equal weight for "
        "each combination of values.",
        formatting.visible(versions, 300),
    ]
