"""Drawings of the figures ``timeline`` and ``cost``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path

from trackmllib.domain.significance import SYMBOL
from trackmllib.reporting.figures.context import SearchContext
from trackmllib.reporting.figures.cost import CostFigure, CostPoint
from trackmllib.reporting.figures.timeline import Timeline
from trackmllib.reporting.plotting import canvas
from trackmllib.reporting.plotting.theme import SMALL, Theme
from trackmllib.support import formatting

_MAX_THREADS = 40
_DASHED = (0, (2, 2))


def timeline(data: Timeline, context: SearchContext, theme: Theme) -> Any:
    """A row for each thread, and below it the forecast by parallelism."""
    rows = min(data.threads, _MAX_THREADS)
    tall = 1.2 + 0.3 * rows
    if len(data.forecast) > 1:
        below = 0.75 + 0.27 * len(data.forecast)
        figure = canvas.figure(theme, tall + below)
        top, bottom = figure.subplots(2, 1, gridspec_kw={"height_ratios": [tall, below]})
        _forecast(bottom, data, theme)
    else:
        figure = canvas.figure(theme, tall)
        top = figure.add_subplot()
    _threads(top, data, context.best, theme, rows)
    return figure


def _threads(axes: Any, data: Timeline, best: int | None, theme: Theme, rows: int) -> None:
    canvas.dress(axes, theme, grid="x")
    bars = [bar for bar in data.bars if bar.thread < rows]
    # Edges would hide thin bars.
    edge = 0.7 if len(bars) <= 300 else 0.0
    failed = [bar for bar in bars if bar.failed]
    fits = [bar for bar in bars if bar.kind == "fit" and not bar.failed]
    kinds = (
        ("fit", [bar for bar in fits if bar.candidate != best], theme.fill, 0.55),
        (
            "fit of the best candidate",
            [bar for bar in fits if bar.candidate == best],
            theme.best,
            1,
        ),
        ("further metrics", [bar for bar in bars if bar.kind == "metrics"], theme.fill, 0.2),
        # Drawn last, because it may be part of a fit.
        ("for several candidates", [bar for bar in bars if bar.kind == "shared"], theme.quiet, 1),
        ("failed", failed, theme.ink, 1),
    )
    handles = []
    for label, shown, colour, alpha in kinds:
        if shown:
            boxes = [(bar.start, bar.end, bar.thread) for bar in shown]
            axes.add_patch(_boxes(boxes, colour, theme.page, edge, alpha))
            handles.append(Patch(facecolor=colour, alpha=alpha, label=label))
    gaps = [(gap.start, gap.end, gap.thread) for gap in data.gaps if gap.thread < rows]
    if gaps:
        patch = _boxes(gaps, theme.page, theme.other, 0.5, 1)
        patch.set_linestyle(_DASHED)
        axes.add_patch(patch)
        handles.append(
            Patch(facecolor=theme.page, edgecolor=theme.other, linestyle=_DASHED, label="idle")
        )
    if data.refit is not None:
        patch = _boxes([(*data.refit, 0)], theme.page, theme.fill, 1, 1)
        patch.set_hatch("////")
        axes.add_patch(patch)
        handles.append(
            Patch(facecolor=theme.page, edgecolor=theme.fill, hatch="////", label="refit")
        )
    for fold, start, _ in data.folds:
        axes.axvline(start, color=theme.quiet, linewidth=1, linestyle=_DASHED)
        if len(data.folds) <= 12:
            axes.text(start, -1.0, f"fold {fold}", fontsize=SMALL, color=theme.quiet, va="top")
    axes.set_xlim(0, data.total * 1.01 or 1)
    axes.set_ylim(rows - 0.4, -1.05)
    axes.set_yticks(range(rows), labels=[f"thread {number}" for number in range(rows)])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("seconds since the search began")
    canvas.legend(axes, theme, handles)


def _boxes(
    boxes: Iterable[tuple[float, float, int]], colour: str, edge: str, width: float, alpha: float
) -> PathPatch:
    """Draw bars as one path, which keeps the file small."""
    vertices: list[Sequence[float]] = []
    codes: list[Any] = []
    for start, end, thread in boxes:
        low, high = thread - 0.36, thread + 0.36
        vertices += [(start, low), (end, low), (end, high), (start, high), (start, low)]
        codes += [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    return PathPatch(
        Path(vertices, codes), facecolor=colour, edgecolor=edge, linewidth=width, alpha=alpha
    )


def _forecast(axes: Any, data: Timeline, theme: Theme) -> None:
    canvas.dress(axes, theme, grid="x")
    longest = max(seconds for _, seconds in data.forecast)
    for y, (parallelism, seconds) in enumerate(data.forecast):
        is_actual = parallelism == data.parallelism
        axes.barh(
            y,
            seconds,
            height=0.62,
            facecolor=theme.fill if is_actual else theme.page,
            edgecolor=theme.fill,
            hatch=None if is_actual else "////",
            alpha=0.55 if is_actual else 1,
        )
        text = formatting.duration(seconds) + (" (actual)" if is_actual else "")
        x = seconds + 0.01 * longest
        axes.text(x, y, text, va="center", fontsize=SMALL, color=theme.ink)
    labels = [f"parallelism={parallelism}" for parallelism, _ in data.forecast]
    axes.set_yticks(range(len(labels)), labels=labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlim(0, longest * 1.2 or 1)
    axes.set_xlabel("seconds for all fits, simulated from their durations")


def cost(data: CostFigure, context: SearchContext, theme: Theme) -> Any:
    """A point for each candidate, and a line through the front."""
    figure = canvas.figure(theme, 3.6)
    axes = figure.add_subplot()
    canvas.dress(axes, theme)
    front = [point for point in data.points if point.front]
    line: Any = {"color": theme.quiet, "linestyle": (0, (4, 2))}
    axes.step(*_coordinates(front), where="post", linewidth=1, **line)
    others = [point for point in data.points if not point.best and not point.instead]
    axes.plot(
        *_coordinates(others),
        "o",
        color=theme.other,
        markersize=5,
        alpha=0.75 if len(others) <= 100 else 0.4,
        markeredgewidth=0,
    )
    diamond: Any = {"marker": "D", "color": theme.best, "markersize": 9, "linestyle": "none"}
    square: Any = {"marker": "s", "color": theme.alike, "markersize": 8, "linestyle": "none"}
    handles = []
    for shown, label, marker in (
        ([point for point in data.points if point.best], "best", diamond),
        (
            [point for point in data.points if point.instead],
            "cheaper, and as good" + (f" or {SYMBOL}" if context.comparison.indistinct else ""),
            square,
        ),
    ):
        if shown:
            axes.plot(*_coordinates(shown), zorder=4, **marker)
            handles.append(Line2D([], [], label=label, **marker))
    handles.append(Line2D([], [], label="no other is cheaper and better", **line))
    seconds = [point.seconds for point in data.points]
    if min(seconds) > 0 and max(seconds) >= 100 * min(seconds):
        canvas.make_logarithmic(axes)
    else:
        axes.set_xlim(left=0, right=max(seconds) * 1.05 or 1)
    axes.set_xlabel(theme.text(data.unit))
    axes.set_ylabel(theme.text(context.metric, 30))
    canvas.legend(axes, theme, handles)
    return figure


def _coordinates(points: Sequence[CostPoint]) -> tuple[list[float], list[float]]:
    return [point.seconds for point in points], [point.score for point in points]
