"""Commands that read searches with damaged files or forged tags."""

from __future__ import annotations

import json
import math
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from mlflow import MlflowClient

from support.commands import table_rows
from support.search_events import AVERAGES, SCORES, search
from support.search_player import Player
from support.sqlite_store import sqlite_store
from trackmllib import UnknownSearch, load_results
from trackmllib.cli import main

NAN, INF = math.nan, math.inf


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A player for an experiment of a store in which searches get damaged."""
    folder = tmp_path_factory.mktemp("damaged")
    uri = sqlite_store(folder)
    client = MlflowClient(tracking_uri=uri)

    def made(name: str) -> tuple[Player, MlflowClient, str]:
        experiment = client.create_experiment(name, (folder / "files").as_uri())
        return Player(folder / name.replace(" ", "_"), uri, experiment), client, experiment

    return made


def damage(client: MlflowClient, run_id: str, name: str, change) -> None:
    """Change the text of a run's file in the store."""
    (path,) = Path(url2pathname(urlsplit(client.get_run(run_id).info.artifact_uri).path)).glob(name)
    path.write_bytes(change(path.read_bytes()))


DAMAGES = {
    "cut": ("search.json", lambda text: text[:300], "it is not JSON"),
    "deep": (
        "search.json",
        lambda text: text.replace(b'"folds": 2', b'"folds": ' + b"[" * 100_000),
        "nested too deeply",
    ),
    "not UTF-8": ("search.json", lambda text: text[:300] + b"\xff\xfe", "it is not JSON"),
    "a text for a number": (
        "search.json",
        lambda text: text.replace(b'"folds": 2', b'"folds": "3"'),
        "folds is '3', but must be a whole number",
    ),
    "endless": (
        "search.json",
        lambda text: text.replace(b'"folds": 2', b'"folds": 1000000000'),
        "folds is 1000000000, but must be a whole number",
    ),
    "of the outcome": (
        "outcome.json",
        lambda text: text.replace(b'"best": 1', b'"best": 1000000000'),
        "best is 1000000000, but must be a whole number",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", DAMAGES)
def test_damaged_search_does_not_hide_others(invoke, damaged, case):
    name, change, sentence = DAMAGES[case]
    ours, client, experiment = damaged(case)
    uri = ours.uri
    ours.active = client.create_run(experiment, run_name=case).info.run_id
    whole = ours.play(search(SCORES, AVERAGES, 1))
    broken = ours.play(search(SCORES, AVERAGES, 1))
    damage(client, ours.active, f"trackmllib_{broken}/{name}", change)
    server = ("--tracking-uri", uri)

    _, *rows = table_rows(invoke("searches", "--experiment", case, *server))
    assert [(row[1], row[3]) for row in rows] == [
        (broken[:8], "unreadable"),
        (whole[:8], "finished"),
    ]
    listed = json.loads(invoke("searches", "--json", "--experiment", case, *server))["searches"]
    assert [each["state"] for each in listed] == ["UNREADABLE", "FINISHED"]

    error = invoke("show", broken, *server, code=2)
    assert error.startswith(f"trackmllib: search {broken} on run {ours.active} cannot be shown: ")
    assert f"its {name} is damaged, or another version of trackmllib wrote it: " in error
    assert sentence in error
    assert error.count("\n") == 1
    for arguments in (("report", broken, "-o", "f.html"), ("compare", broken, whole)):
        assert invoke(*arguments, *server, code=2) == error
    with pytest.raises(UnknownSearch, match="is damaged"):
        load_results(ours.active, uri)

    # show prints the intact search, and says what is wrong with the other one.
    assert invoke("show", case, *server, code=1) == error
    assert "4 of 4 candidates" in invoke("show", whole, *server)


def test_intact_search_is_shown_beside_damaged_one(damaged, capsys):
    ours, client, experiment = damaged("half")
    ours.active = client.create_run(experiment, run_name="half").info.run_id
    whole = ours.play(search(SCORES, AVERAGES, 1))
    broken = ours.play(search(SCORES, AVERAGES, 1))
    damage(client, ours.active, f"trackmllib_{broken}/search.json", lambda text: text[:300])
    capsys.readouterr()
    assert main(["show", "half", "--json", "--tracking-uri", ours.uri]) == 1
    printed = capsys.readouterr()
    assert [each["search_id"] for each in json.loads(printed.out)["searches"]] == [whole]
    assert f"search {broken} on run" in printed.err


def test_forged_numbers_do_not_hide_searches(invoke, damaged):
    ours, client, experiment = damaged("forged")
    good = ours.play(search(SCORES, AVERAGES, 1))
    for number in range(4):
        run = client.create_run(experiment, run_name=str(number)).info.run_id
        client.log_param(run, "candidates", ("9" * 6000, "10", "10", "10")[number])
        client.log_param(run, "metric", "m")
        client.log_metric(run, "candidates_finished", (1, NAN, INF, 1)[number])
        client.log_metric(run, "fits_finished", (1, INF, NAN, 1)[number])
        client.set_tag(run, "trackmllib.search_id", (good, good, good, "it's")[number])
        client.set_tag(run, "trackmllib.started", "0001-01-01T00:00:00")
        client.set_tag(run, "trackmllib.larger_is_better", "true")
    arguments = ("--json", "--experiment", "forged", "--tracking-uri", ours.uri)
    listed = json.loads(invoke("searches", *arguments))["searches"]
    assert len(listed) == 5
    assert [each["state"] for each in listed].count("FINISHED") == 1
