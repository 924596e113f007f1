"""Draws the candidates with their fold scores, and the score over each param."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.lines import Line2D

from trackmllib.view import words
from trackmllib.view.compared import LEGEND
from trackmllib.view.drawing import look as looks
from trackmllib.view.drawing.look import Look
from trackmllib.view.figures.levels import Level
from trackmllib.view.figures.params import Panel, Params, Point
from trackmllib.view.figures.scores import Row, Scores

_MOST_LABELS = 12
_MANY = 300
# Beside a panel there is room for so many letters.
_MOST_OF_METRIC = 20
_MOST_OF_LABEL = 14


def scores(data: Scores, metric: str, look: Look) -> Any:
    """One line for each candidate: small points are folds, the large one is the average."""
    rows = data.rows
    figure = looks.figure(look, 1.15 + 0.26 * len(rows) + (0.25 if data.head else 0.0))
    axes = figure.add_subplot()
    for y, row in enumerate(rows):
        _row(axes, y, row, look)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), labels=[look.text(row.name) for row in rows])
    looks.dress(axes, look, grid="x")
    axes.tick_params(axis="y", length=0)
    for row, label in zip(rows, axes.get_yticklabels(), strict=True):
        if row.best:
            label.set_color(look.best)
            label.set_fontweight("bold")
    axes.set_xlabel(look.text(metric))
    axes.locator_params(axis="x", nbins=7)
    marks = _score_marks(rows, look)
    looks.legend(axes, look, marks, loc="lower right", bbox_to_anchor=(1.0, 1.0))
    if data.head is not None:
        looks.heading(figure, look, data.head)
    return figure


def _row(axes: Any, y: int, row: Row, look: Look) -> None:
    colour = look.best if row.best else look.alike if row.alike else look.other
    if row.folds:
        axes.plot([min(row.folds), max(row.folds)], [y, y], color=colour, linewidth=1, alpha=0.6)
        axes.plot(row.folds, [y] * len(row.folds), "o", color=colour, markersize=3.5, alpha=0.8)
    axes.plot([row.average], [y], **_mark(row.best, row.alike, look))


def _mark(best: bool, alike: bool, look: Look) -> Any:
    """The best one is a diamond, those like it are full circles, all others are empty ones."""
    colour = look.best if best else look.alike if alike else look.other
    return {
        "marker": "D" if best else "o",
        "color": colour,
        "markersize": 8 if best else 7,
        "markerfacecolor": colour if best or alike else look.page,
        "markeredgecolor": colour,
        "linestyle": "none",
    }


def _score_marks(rows: tuple[Row, ...], look: Look) -> list[Any]:
    marks = []
    if any(row.best for row in rows):
        marks.append(Line2D([], [], label="best", **_mark(True, False, look)))
    if any(row.alike for row in rows):
        marks.append(Line2D([], [], label=LEGEND, **_mark(False, True, look)))
    if any(not row.best and not row.alike for row in rows):
        marks.append(Line2D([], [], label="other", **_mark(False, False, look)))
    if any(len(row.folds) > 1 for row in rows):
        fold: Any = {"marker": "o", "linestyle": "none", "markersize": 3.5, "color": look.quiet}
        marks.append(Line2D([], [], label="score of a fold", **fold))
    return marks


def params(data: Params, metric: str, look: Look) -> Any:
    """A panel for each param, all on the same scale of scores."""
    across = min(len(data.panels), 2)
    down = -(-len(data.panels) // across)
    below = [
        max(_below(panel) for panel in data.panels[i * across : (i + 1) * across])
        for i in range(down)
    ]
    heights = [2.7 + each for each in below]
    figure = looks.figure(look, sum(heights) + 0.2)
    grid = figure.subplots(
        down, across, sharey=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    cells = [axes for row in grid for axes in row]
    for axes, panel in zip(cells, data.panels, strict=False):
        _panel(axes, panel, look)
    for axes in cells[len(data.panels) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel(look.text(metric, _MOST_OF_METRIC))
    handles = [
        Line2D([], [], color=look.alike, linewidth=2, label="mean"),
        Line2D(
            [], [], color=look.other, marker="o", linestyle="none", markersize=4, label="setting"
        ),
        Line2D([], [], label="best", **_mark(True, False, look)),
    ]
    looks.legend(cells[0], look, handles)
    return figure


def _panel(axes: Any, panel: Panel, look: Look) -> None:
    looks.dress(axes, look, grid="y")
    others = _apart_points([point for point in panel.points if not point.best])
    alpha = 0.75 if len(others) <= 100 else 0.35
    axes.plot(
        [point.x for point in others],
        [point.score for point in others],
        "o",
        color=look.other,
        markersize=4,
        alpha=alpha,
        markeredgewidth=0,
    )
    known = [
        (x, mean, level.number is not None)
        for x, mean, level in zip(panel.positions, panel.means, panel.levels, strict=True)
        if mean is not None
    ]
    if panel.kind == "log":
        looks.logarithmic(axes)
    if panel.trend:
        axes.plot(*zip(*panel.trend, strict=True), "-", color=look.alike, linewidth=2)
    apart = [(x, mean) for x, mean, is_number in known if not is_number]
    if apart:
        axes.plot(*zip(*apart, strict=True), "_", color=look.alike, markersize=22, mew=2)
    for point in panel.points:
        if point.best:
            axes.plot([point.x], [point.score], **_mark(True, False, look))
    _ticks(axes, panel, look)
    axes.set_xlabel(look.text(panel.key))
    axes.margins(x=0.08, y=0.08)


def _apart_points(points: list[Point]) -> list[Point]:
    """Of very many points only those that do not lie on one another."""
    if len(points) <= _MANY:
        return points
    low, high = min(each.score for each in points), max(each.score for each in points)
    step = (high - low) / 120 or 1.0
    return list({(each.x, round((each.score - low) / step)): each for each in points}.values())


def _ticks(axes: Any, panel: Panel, look: Look) -> None:
    positions, levels = _labelled(panel)
    if not levels:
        return
    crowded = _is_crowded(levels)
    limit = _MOST_OF_LABEL if crowded else 20
    axes.set_xticks(
        positions,
        labels=[look.text(level.short, limit) for level in levels],
        rotation=35 if crowded else 0,
        ha="right" if crowded else "center",
        rotation_mode="anchor" if crowded else "default",
    )


def _below(panel: Panel) -> float:
    """How many inches its labels need beyond those of usual ones."""
    _, levels = _labelled(panel)
    if not levels or not _is_crowded(levels):
        return 0.0
    return looks.tick_height(words.fitted(level.short, _MOST_OF_LABEL) for level in levels)


def _labelled(panel: Panel) -> tuple[list[float], list[Level]]:
    """The values themselves, of many numbers only some; none where the axis says them."""
    positions, levels = list(panel.positions), list(panel.levels)
    if len(positions) > _MOST_LABELS and panel.kind in ("numeric", "log"):
        if not any(level.number is None for level in levels):
            return [], []
        positions, levels = positions[-1:], levels[-1:]
    if panel.kind in ("numeric", "log"):
        positions, levels = _apart(positions, levels, log=panel.kind == "log")
    step = max(1, -(-len(positions) // _MOST_LABELS))
    return positions[::step], levels[::step]


def _is_crowded(levels: list[Level]) -> bool:
    """Whether the labels run into one another unless they are turned."""
    longest = max(words.cells(level.short) for level in levels)
    return min(longest, _MOST_OF_LABEL) * len(levels) > 44


def _apart(
    positions: list[float], levels: list[Level], *, log: bool
) -> tuple[list[float], list[Level]]:
    """Those of the ticks whose labels do not run into one another, from the largest down."""
    places = [math.log(each) if log else each for each in positions]
    span = places[-1] - places[0]
    kept: list[int] = []
    for i in reversed(range(len(places))):
        room = 0.02 * (1 + words.cells(levels[i].short))
        if not kept or places[kept[-1]] - places[i] >= room * span:
            kept.append(i)
    return [positions[i] for i in kept], [levels[i] for i in kept]
