"""A tracking store with recorded searches, and the command line on it."""

from __future__ import annotations

import math

import pytest
from mlflow import MlflowClient

from support.search_descriptions import one_param
from support.search_events import AVERAGES, ODD_TEXTS, SCORES, failing, search
from support.search_player import Player
from support.sqlite_store import sqlite_store
from trackmllib.cli import main


@pytest.fixture(scope="session")
def player(tmp_path_factory) -> Player:
    """Records searches in a SQLite store."""
    folder = tmp_path_factory.mktemp("commands")
    uri = sqlite_store(folder)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("digits", (folder / "files").as_uri())
    return Player(folder, uri, experiment)


@pytest.fixture(scope="session")
def searches(player) -> dict[str, str]:
    """Ids of searches in the store of ``player``, oldest first, and of the run that has two."""
    scores = [[math.nan, 0.5], [math.inf, 1.0], [-math.inf, 1.0], [0.5, 0.5]]
    averages = [math.nan, math.inf, -math.inf, 0.5]
    made = {
        "done": player.play(search(SCORES, AVERAGES, 1)),
        "not finite": player.play(search(scores, averages, 0)),
        "smaller": player.play(search(SCORES, AVERAGES, 0, larger_is_better=False, metric="rmse")),
        "unknown": player.play(search(SCORES, AVERAGES, 1, larger_is_better=None)),
        "failed": player.play(failing()),
        "odd": player.play(
            search([[0.1, 0.2]] * 5, [0.15] * 5, 0, candidates=one_param(*ODD_TEXTS))
        ),
        "five folds": player.play(
            search(
                [[0.6, 0.7, 0.8, 0.7, 0.7], [0.5, 0.6, 0.7, 0.6, 0.6], [0.2, 0.9, 0.1, 0.9, 0.4]],
                [0.7, 0.6, 0.5],
                0,
            )
        ),
        "running": player.play(search(SCORES, AVERAGES, 1, stop=19)),
    }
    client = MlflowClient(tracking_uri=player.uri)
    run = client.create_run(player.experiment_id, run_name="two in one")
    player.active = run.info.run_id
    made["first"] = player.play(search([[0.5], [0.6]], [0.5, 0.6], 1, averaged=False))
    made["second"] = player.play(search(SCORES, AVERAGES, 1))
    made["run"] = player.active
    return made


@pytest.fixture
def invoke(player, searches, capsys, monkeypatch):
    """Run a command in this process, and return its output.

    The output is that on standard error if ``code``, the expected exit code, is not 0.
    """
    monkeypatch.setenv("MLFLOW_TRACKING_URI", player.uri)

    def run(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        exit_code = main(arguments)
        printed = capsys.readouterr()
        assert exit_code == code, printed
        assert "Traceback" not in printed.err
        return printed.err if code else printed.out

    return run
