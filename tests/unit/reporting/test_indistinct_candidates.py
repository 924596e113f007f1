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
from trackmllib.reporting import report, search_diff
from trackmllib.reporting.figures.context import NothingToDraw, SearchContext
from trackmllib.reporting.figures.scores import scores
from trackmllib.reporting.results import Results
from trackmllib.tracking.description import NOTE

pytestmark = pytest.mark.versions

NAN = math.nan
DEVIATION = 0.0625
PHRASE = "not significantly different from the best (corrected resampled t-test, 5 folds)"
LEGEND = f"≈ {PHRASE}"
SKIPS = "Where ≈ skips a better-ranked candidate, that one differs from the best more evenly"
FEW_FOLDS = "A test for significant differences needs at least 5 folds; this search has 3."
VALUES = ("alpha", "bravo", "delta", "gamma")
# bravo is best. delta differs from it by as much on each fold; gamma, which is last, does not.
SCORES = {
    3: [[0.50, 0.70, 0.90], [0.51, 0.70, 0.91], [0.45, 0.64, 0.85], [0.80, 0.50, 0.60]],
    5: [
        [0.50, 0.60, 0.70, 0.80, 0.90],
        [0.51, 0.60, 0.71, 0.80, 0.91],
        [0.45, 0.54, 0.65, 0.74, 0.85],
        [0.80, 0.40, 0.60, 0.50, 0.90],
    ],
}


def new_search(values=VALUES, *, folds: int, **fields) -> Search:
    description = describe(values=values, folds=folds, **fields)
    return Search(description, search_id=str(uuid.uuid4()))


def with_scores(search: Search, table) -> Search:
    for index, row in enumerate(table):
        for fold, score in enumerate(row):
            search.fold_fit(index, fold, score)
    return search


def finished(table, best: int, values=VALUES, **fields) -> Search:
    search = new_search(values, folds=len(table[0]), **fields)
    return with_scores(search, table).refit(best).finish(best)


def resumed_search(table) -> Search:
    search = new_search(folds=len(table[0]))
    for index in (0, 1):
        for fold, score in enumerate(table[index]):
            search.reuse(index, fold, score)
    for index in (2, 3):
        for fold, score in enumerate(table[index]):
            search.fold_fit(index, fold, score)
    return search.refit(1).finish(1)


def search_with_failed_candidate(table) -> Search:
    search = new_search(folds=len(table[0]))
    for index, row in enumerate(table):
        for fold, score in enumerate(row):
            if index == 3 and fold == 1:
                search.begin(index, fold).fail_fit(index, fold)
            elif index != 3 or fold == 0:
                search.fold_fit(index, fold, score)
    averages = tuple(search.result.candidates[index].average or 0.0 for index in range(4))
    return search.refit(1).finish(1, averages=averages)


def interrupted_search(table) -> Search:
    search = new_search(folds=len(table[0]))
    return with_scores(search, [*table[:3], table[3][:2]]).fail(CTRL_C)


TWO = f"2 of the 3 others are {PHRASE}"
ONE = f"1 of the 2 others with all scores is {PHRASE}"
NONE = f"none of the 3 others is {PHRASE.removeprefix('not ')}"
ONE_SPLIT = "One split does not show how far scores vary by chance"
# How to make each search from a table of scores; with five folds, the marked candidates and the
# sentence that counts them, or says why none is tested.
SEARCHES = {
    "finished": (lambda table: finished(table, 1), {"alpha", "gamma"}, TWO),
    "resumed": (resumed_search, {"alpha", "gamma"}, TWO),
    "in the refit": (
        lambda table: with_scores(new_search(folds=len(table[0])), table).refit(1),
        {"alpha", "gamma"},
        TWO,
    ),
    "interrupted": (interrupted_search, {"alpha"}, ONE),
    "a candidate failed": (search_with_failed_candidate, {"alpha"}, ONE),
    "smaller is better": (
        lambda table: finished(table, 3, larger_is_better=False),
        {"alpha", "bravo", "delta"},
        NONE,
    ),
    "direction unknown": (
        lambda table: finished(table, 1, larger_is_better=None),
        set(),
        "Whether larger is better is not known, so no candidate is compared.",
    ),
    "TrainValidationSplit": (
        lambda table: finished([row[:1] for row in table], 3, averaged=False),
        set(),
        ONE_SPLIT,
    ),
    "NaN is best": (
        lambda table: finished([[NAN, *table[0][1:]], *table[1:]], 0),
        set(),
        "The best candidate has no score for each fold, so none is compared with it.",
    ),
    "NaN is another": (
        lambda table: finished([*table[:3], [NAN, *table[3][1:]]], 1),
        {"alpha"},
        ONE,
    ),
    "by another rule": (
        lambda table: finished(table, 0),
        set(),
        "The tuner chose a candidate without the best average, so none is compared.",
    ),
    "one candidate": (lambda table: finished(table[:1], 0, VALUES[:1]), set(), None),
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
@pytest.mark.parametrize(
    ("case", "folds"),
    [*((case, 5) for case in SEARCHES), ("finished", 3), ("in the refit", 3), ("interrupted", 3)],
)
def test_all_outputs_agree_on_marks_and_sentence(player, run_command, case, folds):
    make, expected, sentence = SEARCHES[case]
    search = make(SCORES[folds])
    is_averaged = search.result.description.averaged
    if folds == 3:
        expected, sentence = set(), FEW_FOLDS
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
    outputs["compare"] = run_command("compare", run_id, run_id)
    outputs["compared report"] = search_diff.html([live, loaded.results])
    # The variance of one score, times 1/k + 1/(k - 1).
    error = math.sqrt(DEVIATION**2 * folds / (folds - 1) * (1 / folds + 1 / (folds - 1)))
    for name, text in outputs.items():
        shown = visible_text(text)
        assert marked(text) == expected, (name, text)
        if not expected:
            assert "≈" not in text, name
        assert (LEGEND in shown) == bool(expected), name
        if sentence is None:
            assert "significant" not in shown, name
        elif not (name == "compare" and expected):
            # Only this table of several searches does not count the marked candidates.
            assert sentence in shown, (name, shown)
        # Best-ranked candidates are marked, or the output says why others are.
        assert (SKIPS in shown) == (expected == {"alpha", "gamma"}), name
        assert (f"{error:.3f}" in shown or f"{error:.4f}" in shown) == is_averaged, (name, shown)
        assert ("± is the standard error" in shown) == is_averaged, name
        assert is_averaged or "±" not in shown, name
    assert marked_in_figure(live) == marked_in_figure(loaded.results) == expected
    shown = json.loads(run_command("show", run_id, "--json"))["searches"][0]["indistinct"]
    assert shown == (None if not expected else [VALUES.index(each) for each in sorted(expected)])
    compared = json.loads(run_command("compare", run_id, run_id, "--json"))["rows"]
    marks = {value: row["indistinct_1"] for row in compared for value in row["texts"].values()}
    assert {value for value, mark in marks.items() if mark} == expected
    assert expected or set(marks.values()) == {None}
