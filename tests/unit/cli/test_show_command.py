"""Output of ``trackmllib show``."""

from __future__ import annotations

import csv
import io
import json
import re

from mlflow import MlflowClient

from support.commands import table_lines, table_rows
from support.search_events import ODD_TEXTS, search
from support.search_player import Player
from support.sqlite_store import sqlite_store
from trackmllib.domain.standard_error import PLUS_MINUS
from trackmllib.recorder import artifacts


def test_show_lists_candidates_best_first_with_bars(invoke, searches):
    lines = invoke("show", searches["done"]).splitlines()
    assert re.fullmatch(r"CrossValidator: Pipeline · run [0-9a-f]{32} · \d+ (s|min) ago", lines[0])
    facts = "finished · 4 of 4 candidates · 2 folds · weightedPrecision, larger is better"
    assert lines[1] == facts
    assert lines[2].startswith("maxDepth=1 is best, tied with 1 other: weightedPrecision 0.850 ")
    table = table_lines("\n".join(lines))[1:5]
    rows = [line.split() for line in table]
    # Rank, candidate, maxDepth, average. Equal averages share their rank, and have equal bars.
    assert [row[:4] for row in rows] == [
        ["1=", "1", "1", "0.8500"],
        ["1=", "2", "2", "0.8500"],
        ["3", "3", "3", "0.3000"],
        ["4", "0", "0", "0.1500"],
    ]
    assert [line.count("█") for line in table] == [12, 12, 2, 0]


def test_show_marks_candidates_indistinct_from_best(invoke, searches):
    text = invoke("show", searches["five folds"])
    _, *rows = table_rows(text)
    assert ["≈" in row for row in rows[:3]] == [False, False, True]
    assert text.splitlines()[-3:] == [
        PLUS_MINUS,
        "≈ not significantly different from the best (corrected resampled t-test, 5 folds)",
        "Where ≈ skips a better-ranked candidate, that one differs from the best more evenly "
        "across the folds.",
    ]
    (found,) = json.loads(invoke("show", searches["five folds"], "--json"))["searches"]
    assert found["indistinct"] == [2]


def test_show_says_how_many_folds_a_verdict_needs(invoke, searches):
    text = invoke("show", searches["done"])
    assert "≈" not in text
    assert text.splitlines()[-2:] == [
        PLUS_MINUS,
        "A test for significant differences needs at least 5 folds; this search has 2.",
    ]
    (found,) = json.loads(invoke("show", searches["done"], "--json"))["searches"]
    assert found["indistinct"] is None
    # A single split has no spread to compare with.
    text = invoke("show", "two in one", "--search", searches["first"])
    assert "≈" not in text
    assert "±" not in text
    assert text.splitlines()[-1].startswith("One split does not show how far scores vary")


def test_show_counts_one_fold_in_singular(invoke, searches, tmp_path):
    uri = sqlite_store(tmp_path)
    client = MlflowClient(tracking_uri=uri)
    other = Player(tmp_path, uri, client.create_experiment("1", (tmp_path / "f").as_uri()))
    text = invoke("show", other.play(search([[0.5], [0.6]], [0.5, 0.6], 1)), "--tracking-uri", uri)
    assert " · 1 fold · " in text


def test_smallest_score_has_full_bar_if_smaller_is_better(invoke, searches):
    text = invoke("show", searches["smaller"])
    assert "rmse, smaller is better" in text
    lines = table_lines(text)[1:5]
    assert [line.split()[:2] for line in lines] == [
        ["1", "0"],
        ["2", "3"],
        ["3=", "1"],
        ["3=", "2"],
    ]
    assert [line.count("█") for line in lines] == [12, 9, 0, 0]


def test_show_omits_ranks_and_bars_if_direction_is_unknown(invoke, searches):
    text = invoke("show", searches["unknown"])
    assert "█" not in text
    assert "is better" not in text.splitlines()[1]
    assert "rank" not in text


def test_show_prints_nan_and_infinity(invoke, searches):
    lines = table_lines(invoke("show", searches["not finite"]))[1:5]
    # Spark ranks NaN above every number.
    assert [line.split()[:4] for line in lines] == [
        ["1", "0", "0", "NaN"],
        ["2", "1", "1", "inf"],
        ["3", "3", "3", "0.5000"],
        ["4", "2", "2", "-inf"],
    ]
    assert [line.count("█") for line in lines] == [0, 12, 12, 0]


def test_show_states_of_failed_search(invoke, searches):
    text = invoke("show", searches["failed"])
    assert "failed: ValueError: no · 0 of 3 candidates" in text
    states = [line.split()[2:] for line in text.splitlines()[-3:]]
    assert "killed" in states[0]
    assert "failed" in states[1]
    assert states[2] == ["not", "begun"]


def test_show_running_search(invoke, searches):
    text = invoke("show", searches["running"])
    assert "running · 1 of 4 candidates" in text
    lines = table_lines(text)[1:5]
    assert lines[0].split()[:4] == ["1", "0", "0", "0.1500"]
    assert sum("running" in line for line in lines) == 3


def test_show_prints_all_searches_of_run(invoke, searches):
    text = invoke("show", "two in one")
    first, second = text.split("\n\n\n") if "\n\n\n" in text else text.split("\n\ntwo in one")
    assert "2 of 2 candidates" in first
    assert "4 of 4 candidates" in second
    alone = invoke("show", searches["run"][:12], "--search", searches["first"][:13])
    # The ages differ by the time between the two commands.
    alone, text = (re.sub(r"\d+ (s|min) ago", "ago", each) for each in (alone, text))
    assert alone in text
    assert "has 2 searches" in invoke("show", "two in one", "--csv", code=2)
    assert invoke("show", "two in one", "--search", searches["second"], "--csv")
    assert "matches no search of run" in invoke("show", "two in one", "--search", "zzz", code=2)


def test_top_limits_table_to_best_candidates(invoke, searches):
    text = invoke("show", searches["done"], "--top", "1")
    assert [line.split()[0] for line in table_lines(text)] == ["rank", "1=", "±", "A", "3"]
    assert text.splitlines()[-1] == "3 more: --top 0"


def test_json_is_strictly_valid(invoke, searches):
    def no_constant(name: str):
        raise AssertionError(name)

    text = invoke("show", searches["not finite"], "--json")
    (shown,) = json.loads(text, parse_constant=no_constant)["searches"]
    assert shown["search_id"] == searches["not finite"]
    assert shown["best"] == 0
    averages = [row["average"] for row in shown["candidates"]]
    assert averages == ["NaN", "Infinity", 0.5, "-Infinity"]
    assert all(float(average) is not None for average in averages)
    assert shown["candidates"][2]["params.maxDepth"] == 3
    assert len(shown["candidates"][0]["run_id"]) == 32
    (shown,) = json.loads(invoke("show", searches["odd"], "--json"))["searches"]
    assert {row["params.maxDepth"] for row in shown["candidates"]} == set(ODD_TEXTS)
    assert len(json.loads(invoke("show", "two in one", "--json"))["searches"]) == 2
    listed = json.loads(invoke("searches", "--json"), parse_constant=no_constant)["searches"]
    assert [each["search_id"] for each in listed][::-1] == [
        each for name, each in searches.items() if name != "run"
    ]


def test_csv_equals_results_csv(invoke, searches, player):
    for name in ("done", "odd", "failed"):
        text = invoke("show", searches[name], "--csv")
        live = player.tables[searches[name]]
        assert text == artifacts.results_csv(live)
        assert len(list(csv.DictReader(io.StringIO(text)))) == len(live.description.candidates)
