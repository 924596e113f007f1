"""Empty figures and axes in the colours of a theme."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from trackmllib.reporting.plotting import export
from trackmllib.reporting.plotting.theme import SMALL, Theme
from trackmllib.support import formatting

WIDTH = 8.0
# Beside the axes are their labels.
_LEGEND_SHARE = 0.9


class NotebookFigure(Figure):
    """Figure that a notebook shows even if pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        return export.png(self)


def figure(theme: Theme, height: float) -> Figure:
    """Empty figure of this height in inches."""
    kind = Figure if theme.any_glyph else NotebookFigure
    return kind(
        figsize=(WIDTH, height), layout="constrained", facecolor=theme.page, edgecolor=theme.page
    )


def dress(axes: Any, theme: Theme, *, grid: str | None = "both") -> None:
    """Apply the theme to axes, with a grid behind the data."""
    axes.set_facecolor(theme.page)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.line)
        spine.set_linewidth(0.8)
    axes.tick_params(colors=theme.quiet, labelcolor=theme.ink, length=3, width=0.8, which="both")
    axes.minorticks_off()
    for part in (axes.xaxis.label, axes.yaxis.label, axes.title):
        part.set_color(theme.ink)
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_offset_text().set_color(theme.quiet)
    if grid is not None:
        axes.grid(True, axis=grid, color=theme.line, linewidth=0.6)
        axes.set_axisbelow(True)


def make_logarithmic(axes: Any) -> None:
    """Make the x axis logarithmic, with plain numbers as labels."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def x_labels(axes: Any, positions: Iterable[float], labels: list[str], *, turned: bool) -> None:
    """Label the x axis, turned by 35 degrees if labels would overlap."""
    axes.set_xticks(
        positions,
        labels=labels,
        rotation=35 if turned else 0,
        ha="right" if turned else "center",
        rotation_mode="anchor" if turned else "default",
    )


def turned_height(labels: Iterable[str]) -> float:
    """Height in inches of turned labels."""
    return 0.045 * max(map(formatting.display_width, labels), default=0)


def heading(figure: Any, theme: Theme, text: str) -> None:
    """Add a line of text at the top of a figure."""
    figure.suptitle(
        theme.text(text, 100), x=0.01, ha="left", fontsize=SMALL, color=theme.quiet, weight="normal"
    )


def legend(axes: Any, theme: Theme, handles: Any, **place: Any) -> None:
    """Add a legend without a frame, above the axes by default; in two columns if it is wide."""
    for columns in (len(handles), 2):
        drawn = axes.legend(
            handles=handles,
            frameon=False,
            labelcolor=theme.ink,
            fontsize=SMALL,
            handletextpad=0.4,
            columnspacing=1.2,
            borderaxespad=0.3,
            **{"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncol": columns, **place},
        )
        if drawn.get_window_extent().width <= _LEGEND_SHARE * axes.figure.bbox.width:
            break
