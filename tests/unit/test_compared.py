"""Which candidates cannot be told apart from the best: the rule, on numbers."""

from __future__ import annotations

import random
from statistics import variance

import pytest
from scipy import stats

from tables import FAILURE, grid, searched
from trackmllib.view.compared import compare, differ, quantile


@pytest.mark.parametrize("freedom", [*range(1, 31), 50, 100, 1000])
def test_quantiles_are_those_of_students_t(freedom):
    assert quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=2e-4)


@pytest.mark.parametrize("folds", [2, 3, 5, 10, 20])
def test_the_test_is_that_of_scikit_learns_example(folds):
    rng = random.Random(folds)
    told = set()
    for _ in range(50):
        one = [rng.gauss(0.02, 0.01) for _ in range(folds)]
        other = [rng.gauss(0.0, 0.01) for _ in range(folds)]
        differences = [a - b for a, b in zip(one, other, strict=True)]
        # compute_corrected_ttest of scikit-learn's plot_grid_search_stats.py, two-sided.
        corrected = (variance(differences) * (1 / folds + 1 / (folds - 1))) ** 0.5
        t = sum(differences) / folds / corrected
        expected = 2 * stats.t.sf(abs(t), folds - 1) < 0.05
        assert differ(one, other) == expected
        told.add(expected)
    assert folds == 2 or True in told


def test_differences_that_are_the_same_in_each_fold_are_no_chance():
    assert differ([0.75, 0.5], [0.5, 0.25])
    assert not differ([0.75, 0.5], [0.75, 0.5])


def test_candidates_are_paired_by_fold():
    # Folds differ much, candidates little but always in the same way.
    search = searched(
        grid(x=[1, 2, 3]),
        [[0.50, 0.70, 0.90], [0.499, 0.7005, 0.8995], [0.4499, 0.6501, 0.85]],
    )
    found = compare(search)
    assert found.best == 0
    assert found.indistinct == {1}
    assert found.compared == 2
    assert found.silence is None


def test_it_says_nothing_of_one_split():
    search = searched(grid(x=[1, 2]), [[0.5], [0.6]], averaged=False)
    assert "one split" in compare(search).silence


def test_it_says_nothing_where_there_is_no_best():
    assert compare(searched(grid(x=[1]), [[None, None]], end=FAILURE)).silence is not None


def test_it_says_nothing_of_folds_that_are_not_sparks_own():
    search = searched(grid(x=[1, 2]), [[0.5, 0.6, 0.7], [0.1, 0.2, 0.3]], folds=2)
    assert "not Spark's own" in compare(search).silence


def test_candidates_without_all_scores_are_not_compared():
    search = searched(
        grid(x=[1, 2, 3]), [[0.5, 0.6], [0.4, None], [0.4, float("nan")]], end=FAILURE
    )
    assert compare(search).compared == 0


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_the_size_of_scores_does_not_matter(scale):
    def scaled(*scores):
        return [score * scale for score in scores]

    assert differ(scaled(0.75, 0.5, 0.8), scaled(0.5, 0.26, 0.54))
    assert not differ(scaled(0.75, 0.5, 0.8), scaled(0.5, 0.6, 0.54))
    assert not differ([0.0, 0.0], [0.0, 0.0])
