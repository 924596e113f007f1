"""Names that clash on a parent run."""

from __future__ import annotations

import math

from trackmllib.tracking.conflicts import resolve_metric_name, resolve_name

ID = "3f2c0000-0000-0000-0000-000000000000"


def test_free_name_or_same_value_is_kept():
    assert resolve_name("numFolds", "3", {}, ID) == "numFolds"
    assert resolve_name("numFolds", "3", {"numFolds": "3"}, ID) == "numFolds"


def test_name_with_other_value_gets_search_id():
    assert resolve_name("numFolds", "3", {"numFolds": "5"}, ID) == f"numFolds_{ID}"


def test_resolving_twice_gives_the_same_name():
    existing = {"numFolds": "5", f"numFolds_{ID}": "3"}
    assert resolve_name("numFolds", "3", existing, ID) == f"numFolds_{ID}"


def test_metric_with_same_value_collides_only_as_series():
    assert resolve_metric_name("best_f1", 0.5, False, {"best_f1": 0.5}, ID) == "best_f1"
    assert resolve_metric_name("best_f1", 0.5, False, {"best_f1": 0.6}, ID) == f"best_f1_{ID}"
    assert resolve_metric_name("best_f1", math.nan, False, {"best_f1": math.nan}, ID) == "best_f1"
    assert resolve_metric_name("fits", 1.0, True, {"fits": 1.0}, ID) == f"fits_{ID}"
    assert resolve_metric_name("fits", 1.0, True, {}, ID) == "fits"
