"""Figures as files: a PNG, and an SVG to put into a page, whose colours are the page's own."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import fields
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG

from trackmllib.view.drawing.look import MISSING, PLACEHOLDERS, style

DPI = 144

# Characters that XML 1.0 does not allow, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONG_NUMBER = re.compile(r"(\.\d\d)\d+")
_URL = re.compile(r"url\(#([^)]+)\)")
_FONT_FAMILY = re.compile(r"font-family:[^;]*;?")
_FONT = re.compile(r"font: ([\d.]+px) [^;]*")
_VARIABLES = {
    colour: each.name.replace("_", "-")
    for each in fields(PLACEHOLDERS)
    if isinstance(colour := getattr(PLACEHOLDERS, each.name), str)
}
_COLOUR = re.compile("|".join(_VARIABLES))


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
    # For texts that do not pass through Look.text.
    root = ElementTree.fromstring(_NOT_XML.sub(MISSING, buffer.getvalue()))
    _fit_into_page(root, name)
    shown = {"role": "img", "aria-label": _NOT_XML.sub(MISSING, alternative)}
    root.attrib = {**shown, "viewBox": root.get("viewBox", "")}
    return ElementTree.tostring(root, encoding="unicode")


def _fit_into_page(root: ElementTree.Element, name: str) -> None:
    """Remove what a page does not need or has elsewhere, without a change of the texts."""
    parents = list(root.iter())
    for parent in parents:
        for child in list(parent):
            # A style of matplotlib's would apply to the whole page.
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    elements = list(root.iter())
    for element in elements:
        element.tag = _local(element.tag)
        element.attrib = {_local(key): value for key, value in element.items()}
        for key, value in element.items():
            element.set(key, _attribute(key, value, name))
        if element.get("transform", "").startswith(("rotate(0 ", "rotate(-0 ")):
            del element.attrib["transform"]
        if element.get("style") == "":
            del element.attrib["style"]
        if element.tag != "text":
            element.text = _layout(element.text)
        element.tail = _layout(element.tail)
    # Groups are numbered alike in each figure; only what is referred to needs its id.
    used = {
        each
        for element in elements
        for key, value in element.items()
        for each in _references(key, value)
    }
    for element in elements:
        if "id" in element.attrib and element.attrib["id"] not in used:
            del element.attrib["id"]


def _attribute(key: str, value: str, name: str) -> str:
    """An attribute for the page: ids of this figure, the font and the colours of the page.

    Coordinates have two decimals, which halves the size of a page.
    """
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return value.replace("#", f"#{name}-", 1)
    if key in ("d", "x", "y", "transform"):
        return _LONG_NUMBER.sub(r"\1", value).replace("\n", " ")
    value = value.replace("url(#", f"url(#{name}-")
    if key == "style":
        value = _FONT.sub(r"font-size: \1", _FONT_FAMILY.sub("", value)).strip()
    return _COLOUR.sub(lambda found: f"var(--{_VARIABLES[found[0]]})", value)


def _references(key: str, value: str) -> list[str]:
    return [value[1:]] if key == "href" else _URL.findall(value)


def _local(name: str) -> str:
    """A name without its namespace, because HTML has none."""
    return name.rpartition("}")[2]


def _layout(text: str | None) -> str:
    """The line break between two elements."""
    return "\n" if text else ""
