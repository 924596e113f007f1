"""Several searches on one metric are one table, one sentence and one page."""

from __future__ import annotations

import math

import pytest
from test_report import Page

from tables import FAILURE, grid, searched, stage
from trackmllib.cli.compare import columns
from trackmllib.events import Value
from trackmllib.view import comparison
from trackmllib.view.results import Results


def results(maps, rows, **changes):
    return Results(searched(maps, rows, **changes))


def two():
    return [
        results(grid(x=[1, 2], y=["a"]), [[0.1, 0.3], [0.2, 0.4]]),
        results([{"y": "a", "x": 2.0}, {"x": 3, "z": True}], [[0.5, 0.7], [0.3, 0.5]]),
    ]


def test_settings_are_matched_by_their_params():
    found = comparison.rows(two())
    assert [{key: row[key] for key in row if key.startswith("params.")} for row in found] == [
        {"params.x": 1, "params.y": "a", "params.z": None},
        {"params.x": 2, "params.y": "a", "params.z": None},
        {"params.x": 3, "params.y": None, "params.z": True},
    ]
    assert [(row["average_1"], row["average_2"]) for row in found] == [
        (pytest.approx(0.2), None),
        (pytest.approx(0.3), pytest.approx(0.6)),
        (None, pytest.approx(0.4)),
    ]
    assert found[1]["deviation_2"] == pytest.approx(0.1)
    assert [row["best"] for row in found] == [False, True, False]


def test_the_best_of_all_is_said_with_its_search():
    assert comparison.sentence(two()) == (
        "x=2, y=a in search 2 is best: weightedPrecision 0.600 ± 0.100. All have 1 setting in "
        "common."
    )


def test_smaller_may_be_better():
    searches = [
        results(grid(x=[1, 2]), [[1.0, 2.0], [3.0, 4.0]], larger_is_better=False),
        results(grid(x=[2, 3]), [[3.0, 2.0], [9.0, 9.0]], larger_is_better=False),
    ]
    assert comparison.sentence(searches).startswith("x=1 in search 1 is best")


def test_a_tie_of_two_searches_is_said():
    one = results(grid(x=[1]), [[0.5, 0.5]])
    assert "in more than one search is best" in comparison.sentence([one, one])


def test_a_tie_of_two_settings_is_no_tie_of_two_searches():
    one = results(grid(a=[1, 2]), [[0.9, 0.9], [0.5, 0.5]])
    other = results(grid(a=[1, 2]), [[0.8, 0.8], [0.9, 0.9]])
    assert comparison.sentence([one, other]).startswith(
        "a=1 in search 1 is best, as one of 2: weightedPrecision 0.900"
    )


def test_stages_that_differ_in_a_param_read_differently():
    one = [
        Value(text=f"A(k={k})", data={"class": "m.A", "uid": "A_1", "params": {"k": k}})
        for k in (1, 2)
    ]
    searches = [results(grid(c=one), [[0.1, 0.2], [0.3, 0.4]])] * 2
    assert comparison.sentence(searches).startswith("c=A(k=2) in more than one search is best")
    assert [comparison.name(row) for row in comparison.rows(searches)] == ["c=A(k=1)", "c=A(k=2)"]
    text = Page(comparison.html(searches)).text
    assert "A(k=1)" in text
    cells = columns(comparison.rows(searches), searches)[0].cells
    assert cells == ["A(k=1)", "A(k=2)"]


def test_infinity_is_a_score_and_nan_is_none():
    one = results(grid(a=[1, 2, 3]), [[0.5, 0.5], [math.nan, 0.5], [math.inf, 1.0]])
    found = comparison.rows([one, one])
    assert [row["best"] for row in found] == [False, False, True]
    order = comparison.best_first([one, one], found)
    assert [row["params.a"] for row in order] == [3, 1, 2]
    page = Page(comparison.html([one, one]))
    assert "a=3 in more than one search is best: weightedPrecision ∞" in page.text


def test_averages_that_differ_late_are_shown_with_the_digits_that_tell():
    one = results(grid(a=[1, 2]), [[0.84211, 0.84211], [0.1, 0.1]])
    other = results(grid(a=[1, 2]), [[0.3, 0.3], [0.84212, 0.84212]])
    shown = columns(comparison.rows([one, other]), [one, other])
    assert shown[1].cells == ["0.84211", "0.10000"]
    assert "0.84212" in shown[3].cells


def test_stages_are_matched_by_what_they_are_and_not_by_their_uid():
    one = results([{"c": stage("A", "1")}], [[0.1, 0.2]])
    other = results([{"c": stage("A", "2")}], [[0.2, 0.3]])
    assert len(comparison.rows([one, other])) == 1


def test_true_is_not_one():
    one, other = results([{"x": True}], [[0.1, 0.2]]), results([{"x": 1}], [[0.1, 0.2]])
    assert len(comparison.rows([one, other])) == 2


def test_searches_on_different_metrics_are_refused():
    other = results(grid(x=[1]), [[0.1, 0.2]], metric="f1")
    with pytest.raises(ValueError, match=r"different metrics \(f1, weightedPrecision\)"):
        comparison.rows([*two(), other])
    turned = results(grid(x=[1]), [[0.1, 0.2]], larger_is_better=False)
    with pytest.raises(ValueError, match="Larger is better in one"):
        comparison.rows([*two(), turned])
    with pytest.raises(ValueError, match="no search"):
        comparison.rows([])


def test_the_page_has_one_figure_and_the_table():
    page = Page(comparison.html(two()))
    assert len(page.all("svg")) == 1
    assert page.all("svg")[0]["role"] == "img"
    assert "x=2, y=a in search 2 is best" in page.text
    assert len([th for th in page.all("th") if th.get("scope") == "col"]) == 6


def test_searches_without_a_score_have_a_page_without_a_figure():
    nan = results(grid(x=["<b>"]), [[math.nan, math.nan]])
    failed = results(grid(x=[1]), [[None, None]], end=FAILURE)
    page = Page(comparison.html([nan, failed]))
    assert page.all("svg") == []
    assert page.all("b") == []
    assert "None of the 2 searches is best" in page.text
