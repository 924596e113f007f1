"""Names that people see, and keys that MLflow accepts."""

from __future__ import annotations

import pytest
from mlflow.utils.validation import (
    _validate_metric_name,
    _validate_param_name,
    _validate_tag_name,
)

from trackmllib.domain import mlflow_limits, naming
from trackmllib.domain.descriptions import Candidate, GridParam, Value
from trackmllib.domain.naming import GridNames

pytestmark = pytest.mark.versions


def param(name, owner="LR_1", owner_class="LR", position="0", text="1"):
    return GridParam(
        name=name,
        owner=owner,
        owner_class=owner_class,
        owner_position=position,
        value=Value(text=text, data=text),
    )


def labels(*params):
    grid = GridNames([Candidate(index=0, params=params)])
    return [grid.label(p) for p in params], [grid.key(p) for p in params]


def test_unambiguous_params_have_short_labels():
    assert labels(param("a"), param("b"))[0] == ["a", "b"]


def test_labels_are_qualified_by_class_position_or_uid():
    shown, keys = labels(
        param("n", "TF_1", "TF", "1"),
        param("n", "TF_2", "TF", "2"),
        param("n", "LR_1", "LR", "3"),
        param("m", "LR_1", "LR", "3"),
    )
    assert shown == ["TF[1].n", "TF[2].n", "LR.n", "m"]
    assert keys == ["TF_1_.n", "TF_2_.n", "LR.n", "m"]
    same_place = labels(param("n", "TF_1", "TF", "0"), param("n", "TF_2", "TF", "0"))
    assert same_place[0] == ["TF_1.n", "TF_2.n"]


def test_keys_stay_unique_after_sanitizing():
    assert labels(param("a%"), param("a("))[1] == ["a_", "a__2"]


ODD = [
    "",
    ".",
    "..",
    "/",
    "/a",
    "a/",
    "a//b",
    "../a",
    "a:b",
    "[1]",
    "ü✓",
    "x" * 400,
    "x" * (mlflow_limits.MAX_KEY - 1) + "/y",
    "a/../b",
    "./a",
]


@pytest.mark.parametrize("name", ODD)
def test_mlflow_accepts_sanitized_keys(name):
    key = mlflow_limits.sanitize_key(name)
    _validate_param_name(key)
    _validate_metric_name(key)
    _validate_tag_name(key)
    assert len(key) <= 250 - 37
    assert mlflow_limits.sanitize_key(key) == key


@pytest.mark.parametrize("name", ["maxDepth", "a/b", "f1 score", "stage.param-x", "Größe"])
def test_valid_keys_stay_unchanged(name):
    assert mlflow_limits.sanitize_key(name) == name


def test_run_name_is_truncated():
    long = Candidate(index=0, params=tuple(param(f"p{i}", text="v" * 90) for i in range(9)))
    name = naming.child_run(long, GridNames([long]))
    assert len(name) == 120
    assert name.startswith("p0=" + "v" * 39 + "…, p1=")
    assert name.endswith("…")
