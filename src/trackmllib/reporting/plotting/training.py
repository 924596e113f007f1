"""Drawing of the figure ``training``."""

from __future__ import annotations

from typing import Any

from matplotlib.lines import Line2D

from trackmllib.reporting.figures.context import SearchContext
from trackmllib.reporting.figures.training import Training
from trackmllib.reporting.plotting import canvas
from trackmllib.reporting.plotting.scores import marker
from trackmllib.reporting.plotting.theme import Theme


def training(data: Training, context: SearchContext, theme: Theme) -> Any:
    """A row for each candidate, with a line between its two scores."""
    rows = data.rows
    figure = canvas.figure(theme, 1.15 + 0.26 * len(rows) + (0.25 if data.heading else 0.0))
    axes = figure.add_subplot()
    square: Any = {
        "marker": "s",
        "color": theme.fill,
        "markersize": 6,
        "linestyle": "none",
    }
    for y, row in enumerate(rows):
        colour = theme.best if row.best else theme.other
        ends = [row.validation, row.training]
        axes.plot(ends, [y, y], color=colour, linewidth=1.2, alpha=0.6)
        axes.plot([row.training], [y], **square)
        axes.plot([row.validation], [y], **marker(theme, best=row.best))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), labels=[theme.text(row.name) for row in rows])
    canvas.dress(axes, theme, grid="x")
    axes.tick_params(axis="y", length=0)
    for row, label in zip(rows, axes.get_yticklabels(), strict=True):
        if row.best:
            label.set_color(theme.best)
            label.set_fontweight("bold")
    axes.set_xlabel(theme.text(context.metric))
    axes.locator_params(axis="x", nbins=7)
    handles = [Line2D([], [], label="training", **square)]
    if any(not row.best for row in rows):
        handles.append(Line2D([], [], label="validation", **marker(theme)))
    if any(row.best for row in rows):
        handles.append(Line2D([], [], label="validation, best", **marker(theme, best=True)))
    canvas.legend(axes, theme, handles, loc="lower right", bbox_to_anchor=(1.0, 1.0))
    if data.heading is not None:
        canvas.heading(figure, theme, data.heading)
    return figure
