"""Content of the report, and hostile values in it."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import subprocess
import sys
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.html_page import HtmlPage
from support.search_descriptions import grid
from support.search_states import FAILURE, searched
from trackmllib.domain.descriptions import FurtherMetric
from trackmllib.recorder import artifacts
from trackmllib.reporting import figure_kinds, optional_packages, report
from trackmllib.reporting.figures.context import SearchContext
from trackmllib.reporting.report_table import table
from trackmllib.reporting.results import Results
from trackmllib.reporting.run_links import RunLinks

pytestmark = [pytest.mark.versions, pytest.mark.slow]

NAN = math.nan


def small_search(**changes):
    maps = grid(maxDepth=[2, 4, 8], maxBins=[8, 16, 32], impurity=["gini", "entropy"])
    rows = [
        [0.7 + m["maxDepth"] / 100 + m["maxBins"] / 5000 + fold / 200 for fold in range(3)]
        for m in maps
    ]
    return searched(maps, rows, seconds=[m["maxDepth"] / 4 for m in maps], **changes)


def run_links(search, uri="http://localhost:5000"):
    children = {c.index: f"{c.index:032x}" for c in search.description.candidates}
    return RunLinks(tracking_uri=uri, experiment_id="7", parent="f" * 32, children=children)


def html_of(search, known=None):
    return report.html(SearchContext(search), known or RunLinks())


def test_report_starts_with_the_answer():
    page = HtmlPage(html_of(small_search()))
    found = re.search(
        "maxDepth=8, maxBins=32, impurity=gini is best, tied with 1 other: .* the first one",
        page.text,
    )
    assert found
    assert page.text.index("is best") < page.text.index("How certain is that?")
    assert page.text.index("How certain is that?") < page.text.index("Candidates, best first")


def test_every_figure_has_an_alternative_text():
    page = HtmlPage(html_of(small_search()))
    figures = page.all("svg")
    assert len(figures) == 7
    for each in figures:
        assert each["role"] == "img"
        assert len(each["aria-label"]) > 40
    assert len(page.all("figcaption")) == 7


def test_tables_have_heads_and_sort_buttons():
    page = HtmlPage(html_of(small_search(), run_links(small_search())))
    assert len(page.all("table")) == 2
    scopes = {each.get("scope") for each in page.all("th")}
    assert scopes == {"row", "col"}
    buttons = page.all("button")
    assert len(buttons) == len([th for th in page.all("th") if th["scope"] == "col"])
    assert all(each["type"] == "button" for each in buttons)
    assert [th["aria-sort"] for th in page.all("th") if "aria-sort" in th] == ["ascending"]
    assert page.all("html")[0]["lang"] == "en"


def test_mark_of_indistinct_candidates_is_explained():
    maps = grid(x=[1, 2, 3])
    rows = [
        [0.50, 0.70, 0.90, 0.40, 0.60],
        [0.501, 0.7005, 0.9015, 0.3995, 0.601],
        [0.4499, 0.6501, 0.85, 0.35, 0.5501],
    ]
    page = HtmlPage(html_of(searched(maps, rows)))
    phrase = "not significantly different from the best (corrected resampled t-test, 5 folds)"
    assert f"≈ {phrase}. On paper" in page.text
    assert f"2 ≈ {phrase} 1" in page.text
    (tag,) = [each for each in page.all("span") if each.get("aria-hidden")]
    assert tag["class"] == "tag"
    differ = [[0.1, 0.2, 0.15, 0.1, 0.2], [0.8, 0.9, 0.85, 0.8, 0.9]]
    assert "≈" not in HtmlPage(html_of(searched(maps[:2], differ))).text


def test_few_folds_have_neither_marks_nor_verdict():
    maps = grid(x=[1, 2, 3])
    rows = [[0.50, 0.70, 0.90], [0.501, 0.7005, 0.9015], [0.4499, 0.6501, 0.85]]
    text = html_of(searched(maps, rows))
    assert "≈" not in text
    page = HtmlPage(text)
    sentence = "A test for significant differences needs at least 5 folds; this search has 3."
    assert page.text.count(sentence) == 1
    assert "significant" not in page.text.replace(sentence, "")
    assert page.text.count("± is the standard error") == 1


def test_report_loads_nothing_and_links_only_runs():
    text = html_of(small_search(), run_links(small_search()))
    page = HtmlPage(text)
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


def test_runs_without_an_address_are_not_linked():
    page = HtmlPage(html_of(small_search(), run_links(small_search(), uri="sqlite:///here.db")))
    assert page.all("a") == []
    assert "00000000" in page.text


def test_ids_are_unique_and_resolve():
    text = html_of(small_search())
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="#|url\(#|labelledby=")([^")]+)', text)
    assert used
    assert set(used) <= set(ids)


def test_figures_use_the_colours_of_the_page():
    figures = "".join(re.findall(r"<svg.*?</svg>", html_of(small_search()), re.DOTALL))
    assert not re.search(r"#[0-9a-f]{6}\b", figures)
    variables = set(re.findall(r"var\((--[\w-]+)\)", figures))
    style = (report.resources.files("trackmllib.reporting") / "templates/page.css").read_text()
    defined = set(re.findall(r"(--[\w-]+):", style))
    assert variables <= defined


def search_with_metrics(**changes):
    maps = grid(x=[1, 2, 3, 4])
    further = {
        "f1": [[0.5, 0.7], [0.8, 0.8], [0.7, 0.7], [NAN, 0.1]],
        "logLoss": [[12.5, 12.5], [30.0, 30.0], [11.0, 11.0], [None, 9.0]],
        "train_weightedPrecision": [[0.9, 0.9], [0.8, 1.0], [1.0, 1.0], [1.0, 1.0]],
    }
    described = [FurtherMetric(name=name, larger_is_better=name != "logLoss") for name in further]
    rows = [[0.9, 0.9], [0.8, 0.8], [0.7, 0.7], [0.6, 0.6]]
    return searched(maps, rows, further=further, further_metrics=tuple(described), **changes)


def test_report_ranks_by_each_further_metric():
    page = HtmlPage(html_of(search_with_metrics()))
    part = page.text.partition("Further metrics")[2].partition("Candidates, best first")[0]
    assert "f1 0.600 ± 0.173 3 of 3 0.8000 ± 0.0000 x=2" in part
    assert "logLoss (smaller is better) 12.50 ± 0.00 2 of 3 11.00 ± 0.00 x=3" in part
    assert "train_weightedPrecision 0.9000 ± 0.0000 3= of 4 1.000 ± 0.000 x=3" in part


def test_table_has_a_sortable_column_for_each_further_metric():
    page = HtmlPage(html_of(search_with_metrics()))
    table = page.text.partition("Click a column head")[2].partition("Notes")[0]
    heads = "weightedPrecision ± f1 logLoss train_weightedPrecision Fold 0 Fold 1 Seconds"
    assert heads in table
    # Their decimals are their own.
    assert re.search(r"1 best 1 0\.900\d* 0\.000\d* 0\.600 12\.50 0\.900\d* ", table)
    assert re.search(r" NaN 1\.000\d* ", table)


def test_printed_page_has_the_first_further_metrics():
    rows = [[0.1, 0.2], [0.3, 0.4]]
    further = {f"metric{i}": rows for i in range(6)}
    columns, found = table(
        SearchContext(searched(grid(x=[1, 2]), rows, further=further)), RunLinks()
    )
    shown = [column.on_paper for column in columns if column.text.startswith("metric")]
    assert shown == [True] * 4 + [False] * 2
    assert [field.on_paper for field in found[0].fields] == [each.on_paper for each in columns]


def test_figure_of_training_scores_is_drawn_if_there_are_any():
    page = HtmlPage(html_of(search_with_metrics()))
    assert "Training against validation score" in page.text
    # Nobody asked for it, so that it is not missing.
    assert "Training" not in HtmlPage(html_of(small_search())).text
    assert "urther metric" not in HtmlPage(html_of(small_search())).text


def test_report_of_metrics_that_no_candidate_has():
    maps, rows = grid(x=[1, 2]), [[0.5, 0.6], [0.6, None]]
    further = {"f1": [[None, None]] * 2, "train_weightedPrecision": [[None, None]] * 2}
    page = HtmlPage(html_of(searched(maps, rows, further=further, end=FAILURE)))
    assert "Further metrics" not in page.text
    assert "No candidate has both a training and a validation score." in page.text


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
    metric = "<i>$m$</i>\n"
    further = {f"train_{metric}": rows, "\" onclick='<u>{{ 1 }}\x1b" + "w" * 5000: rows}
    return searched(maps, rows, metric=metric, further=further)


def test_hostile_values_are_escaped():
    text = html_of(hostile_search())
    page = HtmlPage(text)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"i", "b", "u"}
    assert len(page.all("script")) == 1
    assert not any(name.startswith("on") for _, each in page.elements for name in each)
    assert "alert(1)" in page.text
    assert "🎉 日本語" in text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", text)
    assert "x" * 5000 in text  # in a title; the visible text is truncated
    assert "x" * 300 not in page.text
    assert len(text) < 1_000_000


@pytest.mark.parametrize("kind", report.HEADINGS)
def test_missing_glyphs_do_not_warn(kind):
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
def test_no_figure_is_empty_and_missing_ones_are_explained(case):
    maps, rows, changes = CASES[case]
    search = searched(maps, rows, **changes)
    text = html_of(search)
    page = HtmlPage(text)
    assert page.all("h1")
    for drawn in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        assert drawn.count("<path") + drawn.count("<use") > 3
    if not any(math.isfinite(c.average or NAN) for c in search.candidates.values()):
        drawn = [] if case == "empty" else ["When each fit ran"]
        assert [each["aria-label"].partition(":")[0] for each in page.all("svg")] == drawn
        assert page.text.count("No candidate has a score that is a number.") == 6
        assert "What is not shown" in page.text
    elif len(maps) == 1:
        assert "A heatmap takes two params that vary." in page.text
    if case == "all equal":
        assert "All 4 candidates have the same score" in page.text
        assert len(page.all("svg")) == 3  # scores, timeline and cost
    if case == "one fold":
        assert "One split does not show" in page.text
        assert "±" not in text.replace("± is", "")


def test_error_in_one_figure_keeps_the_others(monkeypatch):
    def broken(context):
        raise ZeroDivisionError("<b>float division</b>")

    monkeypatch.setitem(figure_kinds.DATA, "cost", broken)
    page = HtmlPage(html_of(small_search()))
    assert len(page.all("svg")) == 6
    missing = page.text.partition("What is not shown")[2]
    reason = "not drawn, because of an error in trackmllib: ZeroDivisionError: <b>float"
    assert f"Cost against score: {reason}" in missing


def test_report_of_a_thousand_candidates_is_under_three_megabytes():
    maps = grid(a=range(10), b=range(10), c=range(10))
    rows = [[i / 1000, i / 1001, i / 999] for i in range(1000)]
    search = searched(maps, rows, parallelism=8)
    text = html_of(search, run_links(search))
    assert len(text.encode()) < 3_000_000
    assert "The best 50 are shown." in text
    assert len(HtmlPage(text).all("tr")) == 1 + 1000 + 4


def test_usual_report_is_under_half_a_megabyte():
    assert len(html_of(small_search(), run_links(small_search())).encode()) < 500_000


def test_users_rcparams_stay_unchanged():
    before = dict(matplotlib.rcParams)
    html_of(small_search())
    Results(small_search()).plot()
    assert dict(matplotlib.rcParams) == before


def test_first_figure_as_png():
    assert report.png(SearchContext(small_search())).startswith(b"\x89PNG")


def test_missing_package_is_named_with_its_install_command():
    from trackmllib.exceptions import DependencyError

    with pytest.raises(DependencyError, match=r'pip install "trackmllib\[report\]"'):
        optional_packages.require(["no_such_package"], "The report")


def write_files(folder, search, known=None):
    (folder / artifacts.SEARCH).write_text(artifacts.search_json(search))
    (folder / artifacts.OUTCOME).write_text("".join(artifacts.outcome_json(search)))
    if known is not None:
        (folder / "runs.json").write_text(json.dumps(dataclasses.asdict(known)))


def run_report_process(folder):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "trackmllib.runtime.report_process", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_report_process_writes_report_and_figure(tmp_path):
    write_files(tmp_path, small_search(), run_links(small_search()))
    done = run_report_process(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    page = HtmlPage((tmp_path / "report.html").read_text())
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


def test_report_of_a_search_without_scores_has_no_png(tmp_path):
    write_files(tmp_path, searched(grid(x=[1, 2]), [[NAN, NAN]] * 2))
    assert run_report_process(tmp_path).returncode == 0
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


def test_svg_is_well_formed_and_shows_values():
    maps = grid(**{'p id="q': NASTY, "z": [1, 2], "w": [1, 2]})
    rows = [[i / 100, i / 90, i / 95] for i in range(len(maps))]
    metric = 'm id="n" ]]>'
    text = html_of(searched(maps, rows, metric=metric, further={f"train_{metric}": rows}))
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
    drawn, _ = figure_kinds.svg(SearchContext(results.search, results.grid), "scores", "heading")
    assert ElementTree.fromstring(drawn).get("viewBox")
