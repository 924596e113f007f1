"""Random searches with all options of ``accelerate`` equal stock Spark's."""

from __future__ import annotations

import pytest
from pyspark.ml.tuning import CrossValidator

import trackmllib
from support import random_searches
from support.stage_searches import BOTH

pytestmark = [pytest.mark.usefixtures("nothing_stays_cached"), pytest.mark.slow]


@pytest.mark.parametrize("seed", range(40))
def test_results_equal_stock_spark_to_the_last_bit(data, seed):
    tuner = random_searches.random_search(seed)
    trackmllib.autolog(disable=True)
    expected = random_searches.outcome(tuner.fit(data))
    trackmllib.autolog(record=False, progress=False, nested_fits=True, **BOTH)
    assert random_searches.outcome(tuner.fit(data)) == expected


def test_many_random_searches_share_stages():
    """Without them, the test above would prove nothing."""
    tuners = [random_searches.random_search(seed) for seed in range(40)]
    shared = [any(one.shared_by for one in trackmllib.explain(tuner).stages) for tuner in tuners]
    assert 20 <= sum(shared) < 40
    folds = [isinstance(one, CrossValidator) and one.getParallelism() > 1 for one in tuners]
    assert sum(folds) >= 8
    assert sum(both == (True, True) for both in zip(shared, folds, strict=True)) >= 5
