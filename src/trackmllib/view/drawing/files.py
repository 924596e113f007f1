"""Figures as files: a PNG, and an SVG to put into a page, whose colours are the page's own."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import fields
from html import escape
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG

from trackmllib.view.drawing.look import PLACEHOLDERS, style

DPI = 144


def png(figure: Any) -> bytes:
    """The figure as a PNG of 144 dots an inch."""
    buffer = io.BytesIO()
    canvas = figure.canvas
    with style():
        try:
            FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=DPI)
        finally:
            figure.set_canvas(canvas)
    return buffer.getvalue()


def svg(figure: Any, name: str, alternative: str) -> str:
    """The figure as an element of a page: text stays text, colours are the CSS variables
    ``--ink``, ``--best`` and so on, ids begin with ``name``, and ``alternative`` says to those who
    do not see it what it shows.
    """
    buffer = io.StringIO()
    with style(), matplotlib.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # The browser sets the text, so what our font lacks is no matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    drawn = buffer.getvalue()
    box = re.search(r'viewBox="([^"]*)"', drawn)
    inner = drawn[drawn.index(">", drawn.index("<svg")) + 1 : drawn.rindex("</svg>")]
    return (
        f'<svg role="img" aria-label="{escape(alternative)}" viewBox="{box[1] if box else ""}">'
        f"{_for_a_page(inner, name)}</svg>"
    )


def _for_a_page(inner: str, name: str) -> str:
    inner = re.sub(r"<metadata>.*?</metadata>", "", inner, flags=re.DOTALL)
    inner = re.sub(r"<!--.*?-->", "", inner, flags=re.DOTALL)
    # A style of matplotlib's would hold for the whole page.
    inner = re.sub(r"<style.*?</style>", "", inner, flags=re.DOTALL)
    inner = re.sub(r' transform="rotate\(-?0 [^"]*"', "", inner)
    inner = re.sub(r' (?:d|x|y|transform)="[^"]*"', _rounded, inner)
    inner = re.sub(r' xmlns(:\w+)?="[^"]*"', "", inner)
    inner = inner.replace("xlink:href=", "href=")
    # Groups are numbered alike in each figure; only what is referred to needs its id.
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', inner))
    inner = re.sub(
        r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", inner
    )
    inner = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", inner)
    inner = re.sub(r"font-family:[^;\"]*;?", "", inner)
    inner = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", inner)
    for each in fields(PLACEHOLDERS):
        colour = getattr(PLACEHOLDERS, each.name)
        if isinstance(colour, str):
            inner = inner.replace(colour, f"var(--{each.name.replace('_', '-')})")
    return re.sub(r"\s*\n\s*", "\n", inner)


def _rounded(attribute: re.Match[str]) -> str:
    """Coordinates to a hundredth of a point, which halves a page."""
    return re.sub(r"(\.\d\d)\d+", r"\1", attribute[0]).replace("\n", " ")
