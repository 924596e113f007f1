"""The report of a search: one page that needs nothing else, and its first figure as a PNG."""

from __future__ import annotations

from datetime import datetime, timezone
from importlib import resources
from typing import TYPE_CHECKING, Any

from trackmllib import names, plural
from trackmllib.view import draw, extras, words
from trackmllib.view.compared import LEGEND, PHRASE, RULE, SYMBOL
from trackmllib.view.figures.basis import Basis, NothingToDraw
from trackmllib.view.report_table import table

if TYPE_CHECKING:
    from trackmllib.view.results import Results

NEEDED = ("jinja2", "matplotlib")
HEADINGS = {
    "scores": "Settings, best first",
    "params": "Score over each param",
    "heatmaps": "Score over two params",
    "parallel": "All params together",
    "importance": "What drives the score",
    "timeline": "When each cell ran",
    "cost": "Cost against score",
}


def html(results: Results) -> str:
    """The report as a page of HTML. DependencyError where jinja2 or matplotlib is missing."""
    extras.need(NEEDED, "The report")
    basis = Basis(results.search, results.grid)
    figures, absent = _figures(basis)
    columns, rows = table(basis, results.runs)
    return render(
        "report.html",
        title=words.visible(basis.answer.sentence, 120),
        about=_about(basis),
        answer=_answer(basis),
        certainty=basis.answer.certainty,
        best=_best(basis),
        figures=figures,
        absent=absent,
        columns=columns,
        rows=rows,
        notes=_notes(basis),
        main_page=results.runs.page(),
    )


def png(results: Results) -> bytes:
    """The first figure as a PNG; NothingToDraw where no setting has a score."""
    return draw.png(Basis(results.search, results.grid), "scores")


def render(template: str, **values: Any) -> str:
    """A page from one of our templates, all values escaped."""
    from jinja2 import DictLoader, Environment, StrictUndefined

    folder = resources.files("trackmllib.view") / "templates"
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
    environment.globals.update(legend=LEGEND, phrase=PHRASE, symbol=SYMBOL)
    return environment.get_template(template).render(**values)


def _figures(basis: Basis) -> tuple[list[dict[str, Any]], list[str]]:
    """What is drawn, and in words what is not and why."""
    from markupsafe import Markup

    made, absent = [], []
    for kind, heading in HEADINGS.items():
        try:
            drawn, finding = draw.svg(basis, kind, heading)
        except NothingToDraw as reason:
            absent.append(f"{heading}: {reason}")
            continue
        except Exception as error:  # noqa: BLE001 - one figure shall not cost the whole report
            said = words.visible(f"{type(error).__name__}: {error}", 200)
            absent.append(f"{heading}: an error of trackmllib’s, {said}")
            continue
        caveat = getattr(draw.DATA[kind](basis), "caveat", None) if kind == "importance" else None
        made.append(
            {
                "kind": kind,
                "heading": heading,
                "finding": finding,
                "caveat": caveat,
                # Drawn by matplotlib, which escapes texts.
                "svg": Markup(drawn),
            }
        )
    return made, absent


def _about(basis: Basis) -> str:
    search = basis.search
    description = search.description
    began = datetime.fromtimestamp(search.start_ms / 1000, tz=timezone.utc)
    parts = [
        names.main_run(description, search.parent),
        plural.count(len(description.candidates), "setting"),
        plural.count(search.folds, "fold") if description.averaged else "one split",
        f"{began:%Y-%m-%d %H:%M} UTC",
    ]
    if search.end_ms is not None:
        parts.append(words.seconds((search.end_ms - search.start_ms) / 1000))
    return words.visible(" · ".join(parts), 300)


def _answer(basis: Basis) -> tuple[str, str, str]:
    """The sentence in three parts, the middle one the name of the setting."""
    sentence = basis.answer.sentence
    if basis.answer.best is None:
        return sentence, "", ""
    candidate = basis.search.description.candidates[basis.answer.best]
    return sentence.partition(words.visible(names.child_run(candidate, basis.grid), 120))


def _best(basis: Basis) -> dict[str, Any] | None:
    """The best setting as a table: its params and its score."""
    index = basis.best
    if index is None:
        return None
    found = basis.search.candidates[index]
    settings = basis.search.description.candidates[index].settings
    return {
        "params": [
            {
                "key": words.visible(basis.grid.label(setting), 80),
                "text": words.visible(setting.value.text, 200),
                "full": words.visible(setting.value.text, 6000),
            }
            for setting in settings
        ],
        "metric": basis.metric,
        "score": words.score(found.average, found.deviation if basis.search.folds > 1 else None),
    }


def _notes(basis: Basis) -> list[str]:
    search = basis.search
    notes = [
        f"Search {words.visible(search.search_id, 60)}, recorded by trackmllib.",
        f"Settings are compared with the best one by the {RULE}; Machine Learning 52, 239–281. "
        "With k folds the variance of the differences is multiplied by 1/k + 1/(k − 1), as folds "
        "share training data.",
        "Shares of variance are those of a functional ANOVA over the grid, each combination of "
        "values weighing the same.",
    ]
    versions = ", ".join(f"{name} {version}" for name, version in search.description.versions)
    return [*notes, words.visible(versions, 300)]
