"""Output of ``trackmllib searches``."""

from __future__ import annotations

import json
import time

from mlflow import MlflowClient

from support.commands import table_rows
from support.search_events import AVERAGES, SCORES, search
from support.search_player import Player
from support.sqlite_store import sqlite_store


def test_searches_lists_newest_first(invoke, searches, player):
    head, *rows = table_rows(invoke("searches"))
    assert head[:6] == ["run", "search", "name", "state", "done", "best"]
    names = {search_id[:8]: name for name, search_id in searches.items()}
    shown = {names[row[1]]: row for row in rows}
    assert [names[row[1]] for row in rows] == [
        *("second", "first", "running", "five folds", "odd", "failed"),
        *("unknown", "smaller", "not finite", "done"),
    ]
    assert shown["done"][3:6] == ["finished", "4/4", "0.8500"]
    assert shown["smaller"][3:7] == ["finished", "4/4", "0.1500", "rmse"]
    assert shown["not finite"][5] == "NaN"
    assert shown["failed"][3:5] == ["failed", "0/3"]
    assert shown["running"][3:6] == ["running", "1/4", "0.1500"]
    assert shown["first"][2:6] == ["two in one", "finished", "2/2", "0.6000"]
    assert shown["done"][-1] == "digits"
    assert invoke("searches", "--experiment", "digits").count("\n") == 11
    assert invoke("searches", "--experiment", player.experiment_id).count("\n") == 11
    assert invoke("searches", "--limit", "2").count("\n") == 3
    assert "There are no searches" in invoke("searches", "--experiment", "Default")
    text = invoke("searches", "--experiment", "digit", code=2)
    assert "no experiment digit" in text
    assert "did you mean digits?" in text


def test_searches_sorts_by_start_of_search_not_of_run(invoke, tmp_path):
    uri = sqlite_store(tmp_path)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("long", (tmp_path / "files").as_uri())
    day_ago = round(time.time() * 1000) - 24 * 3_600_000
    player = Player(tmp_path, uri, experiment)
    long, other = (
        client.create_run(experiment, start_time=day_ago, run_name=name).info.run_id
        for name in ("long", "other")
    )
    made = []
    for run in (long, None, other, long):
        player.active = run
        made.append(player.play(search(SCORES, AVERAGES, 1)))
    server = ("--tracking-uri", uri)
    listed = json.loads(invoke("searches", "--json", *server))["searches"]
    assert [each["search_id"] for each in listed] == made[::-1]
    for each in listed:
        assert each["start_ms"] == player.tables[each["search_id"]].start_ms
