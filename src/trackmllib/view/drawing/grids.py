"""Draws heatmaps, parallel coordinates, and what drives the score."""

from __future__ import annotations

from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from trackmllib.view import words
from trackmllib.view.compared import LEGEND
from trackmllib.view.drawing import look as looks
from trackmllib.view.drawing.look import Look
from trackmllib.view.figures.importance import Importance, label
from trackmllib.view.figures.pairs import Heatmap, Heatmaps
from trackmllib.view.figures.parallel import Line, Parallel

_MOST_SHARES = 12
# How many letters are as wide as half a figure and as a whole one.
_NARROW, _WIDE = 46, 105
# How many letters wide a label of a row or column may be.
_LABEL = 18


def heatmaps(data: Heatmaps, metric: str, places: int, look: Look) -> Any:
    """A map for each pair: the stronger the colour the larger the score, which stands in it."""
    narrow = len(data.maps) > 1 and all(_length(each, places) <= _NARROW for each in data.maps)
    across = 2 if narrow else 1
    down = -(-len(data.maps) // across)
    rows = [data.maps[i * across : (i + 1) * across] for i in range(down)]
    wide = across == 1
    heights = [max(_height(each, wide) for each in row) for row in rows]
    figure = looks.figure(look, sum(heights) + 0.3)
    grid = figure.subplots(down, across, squeeze=False, gridspec_kw={"height_ratios": heights})
    cells = [axes for row in grid for axes in row]
    for axes, each in zip(cells, data.maps, strict=False):
        _heatmap(axes, each, data, places, look, wide=wide)
    for axes in cells[len(data.maps) :]:
        axes.set_visible(False)
    looks.heading(
        figure,
        look,
        f"mean {words.fitted(metric, 28)}, the stronger the colour the larger; "
        "the frame marks the best setting",
    )
    return figure


def _height(data: Heatmap, wide: bool) -> float:
    below = looks.tick_height(_labels(data)) if _is_crowded(data, wide) else 0.0
    return 0.9 + 0.36 * len(data.rows) + below


def _labels(data: Heatmap) -> list[str]:
    return [words.fitted(text, _LABEL) for text in data.columns]


def _is_crowded(data: Heatmap, wide: bool) -> bool:
    """Whether the labels of the columns run into one another unless they are turned."""
    return len(data.columns) * max(map(words.cells, _labels(data))) > (76 if wide else 36)


def _length(data: Heatmap, places: int) -> int:
    """How many letters wide a map is if each field holds its number."""
    numbers = [words.number(mean, places) for row in data.means for mean in row if mean is not None]
    longest = max(len(number) for number in numbers)
    return max(min(words.cells(text), _LABEL) for text in data.rows) + len(data.columns) * (
        longest + 1
    )


def _heatmap(
    axes: Any, data: Heatmap, scale: Heatmaps, places: int, look: Look, *, wide: bool
) -> None:
    looks.dress(axes, look, grid=None)
    span = (scale.high - scale.low) or 1.0
    fits = _length(data, places) <= _WIDE
    for y, row in enumerate(data.means):
        for x, mean in enumerate(row):
            if mean is None:
                continue
            # No field so dark that the number in it cannot be read in the ink of the page.
            strength = 0.05 + 0.55 * (mean - scale.low) / span
            axes.add_patch(
                Rectangle(
                    (x - 0.5, y - 0.5),
                    1,
                    1,
                    facecolor=look.heat,
                    alpha=round(strength, 2),
                    edgecolor="none",
                )
            )
            if fits:
                axes.text(
                    x,
                    y,
                    words.number(mean, places),
                    ha="center",
                    va="center",
                    fontsize=looks.SMALL,
                    color=look.ink,
                )
    if data.best is not None:
        y, x = data.best
        axes.add_patch(
            Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor=look.best, linewidth=2.5)
        )
    axes.set_xlim(-0.52, len(data.columns) - 0.48)
    axes.set_ylim(-0.52, len(data.rows) - 0.48)
    crowded = _is_crowded(data, wide)
    axes.set_xticks(
        range(len(data.columns)),
        labels=[look.text(text, _LABEL) for text in data.columns],
        rotation=35 if crowded else 0,
        ha="right" if crowded else "center",
        rotation_mode="anchor" if crowded else "default",
    )
    axes.set_yticks(range(len(data.rows)), labels=[look.text(text, _LABEL) for text in data.rows])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(look.text(data.x))
    axes.set_ylabel(look.text(data.y, 6 + 5 * len(data.rows)))


def parallel(data: Parallel, metric: str, places: int, look: Look) -> Any:
    """An axis for each param, and the score as the last one."""
    figure = looks.figure(look, 4.0)
    axes = figure.add_subplot()
    looks.dress(axes, look, grid=None)
    _quiet_lines(axes, data, look)
    for line in data.lines:
        if line.alike and not line.best:
            axes.plot(range(len(line.places)), line.places, "-", color=look.alike, linewidth=1.2)
    for line in data.lines:
        if line.best:
            _best_line(axes, line, look)
    count = len(data.axes) + 1
    for x in range(count):
        axes.axvline(x, color=look.quiet, linewidth=1, zorder=3)
    for x, axis in enumerate(data.axes):
        for y, text in axis.ticks:
            _tick(axes, x, y, look.text(text), look)
    for y, score in ((0.0, data.low), (1.0, data.high)):
        _tick(axes, count - 1, y, words.number(score, places), look)
    names = [look.text(axis.key, 16) for axis in data.axes]
    axes.set_xticks(range(count), labels=[*names, look.text(metric, 18)])
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.set_xlim(-0.1, count - 1 + 0.45)
    axes.set_ylim(-0.06, 1.06)
    for spine in axes.spines.values():
        spine.set_visible(False)
    handles = [Line2D([], [], color=look.best, linewidth=3, marker="D", label="best")]
    marked = sum(line.alike for line in data.lines)
    if marked:
        few = "" if marked == data.indistinct else f" (the first {marked} of {data.indistinct:,})"
        handles.append(Line2D([], [], color=look.alike, linewidth=1.2, label=LEGEND + few))
    handles.append(Line2D([], [], color=look.other, linewidth=0.7, label="other"))
    looks.legend(axes, look, handles)
    return figure


def _quiet_lines(axes: Any, data: Parallel, look: Look) -> None:
    """All others, as one line with breaks: thousands of them are drawn at the cost of one."""
    xs: list[float] = []
    ys: list[float] = []
    for line in data.lines:
        if not line.best and not line.alike:
            xs += [*range(len(line.places)), float("nan")]
            ys += [*line.places, float("nan")]
    alpha = 0.6 if len(data.lines) <= 60 else 0.25
    axes.plot(xs, ys, "-", color=look.other, linewidth=0.7, alpha=alpha)


def _best_line(axes: Any, line: Line, look: Look) -> None:
    axes.plot(
        range(len(line.places)),
        line.places,
        "-",
        marker="D",
        markersize=6,
        color=look.best,
        linewidth=3,
        zorder=4,
    )


def _tick(axes: Any, x: float, y: float, text: str, look: Look) -> None:
    axes.text(
        x + 0.04,
        y,
        text,
        fontsize=looks.SMALL,
        color=look.ink,
        va="center",
        ha="left",
        zorder=5,
        bbox={"facecolor": look.page, "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
    )


def importance(data: Importance, look: Look) -> Any:
    """Bars of shares, params full and pairs hatched, and what is left over."""
    shares = [each for each in data.shares if each.share >= 0.001][:_MOST_SHARES]
    singles = [each for each in data.shares if len(each.params) == 1]
    shares = shares or singles[:1]
    bars = [(label(each.params), each.share, len(each.params) > 1) for each in shares]
    rest = 1.0 - sum(share for _, share, _ in bars)
    if rest > 0.001:
        bars.append(("all else", rest, True))
    figure = looks.figure(look, 0.75 + 0.34 * len(bars))
    axes = figure.add_subplot()
    looks.dress(axes, look, grid="x")
    for y, (_, share, quiet) in enumerate(bars):
        axes.barh(
            y,
            share,
            height=0.62,
            facecolor=look.page if quiet else look.fill,
            edgecolor=look.fill,
            hatch="////" if quiet else None,
            linewidth=1,
        )
        axes.text(
            share + 0.01,
            y,
            words.percent(share),
            va="center",
            fontsize=looks.SMALL,
            color=look.ink,
        )
    axes.set_yticks(range(len(bars)), labels=[look.text(text) for text, _, _ in bars])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlim(0, 1.08)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], labels=["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.set_xlabel("share of the variance of the average scores")
    return figure
