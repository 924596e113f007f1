"""Figures as PNG files, and as SVG elements of a page."""

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

from trackmllib.reporting.plotting.theme import MISSING, PLACEHOLDERS, style

DPI = 144

# Characters that XML 1.0 forbids, even escaped.
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
    """Figure as a PNG of 144 dots per inch."""
    buffer = io.BytesIO()
    canvas = figure.canvas
    with style():
        try:
            FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=DPI)
        finally:
            figure.set_canvas(canvas)
    return buffer.getvalue()


def svg(figure: Any, name: str, alternative: str) -> str:
    """Figure as an SVG element whose colours are CSS variables (``--ink``).

    :param name: Prefix of all ids.
    :param alternative: Text for screen readers.
    """
    buffer = io.StringIO()
    with style(), matplotlib.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # The browser sets the text, so the font may lack glyphs.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    # Not all texts pass through Theme.text.
    root = ElementTree.fromstring(_NOT_XML.sub(MISSING, buffer.getvalue()))
    _fit_into_page(root, name)
    shown = {"role": "img", "aria-label": _NOT_XML.sub(MISSING, alternative)}
    root.attrib = {**shown, "viewBox": root.get("viewBox", "")}
    return ElementTree.tostring(root, encoding="unicode")


def _fit_into_page(root: ElementTree.Element, name: str) -> None:
    """Remove what the page does not need, and rename ids."""
    parents = list(root.iter())
    for parent in parents:
        for child in list(parent):
            # Matplotlib's style element would apply to the whole page.
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
    # Keep the ids that other elements refer to.
    used = {
        each
        for element in elements
        for key, value in element.items()
        for each in ([value[1:]] if key == "href" else _URL.findall(value))
    }
    for element in elements:
        if "id" in element.attrib and element.attrib["id"] not in used:
            del element.attrib["id"]


def _attribute(key: str, value: str, name: str) -> str:
    """Attribute for a page: prefixed ids, its font, colours, two decimals."""
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


def _local(name: str) -> str:
    """Name without its namespace, because HTML has none."""
    return name.rpartition("}")[2]


def _layout(text: str | None) -> str:
    """Line break between two elements."""
    return "\n" if text else ""
