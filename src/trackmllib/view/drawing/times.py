"""Draws the timeline of cells, and cost against score."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path

from trackmllib.view import words
from trackmllib.view.compared import SYMBOL
from trackmllib.view.drawing import look as looks
from trackmllib.view.drawing.look import Look
from trackmllib.view.figures.cost import Cost
from trackmllib.view.figures.timeline import Timeline

_MOST_THREADS = 40


def timeline(data: Timeline, best: int | None, look: Look) -> Any:
    """A row for each thread; below it, what other values of ``parallelism`` could give."""
    shown = min(data.threads, _MOST_THREADS)
    tall = 1.2 + 0.3 * shown
    forecast = data.forecast if len(data.forecast) > 1 else ()
    below = 0.75 + 0.27 * len(forecast) if forecast else 0.0
    figure = looks.figure(look, tall + below)
    if forecast:
        top, bottom = figure.subplots(2, 1, gridspec_kw={"height_ratios": [tall, below]})
        _forecast(bottom, data, look)
    else:
        top = figure.add_subplot()
    _threads(top, data, best, look, shown)
    return figure


def _threads(axes: Any, data: Timeline, best: int | None, look: Look, shown: int) -> None:
    looks.dress(axes, look, grid="x")
    bars = [bar for bar in data.bars if bar.thread < shown]
    # Thin frames would hide cells that are thinner still.
    edge = 0.7 if len(bars) <= 300 else 0.0
    kinds = (
        (
            "cell",
            [bar for bar in bars if bar.candidate != best and not bar.failed],
            look.fill,
            0.55,
        ),
        ("cell of the best setting", [bar for bar in bars if bar.candidate == best], look.best, 1),
        ("failed", [bar for bar in bars if bar.failed and bar.candidate != best], look.ink, 1),
    )
    handles = []
    for label, those, colour, alpha in kinds:
        if those:
            boxes = [(bar.start, bar.end, bar.thread) for bar in those]
            axes.add_patch(_boxes(boxes, colour, look.page, edge, alpha))
            handles.append(Patch(facecolor=colour, alpha=alpha, label=label))
    gaps = [(gap.start, gap.end, gap.thread) for gap in data.gaps if gap.thread < shown]
    if gaps:
        patch = _boxes(gaps, look.page, look.other, 0.5, 1)
        patch.set_linestyle((0, (2, 2)))
        axes.add_patch(patch)
        handles.append(
            Patch(facecolor=look.page, edgecolor=look.other, linestyle=(0, (2, 2)), label="waited")
        )
    if data.refit is not None:
        refit = (*data.refit, 0)
        patch = _boxes([refit], look.page, look.fill, 1, 1)
        patch.set_hatch("////")
        axes.add_patch(patch)
        handles.append(Patch(facecolor=look.page, edgecolor=look.fill, hatch="////", label="refit"))
    for fold, start, _ in data.folds:
        axes.axvline(start, color=look.quiet, linewidth=1, linestyle=(0, (2, 2)))
        if len(data.folds) <= 12:
            axes.text(
                start,
                -1.0,
                f"fold {fold}",
                fontsize=looks.SMALL,
                color=look.quiet,
                va="top",
            )
    axes.set_xlim(0, data.total * 1.01 or 1)
    axes.set_ylim(shown - 0.4, -1.05)
    axes.set_yticks(range(shown), labels=[f"thread {number}" for number in range(shown)])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("seconds since the search began")
    looks.legend(axes, look, handles)


def _boxes(
    boxes: Iterable[tuple[float, float, int]], colour: str, edge: str, width: float, alpha: float
) -> PathPatch:
    """Bars of threads as one path, which takes little room in a file however many there are."""
    vertices: list[Sequence[float]] = []
    codes: list[Any] = []
    for start, end, thread in boxes:
        low, high = thread - 0.36, thread + 0.36
        vertices += [(start, low), (end, low), (end, high), (start, high), (start, low)]
        codes += [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    return PathPatch(
        Path(vertices, codes), facecolor=colour, edgecolor=edge, linewidth=width, alpha=alpha
    )


def _forecast(axes: Any, data: Timeline, look: Look) -> None:
    looks.dress(axes, look, grid="x")
    longest = max(seconds for _, seconds in data.forecast)
    for y, (parallelism, seconds) in enumerate(data.forecast):
        used = parallelism == data.parallelism
        axes.barh(
            y,
            seconds,
            height=0.62,
            facecolor=look.fill if used else look.page,
            edgecolor=look.fill,
            hatch=None if used else "////",
            alpha=0.55 if used else 1,
        )
        text = words.seconds(seconds) + (" (as it was)" if used else "")
        x = seconds + 0.01 * longest
        axes.text(x, y, text, va="center", fontsize=looks.SMALL, color=look.ink)
    labels = [f"parallelism={parallelism}" for parallelism, _ in data.forecast]
    axes.set_yticks(range(len(labels)), labels=labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlim(0, longest * 1.2 or 1)
    axes.set_xlabel("seconds for all cells, as simulated from their times")


def cost(data: Cost, metric: str, look: Look) -> Any:
    """A point for each setting; the line joins those of which none is both cheaper and better."""
    figure = looks.figure(look, 3.6)
    axes = figure.add_subplot()
    looks.dress(axes, look)
    front = [point for point in data.points if point.front]
    axes.step(
        [point.seconds for point in front],
        [point.score for point in front],
        where="post",
        color=look.quiet,
        linewidth=1,
        linestyle=(0, (4, 2)),
    )
    quiet = [point for point in data.points if not point.best and not point.instead]
    axes.plot(
        [point.seconds for point in quiet],
        [point.score for point in quiet],
        "o",
        color=look.other,
        markersize=5,
        alpha=0.75 if len(quiet) <= 100 else 0.4,
        markeredgewidth=0,
    )
    instead = [point for point in data.points if point.instead]
    handles = []
    best: Any = {"marker": "D", "color": look.best, "markersize": 9, "linestyle": "none"}
    square: Any = {"marker": "s", "color": look.alike, "markersize": 8, "linestyle": "none"}
    for point in data.points:
        if point.best:
            axes.plot([point.seconds], [point.score], zorder=4, **best)
            handles.append(Line2D([], [], label="best", **best))
    if instead:
        axes.plot([p.seconds for p in instead], [p.score for p in instead], zorder=4, **square)
        handles.append(Line2D([], [], label=f"cheaper, and as good or {SYMBOL}", **square))
    handles.append(
        Line2D([], [], color=look.quiet, linestyle=(0, (4, 2)), label="none is cheaper and better")
    )
    costs = [point.seconds for point in data.points]
    if min(costs) > 0 and max(costs) >= 100 * min(costs):
        looks.logarithmic(axes)
    else:
        axes.set_xlim(left=0, right=max(costs) * 1.05 or 1)
    axes.set_xlabel(look.text(data.unit))
    axes.set_ylabel(look.text(metric, 30))
    looks.legend(axes, look, handles)
    return figure
