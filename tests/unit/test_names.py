"""Names that people see, and what MLflow takes."""

from __future__ import annotations

import pytest
from mlflow.utils.validation import (
    _validate_metric_name,
    _validate_param_name,
    _validate_tag_name,
)

from trackmllib import limits, names
from trackmllib.events import Candidate, GridSetting, Value
from trackmllib.names import GridNames


def setting(name, owner="LR_1", owner_class="LR", position="0", text="1"):
    return GridSetting(
        name=name,
        owner=owner,
        owner_class=owner_class,
        owner_position=position,
        value=Value(text=text, data=text),
    )


def labels(*settings):
    grid = GridNames([Candidate(index=0, settings=settings)])
    return [grid.label(s) for s in settings], [grid.key(s) for s in settings]


def test_short_names_where_they_are_enough():
    assert labels(setting("a"), setting("b"))[0] == ["a", "b"]


def test_class_then_position_then_uid():
    shown, keys = labels(
        setting("n", "TF_1", "TF", "1"),
        setting("n", "TF_2", "TF", "2"),
        setting("n", "LR_1", "LR", "3"),
        setting("m", "LR_1", "LR", "3"),
    )
    assert shown == ["TF[1].n", "TF[2].n", "LR.n", "m"]
    assert keys == ["TF_1_.n", "TF_2_.n", "LR.n", "m"]
    same_place = labels(setting("n", "TF_1", "TF", "0"), setting("n", "TF_2", "TF", "0"))
    assert same_place[0] == ["TF_1.n", "TF_2.n"]


def test_keys_that_mending_makes_equal_stay_apart():
    assert labels(setting("a%"), setting("a("))[1] == ["a_", "a__2"]


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
    "a/../b",
    "./a",
]


@pytest.mark.parametrize("name", ODD)
def test_mlflow_takes_every_mended_name(name):
    key = limits.key(name)
    _validate_param_name(key)
    _validate_metric_name(key)
    _validate_tag_name(key)
    assert len(key) <= 250 - 37
    assert limits.key(key) == key


@pytest.mark.parametrize("name", ["maxDepth", "a/b", "f1 score", "stage.param-x", "Größe"])
def test_names_that_mlflow_takes_stay(name):
    assert limits.key(name) == name


def test_a_run_name_is_short_enough_to_read():
    long = Candidate(index=0, settings=tuple(setting(f"p{i}", text="v" * 90) for i in range(9)))
    name = names.child_run(long, GridNames([long]))
    assert len(name) == 120
    assert name.startswith("p0=" + "v" * 39 + "…, p1=")
    assert name.endswith("…")
