"""Statistical test of candidates, on numbers."""

from __future__ import annotations

import random
from statistics import variance

import pytest
from scipy import stats

from support.search_descriptions import grid
from support.search_states import FAILURE, searched
from trackmllib.domain.significance import compare, differ, quantile


@pytest.mark.parametrize("freedom", [*range(1, 31), 50, 100, 1000])
def test_quantiles_of_students_t(freedom):
    assert quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=2e-4)


@pytest.mark.parametrize("folds", [2, 3, 5, 10, 20])
def test_matches_scikit_learns_corrected_ttest(folds):
    rng = random.Random(folds)
    outcomes = set()
    for _ in range(50):
        one = [rng.gauss(0.02, 0.01) for _ in range(folds)]
        other = [rng.gauss(0.0, 0.01) for _ in range(folds)]
        differences = [a - b for a, b in zip(one, other, strict=True)]
        # compute_corrected_ttest of scikit-learn's plot_grid_search_stats.py, two-sided.
        corrected = (variance(differences) * (1 / folds + 1 / (folds - 1))) ** 0.5
        t = sum(differences) / folds / corrected
        expected = 2 * stats.t.sf(abs(t), folds - 1) < 0.05
        assert differ(one, other) == expected
        outcomes.add(expected)
    assert folds == 2 or True in outcomes


def test_constant_difference_is_significant():
    assert differ([0.75, 0.5], [0.5, 0.25])
    assert not differ([0.75, 0.5], [0.75, 0.5])


def test_scores_are_paired_by_fold():
    # Differences between folds are large, those between candidates small but constant.
    search = searched(
        grid(x=[1, 2, 3]),
        [[0.50, 0.70, 0.90], [0.499, 0.7005, 0.8995], [0.4499, 0.6501, 0.85]],
    )
    found = compare(search)
    assert found.best == 0
    assert found.indistinct == {1}
    assert found.compared == 2
    assert found.reason is None


def test_one_split_is_not_compared():
    search = searched(grid(x=[1, 2]), [[0.5], [0.6]], averaged=False)
    assert "One split" in compare(search).reason


def test_nothing_is_compared_without_a_best_candidate():
    assert compare(searched(grid(x=[1]), [[None, None]], end=FAILURE)).reason is not None


def test_folds_of_a_subclass_are_not_compared():
    search = searched(grid(x=[1, 2]), [[0.5, 0.6, 0.7], [0.1, 0.2, 0.3]], folds=2)
    assert "not Spark's own" in compare(search).reason


def test_candidates_without_all_scores_are_not_compared():
    search = searched(
        grid(x=[1, 2, 3]), [[0.5, 0.6], [0.4, None], [0.4, float("nan")]], end=FAILURE
    )
    assert compare(search).compared == 0


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_result_does_not_depend_on_scale(scale):
    def scaled(*scores):
        return [score * scale for score in scores]

    assert differ(scaled(0.75, 0.5, 0.8), scaled(0.5, 0.26, 0.54))
    assert not differ(scaled(0.75, 0.5, 0.8), scaled(0.5, 0.6, 0.54))
    assert not differ([0.0, 0.0], [0.0, 0.0])
