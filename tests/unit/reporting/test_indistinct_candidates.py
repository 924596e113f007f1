"""Indistinct candidates have equal marks and words in every output."""

from __future__ import annotations

import html
import json
import math
import re
import uuid

import pytest
from mlflow import MlflowClient

from support.scripted_search import CTRL_C, Search
from support.search_descriptions import describe
from support.search_player import Player
from support.sqlite_store import sqlite_store
from trackmllib.cli import main
from trackmllib.history.run_reader import RunReader
from trackmllib.history.search_loader import load_searches
from trackmllib.reporting import report
from trackmllib.reporting.figures.context import NothingToDraw, SearchContext
from trackmllib.reporting.figures.scores import scores
from trackmllib.reporting.results import Results
from trackmllib.tracking.description import NOTE

pytestmark = pytest.mark.versions

NAN = math.nan
PHRASE = "cannot be told apart from the best"
LEGEND = f"≈ {PHRASE}"
VALUES = ("alpha", "bravo", "delta", "gamma")
# bravo is best; alpha and gamma cannot be told apart from it, and delta can.
SCORES = [[0.50, 0.70, 0.90], [0.51, 0.70, 0.91], [0.45, 0.64, 0.85], [0.80, 0.50, 0.60]]


def new_search(values=VALUES, **fields) -> Search:
    description = describe(values=values, **{"folds": 3, **fields})
    return Search(description, search_id=str(uuid.uuid4()))


def with_scores(search: Search, table=SCORES) -> Search:
    for index, row in enumerate(table):
        for fold, score in enumerate(row):
            search.fold_fit(index, fold, score)
    return search


def resumed_search() -> Search:
    search = new_search()
    for index in (0, 1):
        for fold, score in enumerate(SCORES[index]):
            search.reuse(index, fold, score)
    for index in (2, 3):
        for fold, score in enumerate(SCORES[index]):
            search.fold_fit(index, fold, score)
    return search.refit(1).finish(1)


def one_split_search() -> Search:
    search = with_scores(new_search(folds=1, averaged=False), [[row[0]] for row in SCORES])
    return search.refit(3).finish(3)


def search_with_failed_candidate() -> Search:
    search = new_search()
    for index, row in enumerate(SCORES):
        for fold, score in enumerate(row):
            if index == 3 and fold == 1:
                search.begin(index, fold).fail_fit(index, fold)
            elif index != 3 or fold == 0:
                search.fold_fit(index, fold, score)
    averages = tuple(search.result.candidates[index].average or 0.0 for index in range(4))
    return search.refit(1).finish(1, averages=averages)


def interrupted_search() -> Search:
    return with_scores(new_search(), [*SCORES[:3], SCORES[3][:2]]).fail(CTRL_C)


TWO = "2 of the 3 others cannot be told apart from the best"
ONE = "1 of the 2 others with all scores cannot be told apart from the best"
# How to make each search, its marked candidates, and the sentence that counts them.
SEARCHES = {
    "finished": (lambda: with_scores(new_search()).refit(1).finish(1), {"alpha", "gamma"}, TWO),
    "resumed": (resumed_search, {"alpha", "gamma"}, TWO),
    "in the refit": (lambda: with_scores(new_search()).refit(1), {"alpha", "gamma"}, TWO),
    "interrupted": (interrupted_search, {"alpha"}, ONE),
    "a candidate failed": (search_with_failed_candidate, {"alpha"}, ONE),
    "smaller is better": (
        lambda: with_scores(new_search(larger_is_better=False)).refit(3).finish(3),
        {"alpha", "bravo", "delta"},
        "none of the 3 others can be told apart from the best",
    ),
    "direction unknown": (
        lambda: with_scores(new_search(larger_is_better=None)).refit(1).finish(1),
        set(),
        None,
    ),
    "TrainValidationSplit": (one_split_search, set(), None),
    "NaN is best": (
        lambda: with_scores(new_search(), [[NAN, 0.5, 0.5], *SCORES[1:]]).refit(0).finish(0),
        set(),
        None,
    ),
    "NaN is another": (
        lambda: with_scores(new_search(), [*SCORES[:3], [NAN, 0.5, 0.5]]).refit(1).finish(1),
        {"alpha"},
        ONE,
    ),
    "by another rule": (lambda: with_scores(new_search()).refit(0).finish(0), set(), None),
    "one candidate": (
        lambda: with_scores(new_search(VALUES[:1]), SCORES[:1]).refit(0).finish(0),
        set(),
        None,
    ),
}


@pytest.fixture(scope="module")
def player(tmp_path_factory) -> Player:
    folder = tmp_path_factory.mktemp("indistinct")
    uri = sqlite_store(folder)
    experiment = MlflowClient(tracking_uri=uri).create_experiment("e", (folder / "f").as_uri())
    return Player(folder, uri, experiment)


@pytest.fixture
def run_command(player, capsys, monkeypatch):
    """Run a command in this process; return its output."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", player.uri)
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: str) -> str:
        capsys.readouterr()
        assert main(arguments) == 0
        return capsys.readouterr().out

    return run


def marked(text: str) -> set[str]:
    """Values in the marked rows of a table, in text or HTML."""
    rows = re.findall(r"<tr.*?</tr>", text, re.DOTALL) or text.splitlines()
    return {value for row in rows for value in VALUES if "≈" in row and value in row}


def visible_text(text: str) -> str:
    """Text of a page, or of output on a terminal."""
    body = re.sub(r"<(style|script).*?</\1>|<svg.*?</svg>", " ", text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", body)).split())


def marked_in_figure(results: Results) -> set[str]:
    """Values of the candidates that the figure marks."""
    try:
        rows = scores(SearchContext(results.search, results.grid)).rows
    except NothingToDraw:
        return set()
    return {VALUES[row.candidate] for row in rows if row.alike}


@pytest.mark.slow
@pytest.mark.parametrize("case", SEARCHES)
def test_all_outputs_agree_on_marks_and_sentence(player, run_command, case):
    make, expected, sentence = SEARCHES[case]
    search = make()
    (loaded,) = load_searches(RunReader(player.uri), player.play(search.events))
    run_id = loaded.parent_run.run_id
    live = Results(search.result)
    run = MlflowClient(tracking_uri=player.uri).get_run(run_id)
    outputs = {"description": run.data.tags[NOTE]}
    for name, results in (("live", live), ("loaded", loaded.results)):
        outputs[f"text, {name}"] = repr(results)
        outputs[f"notebook, {name}"] = results._repr_html_()
        outputs[f"report, {name}"] = report.html(SearchContext(results.search), results.runs)
    outputs["show"] = run_command("show", run_id)
    for name, text in outputs.items():
        assert marked(text) == expected, (name, text)
        if sentence is None:
            assert "told apart" not in visible_text(text), name
        else:
            assert sentence in visible_text(text), name
        assert (LEGEND in visible_text(text)) == bool(expected), name
    assert marked_in_figure(live) == marked_in_figure(loaded.results) == expected
    shown = json.loads(run_command("show", run_id, "--json"))["searches"][0]["indistinct"]
    assert {VALUES[index] for index in shown} == expected
    compared = run_command("compare", run_id, run_id)
    assert marked(compared) == expected
    assert (LEGEND in compared) == bool(expected)
