"""The report: what is in it, that it needs nothing else, and that nothing of a user's breaks it."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tables import FAILURE, grid, searched
from trackmllib.names import GridNames
from trackmllib.recorder import files
from trackmllib.view import draw, extras, report
from trackmllib.view.figures.basis import Basis
from trackmllib.view.results import Results
from trackmllib.view.runs import Runs

NAN = math.nan
VOID = {"meta", "br", "path", "use", "link", "input", "img", "hr"}


class Page(HTMLParser):
    """The elements of a page, and whether they are closed in the order in which they open."""

    def __init__(self, text):
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


def small(**changes):
    maps = grid(maxDepth=[2, 4, 8], maxBins=[8, 16, 32], impurity=["gini", "entropy"])
    rows = [
        [0.7 + m["maxDepth"] / 100 + m["maxBins"] / 5000 + fold / 200 for fold in range(3)]
        for m in maps
    ]
    return searched(maps, rows, seconds=[m["maxDepth"] / 4 for m in maps], **changes)


def runs(search, uri="http://localhost:5000"):
    children = {c.index: f"{c.index:032x}" for c in search.description.candidates}
    return Runs(tracking_uri=uri, experiment_id="7", main="f" * 32, children=children)


def made(search, known=None):
    return report.html(Results(search, lambda: known or Runs()))


def test_the_first_thing_to_read_is_the_answer():
    page = Page(made(small()))
    found = re.search(
        "maxDepth=8, maxBins=32, impurity=gini is best, as one of 2: .* Spark takes the first one",
        page.text,
    )
    assert found
    assert page.text.index("is best") < page.text.index("How certain is that?")
    assert page.text.index("How certain is that?") < page.text.index("Settings, best first")


def test_all_figures_are_there_with_a_text_for_those_who_do_not_see_them():
    page = Page(made(small()))
    figures = page.all("svg")
    assert len(figures) == 7
    for each in figures:
        assert each["role"] == "img"
        assert len(each["aria-label"]) > 40
    assert len(page.all("figcaption")) == 7


def test_tables_have_heads_and_can_be_sorted_by_key():
    page = Page(made(small(), runs(small())))
    assert len(page.all("table")) == 2
    scopes = {each.get("scope") for each in page.all("th")}
    assert scopes == {"row", "col"}
    buttons = page.all("button")
    assert len(buttons) == len([th for th in page.all("th") if th["scope"] == "col"])
    assert all(each["type"] == "button" for each in buttons)
    assert [th["aria-sort"] for th in page.all("th") if "aria-sort" in th] == ["ascending"]
    assert page.all("html")[0]["lang"] == "en"


def test_the_mark_of_what_is_alike_is_explained_where_it_stands():
    maps = grid(x=[1, 2, 3])
    rows = [[0.50, 0.70, 0.90], [0.501, 0.7005, 0.9015], [0.4499, 0.6501, 0.85]]
    page = Page(made(searched(maps, rows)))
    said = "cannot be told apart from the best"
    assert f"≈ {said}. On paper" in page.text
    assert f"2 ≈ {said} 1" in page.text
    (tag,) = [each for each in page.all("span") if each.get("aria-hidden")]
    assert tag["class"] == "tag"
    assert "≈" not in Page(made(searched(maps[:2], [[0.1, 0.2], [0.8, 0.9]]))).text


def test_nothing_is_loaded_and_only_runs_are_linked():
    text = made(small(), runs(small()))
    page = Page(text)
    for tag, attributes in page.elements:
        for name in ("src", "srcset", "data", "action", "xlink:href"):
            assert name not in attributes, (tag, name)
        href = attributes.get("href", "#")
        assert tag == "a" or href.startswith("#")
    links = page.all("a")
    assert len(links) == 19
    for each in links:
        assert each["href"].startswith("http://localhost:5000/#/experiments/7/runs/")
        assert (each["target"], each["rel"]) == ("_blank", "noopener")
    without = re.sub(r'<a href="http://localhost:5000[^"]*"', "", text)
    assert not re.search(r"https?:|@import|@font-face|//\w+\.\w+/", without)
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", text)


def test_without_an_address_runs_are_named_and_not_linked():
    page = Page(made(small(), runs(small(), uri="sqlite:///here.db")))
    assert page.all("a") == []
    assert "00000000" in page.text


def test_ids_are_there_once_and_found():
    text = made(small())
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="#|url\(#|labelledby=")([^")]+)', text)
    assert used
    assert set(used) <= set(ids)


def test_colours_are_those_of_the_page():
    figures = "".join(re.findall(r"<svg.*?</svg>", made(small()), re.DOTALL))
    assert not re.search(r"#[0-9a-f]{6}\b", figures)
    variables = set(re.findall(r"var\((--[\w-]+)\)", figures))
    style = (report.resources.files("trackmllib.view") / "templates/page.css").read_text()
    defined = set(re.findall(r"(--[\w-]+):", style))
    assert variables <= defined


HOSTILE = [
    "<script>alert(1)</script>",
    "\" onmouseover='x' &amp; </svg></table>",
    "emoji 🎉 日本語 עברית $x^2$ \\alpha $",
    "control \x00\x1b[31m\u202e\n\r\tend",
    "long " + "x" * 5000,
]


def hostile_search():
    maps = grid(**{"a\"<b>'&": HOSTILE, "name" * 60: ["{{ 1 }}", "{% raw %}"], "z": [1, 2]})
    rows = [[i / 100, i / 90, i / 95] for i in range(len(maps))]
    return searched(maps, rows, metric="<i>$m$</i>\n")


def test_whatever_stands_in_params_is_text():
    text = made(hostile_search())
    page = Page(text)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"i", "b"}
    assert len(page.all("script")) == 1
    assert not any(name.startswith("on") for _, each in page.elements for name in each)
    assert "alert(1)" in page.text
    assert "🎉 日本語" in text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", text)
    assert "x" * 5000 in text  # in a title; what is seen is cut
    assert "x" * 300 not in page.text
    assert len(text) < 1_000_000


@pytest.mark.parametrize("kind", report.HEADINGS)
def test_letters_that_the_font_lacks_do_not_warn(kind):
    figure = Results(hostile_search()).plot(kind)
    assert figure._repr_png_().startswith(b"\x89PNG")


CASES = {
    "one candidate": (grid(x=[1]), [[0.5, 0.6]], {}),
    "one param": (grid(x=[1, 2]), [[0.5, 0.6], [0.6, 0.7]], {}),
    "no param": ([{}], [[0.5, 0.6]], {}),
    "one fold": (grid(x=[1, 2], y=[1, 2]), [[0.5], [0.6], [0.7], [0.8]], {"averaged": False}),
    "all NaN": (grid(x=[1, 2]), [[NAN, NAN]] * 2, {}),
    "all equal": (grid(x=[1, 2], y=[1, 2]), [[0.5, 0.5]] * 4, {}),
    "infinite": (grid(x=[1, 2]), [[math.inf, 0.5], [-math.inf, 0.1]], {}),
    "none finished": (grid(x=[1, 2]), [[None, None]] * 2, {"end": FAILURE}),
    "failed": (grid(x=[1, 2]), [[0.5, 0.6], [0.6, None]], {"end": FAILURE}),
    "running": (grid(x=[1, 2]), [[0.5, 0.6], [0.6, None]], {"end": None}),
    "empty": ([], [], {"end": FAILURE}),
}


@pytest.mark.parametrize("case", CASES)
def test_no_figure_is_empty_and_what_is_missing_is_said(case):
    maps, rows, changes = CASES[case]
    search = searched(maps, rows, **changes)
    text = made(search)
    page = Page(text)
    assert page.all("h1")
    for drawn in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        assert drawn.count("<path") + drawn.count("<use") > 3
    if not any(math.isfinite(c.average or NAN) for c in search.candidates.values()):
        drawn = [] if case == "empty" else ["When each cell ran"]
        assert [each["aria-label"].partition(":")[0] for each in page.all("svg")] == drawn
        assert page.text.count("No setting has a score that is a number.") == 6
        assert "What is not shown" in page.text
    elif len(maps) == 1:
        assert "A heatmap takes two params that vary." in page.text
    if case == "all equal":
        assert "All 4 settings have the same score" in page.text
        assert len(page.all("svg")) == 3  # the settings, when they ran, and what they cost
    if case == "one fold":
        assert "one split only" in page.text
        assert "±" not in text.replace("± is", "")


def test_an_error_in_one_figure_does_not_cost_the_others(monkeypatch):
    def broken(basis):
        raise ZeroDivisionError("<b>float division</b>")

    monkeypatch.setitem(draw.DATA, "cost", broken)
    page = Page(made(small()))
    assert len(page.all("svg")) == 6
    missing = page.text.partition("What is not shown")[2]
    assert "Cost against score: an error of trackmllib’s, ZeroDivisionError: <b>float" in missing


def test_a_thousand_candidates_stay_under_three_megabytes():
    maps = grid(a=range(10), b=range(10), c=range(10))
    rows = [[i / 1000, i / 1001, i / 999] for i in range(1000)]
    search = searched(maps, rows, parallelism=8)
    text = made(search, runs(search))
    assert len(text.encode()) < 3_000_000
    assert "The best 50 are shown." in text
    assert len(Page(text).all("tr")) == 1 + 1000 + 4


def test_a_usual_search_stays_under_half_a_megabyte():
    assert len(made(small(), runs(small())).encode()) < 500_000


def test_the_users_settings_of_matplotlib_are_as_they_were():
    before = dict(matplotlib.rcParams)
    made(small())
    Results(small()).plot()
    assert dict(matplotlib.rcParams) == before


def test_the_first_figure_is_a_picture_too():
    assert report.png(Results(small())).startswith(b"\x89PNG")


def test_a_missing_package_is_named_with_what_to_install():
    from trackmllib.errors import DependencyError

    with pytest.raises(DependencyError, match=r'pip install "trackmllib\[report\]"'):
        extras.need(["no_such_package"], "The report")


def written(folder, search, known=None):
    names = GridNames(search.description.candidates)
    (folder / files.SEARCH).write_text(files.search_json(search, names))
    (folder / files.OUTCOME).write_text("".join(files.outcome_json(search)))
    if known is not None:
        (folder / "runs.json").write_text(json.dumps(dataclasses.asdict(known)))


def run(folder):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "trackmllib.report_process", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_process_makes_the_report_from_the_files_of_a_search(tmp_path):
    written(tmp_path, small(), runs(small()))
    done = run(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    page = Page((tmp_path / "report.html").read_text())
    assert len(page.all("svg")) == 7
    assert len(page.all("a")) == 19
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "outcome.json",
        "report.html",
        "report.png",
        "runs.json",
        "search.json",
    ]


def test_a_search_without_a_score_has_a_report_without_a_picture(tmp_path):
    written(tmp_path, searched(grid(x=[1, 2]), [[NAN, NAN]] * 2))
    assert run(tmp_path).returncode == 0
    assert "none is best" in (tmp_path / "report.html").read_text()
    assert not (tmp_path / "report.png").exists()


NASTY = [
    'a id="b',
    'transform="rotate(-0 x" d="1.2345678',
    'xmlns:x="y" xlink:href="#z" url(#w) href="#v',
    "<!-- --> <metadata> <style> ]]> & &amp; &#0; </text>",
    "font-family: serif; font: 9px x; #010203 #010207",
    "\x00\x01\x08\x0b\x1f\x7f\x85",
    "\ud800 \udfff \ufffe \uffff \U0001fffe",
    "\u202e\u2028 'single' \"double\"",
]


def test_svg_is_well_formed_and_shows_value():
    maps = grid(**{'p id="q': NASTY, "z": [1, 2], "w": [1, 2]})
    rows = [[i / 100, i / 90, i / 95] for i in range(len(maps))]
    text = made(searched(maps, rows, metric='m id="n" ]]>'))
    figures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(figures) == len(report.HEADINGS)
    for figure in figures:
        root = ElementTree.fromstring(figure)
        assert root.get("viewBox")
    (first,) = [each for each in figures if "best first" in each]
    shown = {each.text for each in ElementTree.fromstring(first).iter("text")}
    for value in NASTY[:5]:
        assert any(each.startswith(f'p id="q={value}'[:24]) for each in shown)


@given(st.text(st.characters(exclude_categories=()), min_size=1, max_size=20))
@settings(max_examples=8, deadline=None)
@example('a id="b')
@example("\x00\ud800\uffff]]>")
def test_no_value_breaks_a_figure(text):
    maps = grid(**{text: [text, 1]})
    results = Results(searched(maps, [[0.1, 0.2], [0.3, 0.4]], metric=text))
    drawn, _ = draw.svg(Basis(results.search, results.grid), "scores", "heading")
    ElementTree.fromstring(drawn)
