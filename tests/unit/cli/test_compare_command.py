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
    head, *rows, legend = table_rows(text)
    assert head == ["maxDepth", "search 1", "±", "≈", "search 2"]
    # Candidates 0 and 1 are in both searches.
    assert rows == [
        ["1", "0.8500", "0.0200", "0.6000"],
        ["2", "0.8500", "0.0300", "≈"],
        ["0", "0.1500", "0.0100", "0.5000"],
        ["3", "0.3000", "0.0400", "≈"],
    ]
    assert legend == ["≈ cannot be told apart from the best of its search"]
    data = json.loads(invoke("compare", searches["done"], searches["first"], "--json"))
    assert [each["search_id"] for each in data["searches"]] == [
        searches["done"],
        searches["first"],
    ]
    assert data["rows"][0]["params.maxDepth"] == 1
    assert data["rows"][0]["best"]
    assert "NaN" in invoke("compare", searches["not finite"], searches["odd"])


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
