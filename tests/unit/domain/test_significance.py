"""Statistical test of candidates, on numbers."""

from __future__ import annotations

import random
from statistics import pstdev, stdev, variance

import numpy as np
import pytest
from scipy import stats

from support.search_descriptions import grid
from support.search_states import FAILURE, searched
from trackmllib.domain.ranking import ranked
from trackmllib.domain.significance import compare, differ, quantile
from trackmllib.domain.standard_error import standard_error


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


def neighbours(rng, folds: int, searches: int = 2000, rows: int = 60):
    """Scores of two equally good classifiers on the same folds of new data in each search.

    Each predicts the label of the nearest row of its training data, by features of its own. Both
    have equally many and equally good ones, and a small training set, so folds agree by chance.
    """
    features = rng.normal(size=(searches, 2, rows, 2))
    noise = rng.normal(size=(searches, rows))
    labels = np.sign(features.sum(axis=(1, 3)) / 2 + noise)
    squares = ((features[..., None, :] - features[..., None, :, :]) ** 2).sum(-1)
    fold_of = np.arange(rows) % folds
    # No row is its own neighbour, nor is one of the same fold.
    squares[..., fold_of[:, None] == fold_of] = np.inf
    nearest = squares.argmin(-1)
    right = np.take_along_axis(labels[:, None], nearest, -1) == labels[:, None]
    return np.stack([right[..., fold_of == fold].mean(-1) for fold in range(folds)], axis=-1)


def regressions(rng, folds: int, searches: int = 2000, rows: int = 60):
    """Errors of two equally good linear regressions, each on ten features of its own."""
    features = rng.normal(size=(searches, 2, rows, 10))
    target = features.sum(axis=(1, 3)) / 20**0.5 + rng.normal(size=(searches, rows))
    fold_of = np.arange(rows) % folds
    errors = []
    for fold in range(folds):
        held = fold_of == fold
        x, y = features[..., ~held, :], target[:, None, ~held, None]
        weights = np.linalg.solve(x.swapaxes(-1, -2) @ x, x.swapaxes(-1, -2) @ y)
        predicted = (features[..., held, :] @ weights)[..., 0]
        errors.append(((predicted - target[:, None, held]) ** 2).mean(-1))
    return np.stack(errors, axis=-1)


@pytest.mark.parametrize("folds", [5, 10])
@pytest.mark.parametrize("models", [neighbours, regressions])
def test_equally_good_models_rarely_differ(models, folds):
    pairs = models(np.random.default_rng(29), folds)
    found = sum(differ(*pair) for pair in pairs.tolist())
    # Some do: the test is not blind. Not more than the claimed 5 %, up to chance.
    assert 0 < found <= stats.binom.ppf(0.999, len(pairs), 0.05)


def test_two_folds_do_not_hold_the_level():
    pairs = neighbours(np.random.default_rng(29), 2)
    found = sum(differ(*pair) for pair in pairs.tolist())
    assert found > stats.binom.ppf(0.999, len(pairs), 0.05)


def test_scores_are_paired_by_fold():
    # Differences between folds are large, those between candidates small but constant.
    search = searched(
        grid(x=[1, 2, 3]),
        [
            [0.50, 0.70, 0.90, 0.40, 0.60],
            [0.499, 0.7005, 0.8995, 0.4005, 0.599],
            [0.4499, 0.6501, 0.85, 0.35, 0.5501],
        ],
    )
    found = compare(search)
    assert found.best == 0
    assert found.indistinct == {1}
    assert found.compared == 2
    assert found.is_monotone
    assert found.reason is None


@pytest.mark.parametrize("folds", [2, 3, 4])
def test_fewer_than_five_folds_have_no_verdict(folds):
    search = searched(grid(x=[1, 2, 3]), [[0.5] * folds, [0.5] * folds, [0.1] * folds])
    found = compare(search)
    assert (found.compared, found.indistinct, found.clause) == (0, frozenset(), None)
    assert found.notes([0, 1, 2]) == (
        f"A test for significant differences needs at least 5 folds; this search has {folds}.",
    )


def test_skipped_candidate_differs_more_evenly():
    rng = random.Random(29)
    skipping = 0
    for _ in range(300):
        spreads = [rng.choice([0.001, 0.01, 0.05]) for _ in range(6)]
        rows = [[rng.gauss(0.8 - 0.01 * i, s) for _ in range(5)] for i, s in enumerate(spreads)]
        search = searched(grid(x=range(6)), rows)
        found = compare(search)
        others = [index for index in ranked(search) if index != found.best]
        marks = [index in found.indistinct for index in others]
        assert found.is_monotone == (marks == sorted(marks, reverse=True))
        skipping += not found.is_monotone

        def unevenness(index, rows=rows, best=found.best):
            return variance(a - b for a, b in zip(rows[best], rows[index], strict=True))

        for place, index in enumerate(others):
            for lower in others[place:]:
                if index not in found.indistinct and lower in found.indistinct:
                    assert unevenness(index) < unevenness(lower)
    assert 30 < skipping < 270


def test_one_split_is_not_compared():
    search = searched(grid(x=[1, 2]), [[0.5], [0.6]], averaged=False)
    assert "One split" in compare(search).reason


def test_nothing_is_compared_without_a_best_candidate():
    rows = [[0.5] * 5, [0.6] * 5]
    unknown = searched(grid(x=[1, 2]), rows, best=None)
    assert compare(unknown).reason == "No candidate is the best one, so none is compared."
    # With fewer than two averages, there is nothing to compare.
    assert compare(searched(grid(x=[1]), [[None] * 5], end=FAILURE)).reason is None
    assert compare(searched(grid(x=[1, 2]), [rows[0], [None] * 5], end=None)).reason is None


def test_folds_of_a_subclass_are_not_compared():
    search = searched(grid(x=[1, 2]), [[0.5, 0.6, 0.7], [0.1, 0.2, 0.3]], folds=2)
    assert "not Spark's own" in compare(search).reason
    assert standard_error(search, 0.1) is None


def test_candidates_without_all_scores_are_not_compared():
    search = searched(
        grid(x=[1, 2, 3, 4]),
        [[0.5] * 5, [0.4] * 4 + [None], [0.4] * 4 + [float("nan")], [0.3] * 5],
        end=FAILURE,
    )
    found = compare(search)
    assert (found.compared, found.left_out) == (1, 2)


@pytest.mark.parametrize("folds", [2, 3, 5, 10])
def test_standard_error_is_corrected_for_shared_training_data(folds):
    rng = random.Random(folds)
    scores = [rng.random() for _ in range(folds)]
    search = searched(grid(x=[1]), [scores])
    corrected = variance(scores) * (1 / folds + 1 / (folds - 1))
    error = standard_error(search, search.candidates[0].deviation)
    assert error == pytest.approx(corrected**0.5)
    assert error > stdev(scores) / folds**0.5
    # The formula in the docs.
    assert error == pytest.approx(pstdev(scores) * (2 * folds - 1) ** 0.5 / (folds - 1))


def test_one_fold_or_split_has_no_standard_error():
    assert standard_error(searched(grid(x=[1]), [[0.5]]), 0.0) is None
    assert standard_error(searched(grid(x=[1]), [[0.5]], averaged=False), 0.0) is None
    assert standard_error(searched(grid(x=[1]), [[0.5, 0.6]]), None) is None


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_result_does_not_depend_on_scale(scale):
    def scaled(*scores):
        return [score * scale for score in scores]

    assert differ(scaled(0.75, 0.5, 0.8), scaled(0.5, 0.26, 0.54))
    assert not differ(scaled(0.75, 0.5, 0.8), scaled(0.5, 0.6, 0.54))
    assert not differ([0.0, 0.0], [0.0, 0.0])
