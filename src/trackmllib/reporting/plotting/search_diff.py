"""Drawing of the best candidates of several searches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.lines import Line2D

from trackmllib.reporting.plotting import canvas
from trackmllib.reporting.plotting.theme import Theme, style

MOST = 30
_MARKERS = "osD^vP*X"


@dataclass(frozen=True, kw_only=True)
class DiffRow:
    """One candidate, with its average and standard error in each search."""

    name: str
    best: bool
    scores: tuple[tuple[float | None, float | None], ...]


def figure(lines: Sequence[DiffRow], metric: str, theme: Theme) -> Any:
    """A row for each candidate, with a marker for each search."""
    searches = len(lines[0].scores)
    with style():
        made = canvas.figure(theme, 1.2 + (0.2 + 0.12 * searches) * len(lines))
        axes = made.add_subplot()
        canvas.dress(axes, theme, grid="x")
        handles = []
        for search in range(searches):
            marker = _marker(search, theme)
            shift = 0.5 * (search - (searches - 1) / 2) / searches
            points = [
                (average, y + shift, error or 0.0)
                for y, line in enumerate(lines)
                for average, error in [line.scores[search]]
                if average is not None and math.isfinite(average)
            ]
            axes.errorbar(
                [average for average, _, _ in points],
                [y for _, y, _ in points],
                xerr=[error if math.isfinite(error) else 0 for _, _, error in points],
                elinewidth=1,
                markersize=6,
                **marker,
            )
            handles.append(Line2D([], [], label=f"search {search + 1}", **marker))
        axes.set_yticks(range(len(lines)), labels=[theme.text(line.name) for line in lines])
        axes.tick_params(axis="y", length=0)
        for line, text in zip(lines, axes.get_yticklabels(), strict=True):
            if line.best:
                text.set_fontweight("bold")
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.set_xlabel(theme.text(metric))
        place: Any = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "ncol": min(searches, 6)}
        canvas.legend(axes, theme, handles, **place)
    return made


def _marker(search: int, theme: Theme) -> Any:
    """Marker of a search; colours repeat after four, forms after eight."""
    colours = (theme.alike, theme.best, theme.other, theme.ink)
    colour = colours[search % len(colours)]
    return {
        "marker": _MARKERS[search % len(_MARKERS)],
        "color": colour,
        "markerfacecolor": colour if search % 2 == 0 else theme.page,
        "linestyle": "none",
    }
