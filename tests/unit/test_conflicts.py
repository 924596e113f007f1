"""Names that clash on a main run."""

from __future__ import annotations

import math

from trackmllib.tracking.conflicts import settle, settle_metric

ID = "3f2c0000-0000-0000-0000-000000000000"


def test_a_name_that_is_free_or_has_the_same_value_is_kept():
    assert settle("numFolds", "3", {}, ID) == "numFolds"
    assert settle("numFolds", "3", {"numFolds": "3"}, ID) == "numFolds"


def test_a_name_with_another_value_gets_the_full_search_id():
    assert settle("numFolds", "3", {"numFolds": "5"}, ID) == f"numFolds_{ID}"


def test_settling_again_gives_the_same_name():
    existing = {"numFolds": "5", f"numFolds_{ID}": "3"}
    assert settle("numFolds", "3", existing, ID) == f"numFolds_{ID}"


def test_a_metric_with_the_same_value_is_no_conflict_unless_it_is_a_series():
    assert settle_metric("best_f1", 0.5, False, {"best_f1": 0.5}, ID) == "best_f1"
    assert settle_metric("best_f1", 0.5, False, {"best_f1": 0.6}, ID) == f"best_f1_{ID}"
    assert settle_metric("best_f1", math.nan, False, {"best_f1": math.nan}, ID) == "best_f1"
    assert settle_metric("cells", 1.0, True, {"cells": 1.0}, ID) == f"cells_{ID}"
    assert settle_metric("cells", 1.0, True, {}, ID) == "cells"
