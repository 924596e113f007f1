"""``nested_fits`` on Spark Connect: params that only ``transform`` reads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from integration.connect_client import connect_server

pytestmark = pytest.mark.timeout(600)


def test_nested_fits_on_connect(tmp_path):
    with connect_server(tmp_path) as (url, _):
        program = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("connect_nested_driver.py")), url],
            capture_output=True,
            text=True,
            timeout=400,
            cwd=tmp_path,
        )
    assert program.returncode == 0, program.stderr[-3000:]
    logistic, pipeline, tree = (json.loads(line) for line in program.stdout.splitlines())
    assert logistic["same"]
    assert pipeline["same"]
    assert tree["same"]
    # Two folds of three candidates, and the refit.
    assert logistic["fits"] == [7, 3]
    # The scaler and the regression of two candidates; the regression is fitted for each.
    assert pipeline["fits"] == [10, 8]
    assert tree["fits"] == [5, 5]
    assert [one["left"] for one in (logistic, pipeline, tree)] == [0, 0, 0]
    assert logistic["messages"] == pipeline["messages"] == []
    assert tree["messages"] == [
        "nested_fits has no effect on a search of pyspark.ml.classification."
        "DecisionTreeClassifier: Spark Connect gives no access to the Java object of the model. "
        "Each candidate is fitted separately."
    ]
