"""The kinds of figures that there are of a search, each from its numbers to its drawing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trackmllib.view import extras
from trackmllib.view.figures.basis import Basis
from trackmllib.view.figures.cost import cost
from trackmllib.view.figures.importance import importance
from trackmllib.view.figures.pairs import heatmaps
from trackmllib.view.figures.parallel import parallel
from trackmllib.view.figures.params import params
from trackmllib.view.figures.scores import scores
from trackmllib.view.figures.timeline import timeline

# What each figure shows; drawing them is looked up by the same name.
DATA: dict[str, Callable[[Basis], Any]] = {
    "scores": scores,
    "params": params,
    "heatmaps": heatmaps,
    "parallel": parallel,
    "importance": importance,
    "timeline": timeline,
    "cost": cost,
}
KINDS = tuple(DATA)


def figure(basis: Basis, kind: str) -> Any:
    """A figure of matplotlib for notebooks and paper.

    NothingToDraw where the search has nothing of that kind, ValueError for a kind that is none,
    DependencyError without matplotlib.
    """
    if kind not in DATA:
        raise ValueError(f"there is no figure {kind!r}; there are {', '.join(KINDS)}")
    data = DATA[kind](basis)
    extras.need(["matplotlib"], "A figure")
    from trackmllib.view.drawing import look

    return _drawn(basis, kind, data, look.PAPER)


def png(basis: Basis, kind: str) -> bytes:
    """The figure as a PNG. Errors are those of ``figure``."""
    made = figure(basis, kind)
    from trackmllib.view.drawing import files

    return files.png(made)


def svg(basis: Basis, kind: str, heading: str) -> tuple[str, str]:
    """The figure as an element of a page, and the sentence with what it shows. Errors are those of
    ``figure``.
    """
    data = DATA[kind](basis)
    extras.need(["matplotlib"], "A figure")
    from trackmllib.view.drawing import files, look

    drawn = _drawn(basis, kind, data, look.PLACEHOLDERS)
    return files.svg(drawn, kind, f"{heading}: {data.finding}"), data.finding


def _drawn(basis: Basis, kind: str, data: Any, look: Any) -> Any:
    from trackmllib.view.drawing import grids, times
    from trackmllib.view.drawing import scores as score_figures
    from trackmllib.view.drawing.look import style

    metric, places = basis.metric, basis.places
    with style():
        match kind:
            case "scores":
                return score_figures.scores(data, metric, look)
            case "params":
                return score_figures.params(data, metric, look)
            case "heatmaps":
                return grids.heatmaps(data, metric, places, look)
            case "parallel":
                return grids.parallel(data, metric, places, look)
            case "importance":
                return grids.importance(data, look)
            case "timeline":
                return times.timeline(data, basis.best, look)
        return times.cost(data, metric, look)
