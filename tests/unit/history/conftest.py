"""Recorded searches to be read back."""

from __future__ import annotations

import pytest
from mlflow import MlflowClient

from support.search_player import Player
from support.sqlite_store import sqlite_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("loading")


@pytest.fixture(scope="module")
def uri(folder) -> str:
    return sqlite_store(folder)


@pytest.fixture
def player(folder, uri, request) -> Player:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment(request.node.name, (folder / "files").as_uri())
    return Player(folder / request.node.name.replace("/", "_"), uri, experiment)
