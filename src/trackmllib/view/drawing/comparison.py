"""Draws the best settings of several searches, a mark for each search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.lines import Line2D

from trackmllib.view.drawing import look as looks
from trackmllib.view.drawing.look import Look, style

MOST = 30
_MARKS = "osD^vP*X"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One setting, with average and deviation in each search, None where it was not tried."""

    name: str
    best: bool
    scores: tuple[tuple[float | None, float | None], ...]


def figure(lines: Sequence[Line], metric: str, look: Look) -> Any:
    """A row for each setting: an average with its deviation at both sides, for each search."""
    searches = len(lines[0].scores)
    colours = (look.alike, look.best, look.other, look.ink)
    with style():
        made = looks.figure(look, 1.2 + (0.2 + 0.12 * searches) * len(lines))
        axes = made.add_subplot()
        looks.dress(axes, look, grid="x")
        for search in range(searches):
            colour = colours[search % len(colours)]
            shift = 0.5 * (search - (searches - 1) / 2) / searches
            points = [
                (average, y + shift, deviation or 0.0)
                for y, line in enumerate(lines)
                for average, deviation in [line.scores[search]]
                if average is not None and math.isfinite(average)
            ]
            axes.errorbar(
                [average for average, _, _ in points],
                [y for _, y, _ in points],
                xerr=[deviation if math.isfinite(deviation) else 0 for _, _, deviation in points],
                fmt=_MARKS[search % len(_MARKS)],
                color=colour,
                elinewidth=1,
                markersize=6,
                # With few searches colours differ, with many of them marks still do.
                markerfacecolor=colour if search % 2 == 0 else look.page,
            )
        axes.set_yticks(range(len(lines)), labels=[look.text(line.name) for line in lines])
        axes.tick_params(axis="y", length=0)
        for line, text in zip(lines, axes.get_yticklabels(), strict=True):
            if line.best:
                text.set_fontweight("bold")
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.set_xlabel(look.text(metric))
        handles = [
            Line2D(
                [],
                [],
                marker=_MARKS[search % len(_MARKS)],
                color=colours[search % len(colours)],
                markerfacecolor=colours[search % len(colours)] if search % 2 == 0 else look.page,
                linestyle="none",
                label=f"search {search + 1}",
            )
            for search in range(searches)
        ]
        looks.legend(
            axes, look, handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncol=min(searches, 6)
        )
    return made
