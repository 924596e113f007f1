"""Kinds of figures, with their data and drawings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trackmllib.reporting import optional_packages
from trackmllib.reporting.figures.context import SearchContext
from trackmllib.reporting.figures.cost import cost
from trackmllib.reporting.figures.importance import importance
from trackmllib.reporting.figures.pairs import heatmaps
from trackmllib.reporting.figures.parallel import parallel
from trackmllib.reporting.figures.params import params
from trackmllib.reporting.figures.scores import scores
from trackmllib.reporting.figures.timeline import timeline
from trackmllib.reporting.figures.training import training

if TYPE_CHECKING:
    from trackmllib.reporting.plotting.theme import Theme

DATA: dict[str, Callable[[SearchContext], Any]] = {
    "scores": scores,
    "training": training,
    "params": params,
    "heatmaps": heatmaps,
    "parallel": parallel,
    "importance": importance,
    "timeline": timeline,
    "cost": cost,
}
KINDS = tuple(DATA)


def figure(context: SearchContext, kind: str) -> Any:
    """Draw a figure with matplotlib, for notebooks and paper.

    :raises NothingToDraw: The search has no data for it.
    :raises ValueError: The kind is unknown.
    :raises DependencyError: matplotlib is missing.
    """
    if kind not in DATA:
        raise ValueError(f"unknown figure {kind!r}; the kinds are {', '.join(KINDS)}")
    data = DATA[kind](context)
    optional_packages.require(["matplotlib"], "A figure")
    from trackmllib.reporting.plotting.theme import PAPER

    return _draw(context, kind, data, PAPER)


def png(context: SearchContext, kind: str) -> bytes:
    """Figure as a PNG; raises what ``figure`` raises."""
    drawn = figure(context, kind)
    from trackmllib.reporting.plotting import export

    return export.png(drawn)


def svg(context: SearchContext, kind: str, heading: str) -> tuple[str, Any]:
    """Figure as an SVG element, and its data; raises what ``figure`` raises."""
    data = DATA[kind](context)
    optional_packages.require(["matplotlib"], "A figure")
    from trackmllib.reporting.plotting import export
    from trackmllib.reporting.plotting.theme import PLACEHOLDERS

    drawn = _draw(context, kind, data, PLACEHOLDERS)
    return export.svg(drawn, kind, f"{heading}: {data.finding}"), data


def _draw(context: SearchContext, kind: str, data: Any, theme: Theme) -> Any:
    from trackmllib.reporting.plotting import grids, times
    from trackmllib.reporting.plotting import scores as score_plots
    from trackmllib.reporting.plotting import training as training_plot
    from trackmllib.reporting.plotting.theme import style

    drawings: dict[str, Callable[[Any, SearchContext, Theme], Any]] = {
        "scores": score_plots.scores,
        "training": training_plot.training,
        "params": score_plots.params,
        "heatmaps": grids.heatmaps,
        "parallel": grids.parallel,
        "importance": grids.importance,
        "timeline": times.timeline,
        "cost": times.cost,
    }
    with style():
        return drawings[kind](data, context, theme)
