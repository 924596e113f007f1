"""Colours and fonts of the figures.

The figures neither use nor change pyplot and the user's rcParams.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import matplotlib
from matplotlib import font_manager

from trackmllib.support import formatting

FONT = "DejaVu Sans"  # comes with matplotlib
SMALL = 9.0
NORMAL = 10.0
MISSING = "\ufffd"


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours by meaning; ``best`` and ``alike`` also have their own forms.

    ``any_glyph``: a browser renders texts, with any character.
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

    def text(self, text: str, columns: int = 60) -> str:
        """One line of text for matplotlib, truncated and without formulas."""
        shown = formatting.fit_width(formatting.visible(text, columns), columns)
        if not self.any_glyph:
            known = _glyphs()
            shown = "".join(each if ord(each) in known else MISSING for each in shown)
        return shown.replace("$", r"\$")


# From the palette of Okabe and Ito, which is safe for colour-blind readers.
PAPER = Theme(
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
# Unique colours, which export.py replaces by CSS variables.
PLACEHOLDERS = Theme(
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
    """Context with our rcParams instead of the user's."""
    with matplotlib.rc_context(_STYLE):
        yield


@lru_cache(maxsize=1)
def _glyphs() -> frozenset[int]:
    """Code points of the font."""
    font = font_manager.get_font(font_manager.findfont(FONT))
    return frozenset(font.get_charmap())
