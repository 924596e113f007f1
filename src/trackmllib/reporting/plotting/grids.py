"""Drawings of heatmaps, parallel coordinates and importance."""

from __future__ import annotations

from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from trackmllib.reporting.figures.context import SearchContext
from trackmllib.reporting.figures.importance import Importance, label
from trackmllib.reporting.figures.pairs import Heatmap, Heatmaps
from trackmllib.reporting.figures.parallel import Parallel
from trackmllib.reporting.plotting import canvas
from trackmllib.reporting.plotting.theme import SMALL, Theme
from trackmllib.support import formatting

_MAX_SHARES = 12
# Widths in characters, of half a figure, of a whole one, and of a label.
_NARROW, _WIDE = 46, 105
_LABEL = 18


def heatmaps(data: Heatmaps, context: SearchContext, theme: Theme) -> Any:
    """A heatmap for each pair; larger means have stronger colours."""
    places = context.places
    narrow = len(data.maps) > 1 and all(_length(each, places) <= _NARROW for each in data.maps)
    across = 2 if narrow else 1
    rows = [data.maps[i : i + across] for i in range(0, len(data.maps), across)]
    heights = [max(_height(each, wide=not narrow) for each in row) for row in rows]
    figure = canvas.figure(theme, sum(heights) + 0.3)
    grid = figure.subplots(len(rows), across, squeeze=False, gridspec_kw={"height_ratios": heights})
    panels = list(grid.flat)
    for axes, each in zip(panels, data.maps, strict=False):
        _heatmap(axes, each, data, places, theme, wide=not narrow)
    for axes in panels[len(data.maps) :]:
        axes.set_visible(False)
    canvas.heading(
        figure,
        theme,
        f"mean {formatting.fit_width(context.metric, 28)}, the larger the stronger the colour; "
        "the frame marks the best candidate",
    )
    return figure


def _height(data: Heatmap, *, wide: bool) -> float:
    below = canvas.turned_height(_labels(data)) if _is_crowded(data, wide=wide) else 0.0
    return 0.9 + 0.36 * len(data.rows) + below


def _labels(data: Heatmap) -> list[str]:
    return [formatting.fit_width(text, _LABEL) for text in data.columns]


def _is_crowded(data: Heatmap, *, wide: bool) -> bool:
    """Whether column labels overlap unless turned."""
    widest = max(map(formatting.display_width, _labels(data)))
    return len(data.columns) * widest > (76 if wide else 36)


def _length(data: Heatmap, places: int) -> int:
    """Width in characters of a heatmap with a number in each field."""
    means = [mean for row in data.means for mean in row if mean is not None]
    number = max(len(formatting.number(mean, places)) for mean in means)
    row = max(min(formatting.display_width(text), _LABEL) for text in data.rows)
    return row + len(data.columns) * (number + 1)


def _heatmap(
    axes: Any, data: Heatmap, scale: Heatmaps, places: int, theme: Theme, *, wide: bool
) -> None:
    canvas.dress(axes, theme, grid=None)
    span = (scale.high - scale.low) or 1.0
    has_numbers = _length(data, places) <= _WIDE
    for y, row in enumerate(data.means):
        for x, mean in enumerate(row):
            if mean is None:
                continue
            # At most 0.6, so that the number stays readable.
            strength = 0.05 + 0.55 * (mean - scale.low) / span
            field: Any = {"facecolor": theme.heat, "alpha": round(strength, 2), "edgecolor": "none"}
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, **field))
            if has_numbers:
                text = formatting.number(mean, places)
                axes.text(x, y, text, ha="center", va="center", fontsize=SMALL, color=theme.ink)
    if data.best is not None:
        y, x = data.best
        axes.add_patch(
            Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor=theme.best, linewidth=2.5)
        )
    axes.set_xlim(-0.52, len(data.columns) - 0.48)
    axes.set_ylim(-0.52, len(data.rows) - 0.48)
    columns = [theme.text(text, _LABEL) for text in data.columns]
    canvas.x_labels(axes, range(len(columns)), columns, turned=_is_crowded(data, wide=wide))
    axes.set_yticks(range(len(data.rows)), labels=[theme.text(text, _LABEL) for text in data.rows])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(theme.text(data.x))
    axes.set_ylabel(theme.text(data.y, 6 + 5 * len(data.rows)))


def parallel(data: Parallel, context: SearchContext, theme: Theme) -> Any:
    """An axis for each param, and one for the score."""
    figure = canvas.figure(theme, 4.0)
    axes = figure.add_subplot()
    canvas.dress(axes, theme, grid=None)
    _quiet_lines(axes, data, theme)
    for line in data.lines:
        if line.alike and not line.best:
            axes.plot(range(len(line.places)), line.places, "-", color=theme.alike, linewidth=1.2)
    best: Any = {"color": theme.best, "linewidth": 3, "marker": "D"}
    for line in data.lines:
        if line.best:
            axes.plot(range(len(line.places)), line.places, "-", markersize=6, zorder=4, **best)
    count = len(data.axes) + 1
    for x in range(count):
        axes.axvline(x, color=theme.quiet, linewidth=1, zorder=3)
    for x, axis in enumerate(data.axes):
        for y, text in axis.ticks:
            _tick(axes, x, y, theme.text(text), theme)
    for y, score in ((0.0, data.low), (1.0, data.high)):
        _tick(axes, count - 1, y, context.number(score), theme)
    names = [theme.text(axis.key, 16) for axis in data.axes]
    axes.set_xticks(range(count), labels=[*names, theme.text(context.metric, 18)])
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.set_xlim(-0.1, count - 1 + 0.45)
    axes.set_ylim(-0.06, 1.06)
    for spine in axes.spines.values():
        spine.set_visible(False)
    handles = [Line2D([], [], label="best", **best)]
    marked = sum(line.alike for line in data.lines)
    if marked:
        few = "" if marked == data.indistinct else f" (the first {marked} of {data.indistinct:,})"
        handles.append(
            Line2D([], [], color=theme.alike, linewidth=1.2, label=context.comparison.legend + few)
        )
    handles.append(Line2D([], [], color=theme.other, linewidth=0.7, label="other"))
    canvas.legend(axes, theme, handles)
    return figure


def _quiet_lines(axes: Any, data: Parallel, theme: Theme) -> None:
    """Draw all other lines as one line with gaps, which is fast."""
    xs: list[float] = []
    ys: list[float] = []
    for line in data.lines:
        if not line.best and not line.alike:
            xs += [*range(len(line.places)), float("nan")]
            ys += [*line.places, float("nan")]
    alpha = 0.6 if len(data.lines) <= 60 else 0.25
    axes.plot(xs, ys, "-", color=theme.other, linewidth=0.7, alpha=alpha)


def _tick(axes: Any, x: float, y: float, text: str, theme: Theme) -> None:
    axes.text(
        x + 0.04,
        y,
        text,
        fontsize=SMALL,
        color=theme.ink,
        va="center",
        ha="left",
        zorder=5,
        bbox={"facecolor": theme.page, "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
    )


def importance(data: Importance, context: SearchContext, theme: Theme) -> Any:
    """Bars of shares: params filled, pairs and the rest hatched."""
    shares = [each for each in data.shares if each.share >= 0.001][:_MAX_SHARES]
    shares = shares or [each for each in data.shares if len(each.params) == 1][:1]
    bars = [(label(each.params), each.share, len(each.params) > 1) for each in shares]
    rest = 1.0 - sum(share for _, share, _ in bars)
    if rest > 0.001:
        bars.append(("all else", rest, True))
    figure = canvas.figure(theme, 0.75 + 0.34 * len(bars))
    axes = figure.add_subplot()
    canvas.dress(axes, theme, grid="x")
    for y, (_, share, hatched) in enumerate(bars):
        axes.barh(
            y,
            share,
            height=0.62,
            facecolor=theme.page if hatched else theme.fill,
            edgecolor=theme.fill,
            hatch="////" if hatched else None,
            linewidth=1,
        )
        text = formatting.percent(share)
        axes.text(share + 0.01, y, text, va="center", fontsize=SMALL, color=theme.ink)
    axes.set_yticks(range(len(bars)), labels=[theme.text(text) for text, _, _ in bars])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlim(0, 1.08)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], labels=["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.set_xlabel("share of the variance of the average scores")
    return figure
