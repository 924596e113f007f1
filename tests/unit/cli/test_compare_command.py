"""Output of ``trackmllib compare`` and ``trackmllib report``."""

from __future__ import annotations

import json
import re
from pathlib import Path

from support.commands import table_rows


def test_compare_rejects_different_metrics(invoke, searches):
    text = invoke("compare", searches["done"], searches["smaller"], code=2)
    assert "has weightedPrecision (larger is better), and run" in text
    assert " has rmse (smaller is better); only" in text


def test_compare_matches_candidates_by_params(invoke, searches):
    text = invoke("compare", searches["done"], searches["first"])
    assert re.search(rf"^search 2: two in one · run {searches['run']}$", text, re.MULTILINE)
    head, *rows = table_rows(text)
    rows, legend = rows[:4], text.splitlines()[-2:]
    assert head == ["maxDepth", "search 1", "±", "search 2"]
    # Candidates 0 and 1 are in both searches.
    assert rows == [
        ["1", "0.8500", "0.0346", "0.6000"],
        ["2", "0.8500", "0.0520"],
        ["0", "0.1500", "0.0173", "0.5000"],
        ["3", "0.3000", "0.0693"],
    ]
    assert legend == [
        "Search 1: A test for significant differences needs at least 5 folds; this search has 2.",
        "Search 2: One split does not show how far scores vary by chance; use a CrossValidator to "
        "see it.",
    ]
    data = json.loads(invoke("compare", searches["done"], searches["first"], "--json"))
    assert [each["search_id"] for each in data["searches"]] == [
        searches["done"],
        searches["first"],
    ]
    assert data["rows"][0]["params.maxDepth"] == 1
    assert data["rows"][0]["best"]
    assert data["rows"][0]["indistinct_1"] is None
    assert "NaN" in invoke("compare", searches["not finite"], searches["odd"])


def test_compare_marks_within_each_search(invoke, searches):
    text = invoke("compare", searches["five folds"], searches["done"])
    head, *rows = table_rows(text)
    assert head == ["maxDepth", "search 1", "±", "≈", "search 2", "±"]
    assert [row[0] for row in rows if "≈" in row] == ["2"]
    assert text.splitlines()[-3:] == [
        "Search 1: ≈ not significantly different from the best (corrected resampled t-test, 5 "
        "folds)",
        "Search 1: Where ≈ skips a better-ranked candidate, that one differs from the best more "
        "evenly across the folds.",
        "Search 2: A test for significant differences needs at least 5 folds; this search has 2.",
    ]
    rows = json.loads(invoke("compare", searches["five folds"], searches["done"], "--json"))["rows"]
    assert {row["params.maxDepth"]: row["indistinct_1"] for row in rows} == {
        0: False,
        1: False,
        2: True,
        3: None,
    }


def test_compare_writes_report(invoke, searches):
    assert invoke("compare", searches["done"], "two in one", "-o", "both.html") == "both.html\n"
    assert "<html" in Path("both.html").read_text()


def test_report_is_written_to_output_file(invoke, searches, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    assert invoke("report", "two in one", "-o", "f.html", "--open") == "f.html\n"
    assert opened == [(tmp_path / "f.html").as_uri()]
    newest = Path("f.html").read_text()
    invoke("report", "two in one", "-o", "f.html", "--search", searches["first"])
    assert Path("f.html").read_text() != newest
    text = invoke("report", "two in one", "-o", "no/such/f.html", code=2)
    assert "no/such/f.html" in text
    # Only errors of outboxes say that nothing is lost.
    assert "lost" not in text
