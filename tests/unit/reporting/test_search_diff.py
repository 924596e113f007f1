"""Comparison of several searches on one metric."""

from __future__ import annotations

import math

import pytest

from support.html_page import HtmlPage
from support.search_descriptions import grid, stage
from support.search_states import FAILURE, searched
from trackmllib.cli.compare import columns
from trackmllib.domain.descriptions import Value
from trackmllib.reporting import search_diff
from trackmllib.reporting.results import Results


def results(maps, rows, **changes):
    return Results(searched(maps, rows, **changes))


def two_searches():
    return [
        results(grid(x=[1, 2], y=["a"]), [[0.1, 0.3], [0.2, 0.4]]),
        results([{"y": "a", "x": 2.0}, {"x": 3, "z": True}], [[0.5, 0.7], [0.3, 0.5]]),
    ]


def test_candidates_are_matched_by_their_params():
    found = search_diff.rows(two_searches())
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


def test_sentence_names_the_best_candidate_and_its_search():
    assert search_diff.sentence(two_searches()) == (
        "x=2, y=a in search 2 is best: weightedPrecision 0.600 ± 0.173. All searches have 1 "
        "candidate in common."
    )


def test_sentence_if_smaller_is_better():
    searches = [
        results(grid(x=[1, 2]), [[1.0, 2.0], [3.0, 4.0]], larger_is_better=False),
        results(grid(x=[2, 3]), [[3.0, 2.0], [9.0, 9.0]], larger_is_better=False),
    ]
    assert search_diff.sentence(searches).startswith("x=1 in search 1 is best")


def test_sentence_names_a_tie_of_two_searches():
    one = results(grid(x=[1]), [[0.5, 0.5]])
    assert "in more than one search is best" in search_diff.sentence([one, one])


def test_tie_of_two_candidates_is_no_tie_of_two_searches():
    one = results(grid(a=[1, 2]), [[0.9, 0.9], [0.5, 0.5]])
    other = results(grid(a=[1, 2]), [[0.8, 0.8], [0.9, 0.9]])
    assert search_diff.sentence([one, other]).startswith(
        "a=1 in search 1 is best, tied with 1 other: weightedPrecision 0.900"
    )


def test_stages_that_differ_in_a_param_have_different_texts():
    one = [
        Value(text=f"A(k={k})", data={"class": "m.A", "uid": "A_1", "params": {"k": k}})
        for k in (1, 2)
    ]
    searches = [results(grid(c=one), [[0.1, 0.2], [0.3, 0.4]])] * 2
    assert search_diff.sentence(searches).startswith("c=A(k=2) in more than one search is best")
    assert [search_diff.name(row) for row in search_diff.rows(searches)] == ["c=A(k=1)", "c=A(k=2)"]
    text = HtmlPage(search_diff.html(searches)).text
    assert "A(k=1)" in text
    texts = columns(search_diff.rows(searches), searches)[0].values
    assert texts == ["A(k=1)", "A(k=2)"]


def test_infinity_is_ranked_and_nan_is_not():
    one = results(grid(a=[1, 2, 3]), [[0.5, 0.5], [math.nan, 0.5], [math.inf, 1.0]])
    found = search_diff.rows([one, one])
    assert [row["best"] for row in found] == [False, False, True]
    order = search_diff.best_first([one, one], found)
    assert [row["params.a"] for row in order] == [3, 1, 2]
    page = HtmlPage(search_diff.html([one, one]))
    assert "a=3 in more than one search is best: weightedPrecision ∞" in page.text


def test_columns_have_the_digits_that_tell_averages_apart():
    one = results(grid(a=[1, 2]), [[0.84211, 0.84211], [0.1, 0.1]])
    other = results(grid(a=[1, 2]), [[0.3, 0.3], [0.84212, 0.84212]])
    shown = columns(search_diff.rows([one, other]), [one, other])
    assert shown[1].values == ["0.84211", "0.10000"]
    assert "0.84212" in shown[3].values


def test_stages_are_matched_without_their_uid():
    one = results([{"c": stage("A", "1")}], [[0.1, 0.2]])
    other = results([{"c": stage("A", "2")}], [[0.2, 0.3]])
    assert len(search_diff.rows([one, other])) == 1


def test_true_is_not_one():
    one, other = results([{"x": True}], [[0.1, 0.2]]), results([{"x": 1}], [[0.1, 0.2]])
    assert len(search_diff.rows([one, other])) == 2


def test_different_metrics_cannot_be_compared():
    other = results(grid(x=[1]), [[0.1, 0.2]], metric="f1")
    with pytest.raises(ValueError, match=r"different metrics \(f1, weightedPrecision\)"):
        search_diff.rows([*two_searches(), other])
    turned = results(grid(x=[1]), [[0.1, 0.2]], larger_is_better=False)
    with pytest.raises(ValueError, match="Larger is better in one"):
        search_diff.rows([*two_searches(), turned])
    with pytest.raises(ValueError, match="no search"):
        search_diff.rows([])


def test_page_has_one_figure_and_the_table():
    page = HtmlPage(search_diff.html(two_searches()))
    assert len(page.all("svg")) == 1
    assert page.all("svg")[0]["role"] == "img"
    assert "x=2, y=a in search 2 is best" in page.text
    assert len([th for th in page.all("th") if th.get("scope") == "col"]) == 6


def test_page_of_searches_without_scores_has_no_figure():
    nan = results(grid(x=["<b>"]), [[math.nan, math.nan]])
    failed = results(grid(x=[1]), [[None, None]], end=FAILURE)
    page = HtmlPage(search_diff.html([nan, failed]))
    assert page.all("svg") == []
    assert page.all("b") == []
    assert "None of the 2 searches has a best candidate" in page.text
