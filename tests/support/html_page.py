"""A page of HTML, parsed strictly."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br", "path", "use", "link", "input", "img", "hr"}


class HtmlPage(HTMLParser):
    """The elements of a page, and whether they are closed in the order in which they open."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.texts = []
        self.open = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())
