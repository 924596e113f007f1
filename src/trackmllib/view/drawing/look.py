"""How our figures look: colours, fonts and axes, for a page that is light or dark and for paper.

In a report, colours are placeholders that ``files.py`` makes CSS variables of. No pyplot, and
nothing of the user's rcParams is changed: a figure takes its look from here, not from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from trackmllib.view import words

WIDTH = 8.0
FONT = "DejaVu Sans"  # comes with matplotlib
SMALL = 9.0
NORMAL = 10.0
MISSING = "\ufffd"


@dataclass(frozen=True, kw_only=True)
class Look:
    """Colours by what they mean. ``best`` and ``alike`` differ from ``other`` in form as well.

    ``any_glyph``: a browser sets the text, so that it may hold letters that our font lacks.
    """

    ink: str
    quiet: str
    line: str
    page: str
    best: str
    alike: str
    other: str
    fill: str
    heat: str
    any_glyph: bool

    def text(self, text: str, limit: int = 60) -> str:
        """A text as matplotlib takes it: on one line, no wider than so many letters, and no formula
        in it.
        """
        shown = words.fitted(words.visible(text, limit), limit)
        if not self.any_glyph:
            known = _glyphs()
            shown = "".join(each if ord(each) in known else MISSING for each in shown)
        return shown.replace("$", r"\$")


# Of the colours of Okabe and Ito, which people with each colour blindness tell apart.
PAPER = Look(
    ink="#1f2328",
    quiet="#59636e",
    line="#d1d9e0",
    page="#ffffff",
    best="#c44e00",
    alike="#0072b2",
    other="#8c959f",
    fill="#0072b2",
    heat="#0072b3",
    any_glyph=False,
)
# Not one of these is a colour that anybody would choose, so each can be found again in the SVG.
PLACEHOLDERS = Look(
    ink="#010203",
    quiet="#010204",
    line="#010205",
    page="#010206",
    best="#010207",
    alike="#010208",
    other="#010209",
    fill="#01020a",
    heat="#01020b",
    any_glyph=True,
)

_STYLE: dict[str, Any] = {
    "font.family": [FONT],
    "font.size": NORMAL,
    "axes.unicode_minus": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.use_mathtext": False,
    "axes.formatter.limits": (-4, 6),
    "axes.titlesize": NORMAL,
    "axes.labelsize": NORMAL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "axes.grid": False,
    "axes.prop_cycle": matplotlib.rcParamsDefault["axes.prop_cycle"],
    "lines.linewidth": 1.5,
    "lines.linestyle": "-",
    "lines.marker": "None",
    "text.usetex": False,
    "text.parse_math": True,
    "text.hinting": matplotlib.rcParamsDefault["text.hinting"],
    "path.sketch": None,
    "path.effects": [],
    "hatch.linewidth": 0.6,
    "svg.fonttype": "none",
    "savefig.bbox": None,
    "savefig.facecolor": "auto",
    "savefig.edgecolor": "auto",
    "savefig.transparent": False,
}


@contextmanager
def style() -> Iterator[None]:
    """Our look instead of the user's rcParams, which are back as they were after it."""
    with matplotlib.rc_context(_STYLE):
        yield


class Shown(Figure):
    """A figure that a notebook shows, also one where pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        from trackmllib.view.drawing.files import png

        return png(self)


def figure(look: Look, height: float, width: float = WIDTH) -> Figure:
    """An empty figure, its size in inches; its parts make room for one another."""
    kind = Figure if look.any_glyph else Shown
    return kind(
        figsize=(width, height), layout="constrained", facecolor=look.page, edgecolor=look.page
    )


def dress(axes: Any, look: Look, *, grid: str | None = "both") -> None:
    """Axes in our colours: a quiet grid behind the data, no frame but left and bottom."""
    axes.set_facecolor(look.page)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(look.line)
        spine.set_linewidth(0.8)
    axes.tick_params(colors=look.quiet, labelcolor=look.ink, length=3, width=0.8, which="both")
    axes.minorticks_off()
    for part in (axes.xaxis.label, axes.yaxis.label, axes.title):
        part.set_color(look.ink)
    for each in (axes.xaxis, axes.yaxis):
        each.get_offset_text().set_color(look.quiet)
    if grid is not None:
        axes.grid(True, axis=grid, color=look.line, linewidth=0.6)
        axes.set_axisbelow(True)


def logarithmic(axes: Any) -> None:
    """A logarithmic x axis whose labels read as numbers: 0.001, not 10 to a power."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def tick_height(labels: Iterable[str]) -> float:
    """How many inches labels take below an axis when they are turned by 35 degrees."""
    return 0.045 * max(map(words.cells, labels), default=0)


def heading(figure: Any, look: Look, text: str) -> None:
    """A quiet line above all of a figure."""
    figure.suptitle(
        look.text(text, 100), x=0.01, ha="left", fontsize=SMALL, color=look.quiet, weight="normal"
    )


def legend(axes: Any, look: Look, handles: Any, **where: Any) -> None:
    """A legend without a frame, above the axes unless told otherwise."""
    place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncol": len(handles), **where}
    axes.legend(
        handles=handles,
        frameon=False,
        labelcolor=look.ink,
        fontsize=SMALL,
        handletextpad=0.4,
        columnspacing=1.2,
        borderaxespad=0.3,
        **place,
    )


@lru_cache(maxsize=1)
def _glyphs() -> frozenset[int]:
    """The characters that our font has."""
    font = font_manager.get_font(font_manager.findfont(FONT))
    return frozenset(font.get_charmap())
