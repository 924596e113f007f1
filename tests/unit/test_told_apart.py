"""Marks and sentence about indistinct candidates, the same in every output."""

from __future__ import annotations

import html
import json
import math
import re
import uuid

import pytest
from mlflow import MlflowClient

from played import Player
from searching import CTRL_C, Search, plan
from trackmllib.cli import main
from trackmllib.loading import load_all
from trackmllib.tracking.notes import NOTE
from trackmllib.tracking.reading import Reader
from trackmllib.view import report
from trackmllib.view.figures.basis import Basis, NothingToDraw
from trackmllib.view.figures.scores import scores
from trackmllib.view.results import Results

NAN = math.nan
PHRASE = "cannot be told apart from the best"
LEGEND = f"≈ {PHRASE}"
VALUES = ("alpha", "bravo", "delta", "gamma")
# bravo is best; alpha and gamma cannot be told apart from it, and delta can.
SCORES = [[0.50, 0.70, 0.90], [0.51, 0.70, 0.91], [0.45, 0.64, 0.85], [0.80, 0.50, 0.60]]


def begun(values=VALUES, **fields) -> Search:
    description = plan(values=values, **{"folds": 3, **fields})
    return Search(description, search_id=str(uuid.uuid4()))


def scored(search: Search, table=SCORES) -> Search:
    for index, row in enumerate(table):
        for fold, score in enumerate(row):
            search.cell(index, fold, score)
    return search


def resumed() -> Search:
    search = begun()
    for index in (0, 1):
        for fold, score in enumerate(SCORES[index]):
            search.reuse(index, fold, score)
    for index in (2, 3):
        for fold, score in enumerate(SCORES[index]):
            search.cell(index, fold, score)
    return search.refit(1).finish(1)


def one_split() -> Search:
    search = scored(begun(folds=1, averaged=False), [[row[0]] for row in SCORES])
    return search.refit(3).finish(3)


def candidate_failed() -> Search:
    search = begun()
    for index, row in enumerate(SCORES):
        for fold, score in enumerate(row):
            if index == 3 and fold == 1:
                search.begin(index, fold).fail_cell(index, fold)
            elif index != 3 or fold == 0:
                search.cell(index, fold, score)
    averages = tuple(search.result.candidates[index].average or 0.0 for index in range(4))
    return search.refit(1).finish(1, averages=averages)


def interrupted() -> Search:
    return scored(begun(), [*SCORES[:3], SCORES[3][:2]]).fail(CTRL_C)


TWO = "2 of the 3 others cannot be told apart from the best"
ONE = "1 of the 2 others with all scores cannot be told apart from the best"
# How each is made, what is marked, and the sentence that counts it.
SEARCHES = {
    "finished": (lambda: scored(begun()).refit(1).finish(1), {"alpha", "gamma"}, TWO),
    "resumed": (resumed, {"alpha", "gamma"}, TWO),
    "in the refit": (lambda: scored(begun()).refit(1), {"alpha", "gamma"}, TWO),
    "interrupted": (interrupted, {"alpha"}, ONE),
    "a candidate failed": (candidate_failed, {"alpha"}, ONE),
    "smaller is better": (
        lambda: scored(begun(larger_is_better=False)).refit(3).finish(3),
        {"alpha", "bravo", "delta"},
        "none of the 3 others can be told apart from the best",
    ),
    "direction unknown": (
        lambda: scored(begun(larger_is_better=None)).refit(1).finish(1),
        set(),
        None,
    ),
    "TrainValidationSplit": (one_split, set(), None),
    "NaN is best": (
        lambda: scored(begun(), [[NAN, 0.5, 0.5], *SCORES[1:]]).refit(0).finish(0),
        set(),
        None,
    ),
    "NaN is another": (
        lambda: scored(begun(), [*SCORES[:3], [NAN, 0.5, 0.5]]).refit(1).finish(1),
        {"alpha"},
        ONE,
    ),
    "by another rule": (lambda: scored(begun()).refit(0).finish(0), set(), None),
    "one candidate": (
        lambda: scored(begun(VALUES[:1]), SCORES[:1]).refit(0).finish(0),
        set(),
        None,
    ),
}


@pytest.fixture(scope="module")
def player(tmp_path_factory) -> Player:
    folder = tmp_path_factory.mktemp("told-apart")
    uri = f"sqlite:///{folder}/mlflow.db"
    experiment = MlflowClient(tracking_uri=uri).create_experiment("e", (folder / "f").as_uri())
    return Player(folder, uri, experiment)


@pytest.fixture
def said(player, capsys, monkeypatch):
    """Run a verb in this process; return its output."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", player.uri)
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: str) -> str:
        capsys.readouterr()
        assert main(arguments) == 0
        return capsys.readouterr().out

    return run


def marked(text: str) -> set[str]:
    """The values in the marked rows of a table, in text or HTML."""
    rows = re.findall(r"<tr.*?</tr>", text, re.DOTALL) or text.splitlines()
    return {value for row in rows for value in VALUES if "≈" in row and value in row}


def plain(text: str) -> str:
    """The text of a page, or of the output for a terminal."""
    body = re.sub(r"<(style|script).*?</\1>|<svg.*?</svg>", " ", text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", body)).split())


def in_the_figure(results: Results) -> set[str]:
    """The values of the candidates that the figure marks."""
    try:
        rows = scores(Basis(results.search, results.grid)).rows
    except NothingToDraw:
        return set()
    return {VALUES[row.candidate] for row in rows if row.alike}


@pytest.mark.parametrize("case", SEARCHES)
def test_all_outputs_agree_on_marks_and_sentence(player, said, case):
    make, expected, sentence = SEARCHES[case]
    search = make()
    (loaded,) = load_all(Reader(player.uri), player.play(search.events))
    run_id = loaded.main.run_id
    live = Results(search.result)
    run = MlflowClient(tracking_uri=player.uri).get_run(run_id)
    outputs = {"description": run.data.tags[NOTE]}
    for name, results in (("live", live), ("loaded", loaded.results)):
        outputs[f"text, {name}"] = repr(results)
        outputs[f"notebook, {name}"] = results._repr_html_()
        outputs[f"report, {name}"] = report.html(results)
    outputs["show"] = said("show", run_id)
    for name, text in outputs.items():
        assert marked(text) == expected, (name, text)
        if sentence is None:
            assert "told apart" not in plain(text), name
        else:
            assert sentence in plain(text), name
        assert (LEGEND in plain(text)) == bool(expected), name
    assert in_the_figure(live) == in_the_figure(loaded.results) == expected
    shown = json.loads(said("show", run_id, "--json"))["searches"][0]["indistinct"]
    assert {VALUES[index] for index in shown} == expected
    compared = said("compare", run_id, run_id)
    assert marked(compared) == expected
    assert (LEGEND in compared) == bool(expected)
