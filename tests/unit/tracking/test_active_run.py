"""Tracking URIs as MLflow resolves them."""

from __future__ import annotations

import pytest

from trackmllib.tracking.active_run import absolute

pytestmark = pytest.mark.versions


def test_relative_tracking_uris_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("sqlite:///mlflow.db") == f"sqlite:///{tmp_path}/mlflow.db"
    assert absolute("sqlite:////abs/mlflow.db") == "sqlite:////abs/mlflow.db"
    assert absolute("sqlite:///run#1/x.db?timeout=9") == (
        f"sqlite:///{tmp_path}/run#1/x.db?timeout=9"
    )
    assert absolute("mlruns") == f"file://{tmp_path}/mlruns"
    assert absolute("run#1/mlruns") == f"file://{tmp_path}/run%231/mlruns"
    assert absolute("a%20b") == f"file://{tmp_path}/a%20b"
    assert absolute("file:///abs/mlruns") == "file:///abs/mlruns"
    for uri in ("http://host:5000", "databricks", "databricks://profile", "postgresql://u@h/d"):
        assert absolute(uri) == uri
