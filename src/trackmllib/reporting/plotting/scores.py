"""Drawings of the figures ``scores`` and ``params``."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.lines import Line2D

from trackmllib.reporting.figures.context import SearchContext
from trackmllib.reporting.figures.levels import Level
from trackmllib.reporting.figures.params import Panel, ParamPoint, Params
from trackmllib.reporting.figures.scores import ScoreRow, Scores
from trackmllib.reporting.plotting import canvas
from trackmllib.reporting.plotting.theme import Theme
from trackmllib.support import formatting

_MAX_LABELS = 12
_MANY_POINTS = 300
# Widths in characters, of the metric beside a panel, and of a turned label.
_METRIC = 20
_LABEL = 14


def scores(data: Scores, context: SearchContext, theme: Theme) -> Any:
    """A row for each candidate, with its folds and their average."""
    rows = data.rows
    figure = canvas.figure(theme, 1.15 + 0.26 * len(rows) + (0.25 if data.heading else 0.0))
    axes = figure.add_subplot()
    for y, row in enumerate(rows):
        _row(axes, y, row, theme)
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
    handles = _handles(rows, context.comparison.legend, theme)
    canvas.legend(axes, theme, handles, loc="lower right", bbox_to_anchor=(1.0, 1.0))
    if data.heading is not None:
        canvas.heading(figure, theme, data.heading)
    return figure


def _row(axes: Any, y: int, row: ScoreRow, theme: Theme) -> None:
    colour = theme.best if row.best else theme.alike if row.alike else theme.other
    if row.folds:
        axes.plot([min(row.folds), max(row.folds)], [y, y], color=colour, linewidth=1, alpha=0.6)
        axes.plot(row.folds, [y] * len(row.folds), "o", color=colour, markersize=3.5, alpha=0.8)
    axes.plot([row.average], [y], **marker(theme, best=row.best, alike=row.alike))


def marker(theme: Theme, *, best: bool = False, alike: bool = False) -> Any:
    """Diamond for the best, full circle if indistinct, else empty circle."""
    colour = theme.best if best else theme.alike if alike else theme.other
    return {
        "marker": "D" if best else "o",
        "color": colour,
        "markersize": 8 if best else 7,
        "markerfacecolor": colour if best or alike else theme.page,
        "markeredgecolor": colour,
        "linestyle": "none",
    }


def _handles(rows: tuple[ScoreRow, ...], alike: str, theme: Theme) -> list[Any]:
    """Legend of the markers in the figure."""
    handles = []
    if any(row.best for row in rows):
        handles.append(Line2D([], [], label="best", **marker(theme, best=True)))
    if any(row.alike for row in rows):
        handles.append(Line2D([], [], label=alike, **marker(theme, alike=True)))
    if any(not row.best and not row.alike for row in rows):
        handles.append(Line2D([], [], label="other", **marker(theme)))
    if any(len(row.folds) > 1 for row in rows):
        fold: Any = {"marker": "o", "linestyle": "none", "markersize": 3.5, "color": theme.quiet}
        handles.append(Line2D([], [], label="score of a fold", **fold))
    return handles


def params(data: Params, context: SearchContext, theme: Theme) -> Any:
    """A panel for each param, on one scale of scores."""
    across = min(len(data.panels), 2)
    rows = [data.panels[i : i + across] for i in range(0, len(data.panels), across)]
    heights = [2.7 + max(_labels_height(panel) for panel in row) for row in rows]
    figure = canvas.figure(theme, sum(heights) + 0.2)
    grid = figure.subplots(
        len(rows), across, sharey=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    panels = list(grid.flat)
    for axes, panel in zip(panels, data.panels, strict=False):
        _panel(axes, panel, theme)
    for axes in panels[len(data.panels) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel(theme.text(context.metric, _METRIC))
    point: Any = {"color": theme.other, "marker": "o", "linestyle": "none", "markersize": 4}
    handles = [
        Line2D([], [], color=theme.alike, linewidth=2, label="mean"),
        Line2D([], [], label="candidate", **point),
        Line2D([], [], label="best", **marker(theme, best=True)),
    ]
    canvas.legend(panels[0], theme, handles)
    return figure


def _panel(axes: Any, panel: Panel, theme: Theme) -> None:
    canvas.dress(axes, theme, grid="y")
    others = _thinned([point for point in panel.points if not point.best])
    axes.plot(
        [point.x for point in others],
        [point.score for point in others],
        "o",
        color=theme.other,
        markersize=4,
        alpha=0.75 if len(others) <= 100 else 0.35,
        markeredgewidth=0,
    )
    if panel.kind == "log":
        canvas.make_logarithmic(axes)
    if panel.trend:
        axes.plot(*zip(*panel.trend, strict=True), "-", color=theme.alike, linewidth=2)
    apart = [
        (x, mean)
        for x, mean, level in zip(panel.positions, panel.means, panel.levels, strict=True)
        if mean is not None and level.number is None
    ]
    if apart:
        axes.plot(*zip(*apart, strict=True), "_", color=theme.alike, markersize=22, mew=2)
    for point in panel.points:
        if point.best:
            axes.plot([point.x], [point.score], **marker(theme, best=True))
    positions, levels = _labelled(panel)
    if levels:
        turned = _is_crowded(levels)
        labels = [theme.text(level.short, _LABEL if turned else 20) for level in levels]
        canvas.x_labels(axes, positions, labels, turned=turned)
    axes.set_xlabel(theme.text(panel.key))
    axes.margins(x=0.08, y=0.08)


def _thinned(points: list[ParamPoint]) -> list[ParamPoint]:
    """Drop overlapping points if there are many."""
    if len(points) <= _MANY_POINTS:
        return points
    low, high = min(each.score for each in points), max(each.score for each in points)
    step = (high - low) / 120 or 1.0
    return list({(each.x, round((each.score - low) / step)): each for each in points}.values())


def _labels_height(panel: Panel) -> float:
    """Extra height in inches of turned labels."""
    _, levels = _labelled(panel)
    if not levels or not _is_crowded(levels):
        return 0.0
    return canvas.turned_height(formatting.fit_width(level.short, _LABEL) for level in levels)


def _labelled(panel: Panel) -> tuple[list[float], list[Level]]:
    """Positions and levels to label; matplotlib labels many numbers itself."""
    positions, levels = list(panel.positions), list(panel.levels)
    is_numeric = panel.kind in ("numeric", "log")
    if is_numeric and len(positions) > _MAX_LABELS:
        if not any(level.number is None for level in levels):
            return [], []
        positions, levels = positions[-1:], levels[-1:]
    if is_numeric:
        positions, levels = _without_overlaps(positions, levels, log=panel.kind == "log")
    step = max(1, -(-len(positions) // _MAX_LABELS))
    return positions[::step], levels[::step]


def _is_crowded(levels: list[Level]) -> bool:
    """Whether labels overlap unless turned."""
    longest = max(formatting.display_width(level.short) for level in levels)
    return min(longest, _LABEL) * len(levels) > 44


def _without_overlaps(
    positions: list[float], levels: list[Level], *, log: bool
) -> tuple[list[float], list[Level]]:
    """Choose ticks whose labels do not overlap, from the largest down."""
    places = [math.log(each) if log else each for each in positions]
    span = places[-1] - places[0]
    kept: list[int] = []
    for i in reversed(range(len(places))):
        room = 0.02 * (1 + formatting.display_width(levels[i].short))
        if not kept or places[kept[-1]] - places[i] >= room * span:
            kept.append(i)
    return [positions[i] for i in kept], [levels[i] for i in kept]
