"""``trackmllib show --metric``, and further metrics in the table."""

from __future__ import annotations

import json
import math

import pytest
from mlflow import MlflowClient

from support.commands import table_lines
from support.search_events import AVERAGES, SCORES, search
from support.search_player import Player
from support.sqlite_store import sqlite_store
from trackmllib.cli import main
from trackmllib.domain.descriptions import FurtherMetric
from trackmllib.domain.standard_error import PLUS_MINUS

METRICS = (
    FurtherMetric(name="f1", larger_is_better=True),
    FurtherMetric(name="logLoss", larger_is_better=False),
    FurtherMetric(name="train_rmse", larger_is_better=False),
)
FURTHER = {
    "f1": [[0.5, 0.7], [0.1, math.nan], [None, 0.5], [0.8, 0.8]],
    "logLoss": [[0.5, 0.5], [0.25, 0.25], [0.125, 0.375], [4.0, 2.0]],
    "train_rmse": [[2.0, 2.0]] * 4,
}


@pytest.fixture(scope="module")
def show(tmp_path_factory):
    """Run ``show`` on a search with further metrics."""
    folder = tmp_path_factory.mktemp("metrics")
    uri = sqlite_store(folder)
    experiment = MlflowClient(tracking_uri=uri).create_experiment("m", (folder / "f").as_uri())
    player = Player(folder, uri, experiment)
    events = search(SCORES, AVERAGES, 1, further=FURTHER, further_metrics=METRICS)
    search_id = player.play(events)

    def run(invoke, *arguments, **options):
        return invoke("show", search_id, "--tracking-uri", uri, *arguments, **options)

    return run


def cells(text: str) -> list[list[str]]:
    return [line.split() for line in table_lines(text)[:5]]


def test_metric_ranks_and_shows_candidates(show, invoke):
    text = show(invoke, "--metric", "logLoss")
    assert "2 folds · ranked by logLoss, smaller is better" in text
    head, *rows = cells(text)
    assert head[:5] == ["rank", "candidate", "maxDepth", "logLoss", "±"]
    assert [row[:5] for row in rows] == [
        ["1=", "1", "1", "0.2500", "0.0000"],
        ["1=", "2", "2", "0.2500", "0.2165"],
        ["3", "0", "0", "0.5000", "0.0000"],
        ["4", "3", "3", "3.0000", "1.7321"],
    ]
    lines = table_lines(text)[1:5]
    assert [line.count("█") for line in lines] == [12, 12, 10, 0]
    # Its folds, and not those of the tuner's metric.
    assert "  0.1250  0.3750  " in lines[1]
    # The answer is still the tuner's.
    assert "maxDepth=1 is best, tied with 1 other: weightedPrecision 0.850" in text
    # Only the tuner's metric is tested.
    assert "≈" not in text
    assert text.splitlines()[-1] == PLUS_MINUS


def test_nan_and_missing_averages_are_last(show, invoke):
    _, *rows = cells(show(invoke, "--metric", "f1"))
    assert [row[:3] for row in rows[:2]] == [["1", "3", "3"], ["2", "0", "0"]]
    # Neither has a rank.
    assert [row[0] for row in rows[2:]] == ["1", "2"]
    assert rows[2][2] == "NaN"


def test_table_has_a_column_for_each_further_metric(show, invoke):
    head, first, *_ = cells(show(invoke))
    assert [name for name in head if name in FURTHER] == ["f1", "logLoss", "train_rmse"]
    assert first[:4] == ["1=", "1", "1", "0.8500"]
    assert "NaN" in first


def test_own_metric_by_name_is_the_usual_table(show, invoke):
    named = show(invoke, "--metric", "weightedPrecision")
    assert named.splitlines()[1:] == show(invoke).splitlines()[1:]


def test_json_is_ordered_by_metric(show, invoke):
    (found,) = json.loads(show(invoke, "--json", "--metric", "f1"))["searches"]
    assert (found["metric"], found["ranked_by"], found["best"]) == ("weightedPrecision", "f1", 1)
    assert found["further_metrics"][1] == {"name": "logLoss", "larger_is_better": False}
    rows = found["candidates"]
    assert [row["candidate"] for row in rows] == [3, 0, 1, 2]
    assert [row["rank"] for row in rows] == [1, 2, None, None]
    assert [row["avg_f1"] for row in rows] == [0.8, 0.6, "NaN", None]
    assert rows[1]["std_f1"] == pytest.approx(0.1)
    assert [rows[1]["fold_0.f1"], rows[1]["fold_1.f1"]] == [0.5, 0.7]
    assert rows[1]["average"] == 0.15
    (usual,) = json.loads(show(invoke, "--json"))["searches"]
    assert usual["ranked_by"] == "weightedPrecision"
    assert [row["candidate"] for row in usual["candidates"]] == [1, 2, 3, 0]


def test_unknown_metric_is_refused_with_the_known_ones(show, invoke):
    for form in ((), ("--json",)):
        error = show(invoke, "--metric", "f11", *form, code=2)
        assert "has no metric 'f11'" in error
        assert "it has weightedPrecision, f1, logLoss, train_rmse" in error


def test_metric_and_csv_cannot_be_combined(show, invoke):
    assert "--csv has all metrics" in show(invoke, "--metric", "f1", "--csv", code=2)
    head = show(invoke, "--csv").splitlines()[0]
    assert head.endswith("fold_0.train_rmse,fold_1.train_rmse,avg_train_rmse,std_train_rmse")


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_metric_of_one_search_of_a_run_prints_no_table(tmp_path, capsys, form):
    uri = sqlite_store(tmp_path)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("m", (tmp_path / "f").as_uri())
    player = Player(tmp_path, uri, experiment)
    player.active = client.create_run(experiment).info.run_id
    player.play(search(SCORES, AVERAGES, 1, further=FURTHER, further_metrics=METRICS))
    player.play(search(SCORES, AVERAGES, 1))
    capsys.readouterr()
    assert main(["show", player.active, "--tracking-uri", uri, "--metric", "f1", *form]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "has no metric 'f1'; it has weightedPrecision" in printed.err
