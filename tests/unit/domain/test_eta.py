"""Estimate of the time left, on numbers."""

from __future__ import annotations

import math
import random

import pytest

from support.scripted_search import Search, now
from support.search_descriptions import describe
from trackmllib.domain.descriptions import SharedStages
from trackmllib.domain.eta import seconds_left
from trackmllib.domain.thread_work import Task, pool_seconds

# Three quarters of a fit's seconds are its fit_seconds, on two thirds of the data with 3 folds: a
# refit takes 3/2 of them.


def test_time_left_is_known_from_first_score_to_end():
    search = Search(describe(2))
    assert seconds_left(search.result, now(5)) is None
    search.begin(0, 0)
    assert seconds_left(search.result, now(5)) is None
    search.fail()
    assert seconds_left(search.result, now(11)) is None


def test_unmeasured_candidates_take_the_mean():
    search = Search(describe(3)).fold_fit(0, 0, 0.5, seconds=4)
    # Two fits on this fold, six on the others, and the refit.
    assert seconds_left(search.result, now(4)) == 8 * 4 + 3 * 1.5


def test_further_metrics_take_time_in_each_fit():
    search = Search(describe(3)).fold_fit(0, 0, 0.5, seconds=4)
    search.result.candidates[0].fits[0].metrics_seconds = 2.0
    assert seconds_left(search.result, now(6)) == 8 * 6 + 3 * 1.5


def test_later_folds_take_as_long_as_earlier_ones():
    search = Search(describe(2)).fold_fit(0, 0, 0.9, seconds=2).fold_fit(1, 0, 0.5, seconds=10)
    # The refit is that of candidate 0, which leads.
    assert seconds_left(search.result, now(12)) == 2 * (2 + 10) + 1.5 * 1.5


def test_running_fits_count_their_remaining_time():
    search = Search(describe(2, folds=1)).fold_fit(0, 0, 0.5, seconds=10).begin(1, 0, at=10)
    assert seconds_left(search.result, now(14)) == 6 + 7.5
    # It takes longer than expected.
    assert seconds_left(search.result, now(50)) == 7.5


@pytest.mark.parametrize(
    ("parallelism", "fits"), [(1, 7 * 4), (2, (4 + 2) // 2 * 4 + 4), (8, 2 * 4), (100, 2 * 4)]
)
def test_fits_run_in_parallel_and_folds_in_sequence(parallelism, fits):
    search = Search(describe(4, folds=2, parallelism=parallelism)).fold_fit(0, 0, 0.5, seconds=4)
    # The first fold has 3 fits left, and the second 4.
    assert seconds_left(search.result, now(4)) == fits + 3 / 0.5


@pytest.mark.parametrize(("parallelism", "fits"), [(1, 7 * 4), (2, 4 * 4), (8, 4), (3, 3 * 4)])
def test_parallel_folds_share_one_pool(parallelism, fits):
    search = Search(describe(4, folds=2, parallelism=parallelism, parallel_folds=True))
    search.fold_fit(0, 0, 0.5, seconds=4)
    assert seconds_left(search.result, now(4)) == fits + 3 / 0.5


def test_waiting_fits_take_threads_as_they_become_free():
    search = Search(describe(5, folds=1, parallelism=2)).fold_fit(0, 0, 0.5, seconds=10)
    search.begin(1, 0, at=10).begin(2, 0, at=14)
    # At 16: 4 and 8 left on the two threads, and two fits of 10 to come: 14, 18.
    assert seconds_left(search.result, now(16)) == 18 + 7.5


@pytest.mark.parametrize(
    ("fields", "factor"),
    [
        ({"folds": 4}, 4 / 3),
        ({"folds": 1}, 1.0),
        ({"folds": 1, "averaged": False, "trainRatio": 0.8}, 1.25),
        ({"folds": 1, "averaged": False}, 1.0),
    ],
)
def test_refit_scales_with_the_data(fields, factor):
    search = Search(describe(1, **fields)).all_fits([0.5])
    assert seconds_left(search.result, now(10)) == pytest.approx(0.75 * factor)


def test_refit_counts_its_remaining_time():
    search = Search(describe(2)).all_fits([0.5, 0.25], at=10).refit(0)
    assert seconds_left(search.result, now(10)) == 0.75 * 1.5
    assert seconds_left(search.result, now(10.5)) == 0.75 * 1.5 - 0.5
    assert seconds_left(search.result, now(99)) == 0.0


def test_estimate_for_a_thousand_candidates():
    search = Search(describe(1000, folds=5, parallelism=8)).fold_fit(0, 0, 0.5, seconds=8)
    assert seconds_left(search.result, now(8)) == pytest.approx(8 * 625, rel=0.01)


def test_refit_of_a_nan_winner_uses_its_own_seconds():
    search = (
        Search(describe(2)).fold_fit(0, 0, math.nan, seconds=4.0).fold_fit(1, 0, 0.5, seconds=8.0)
    )
    for fold in (1, 2):
        search.fold_fit(0, fold, math.nan, seconds=4.0).fold_fit(1, fold, 0.5, seconds=8.0)
    search.refit(0)
    assert seconds_left(search.result, now(1.0)) == pytest.approx(4.5)


def test_shared_stages_count_on_later_folds_and_in_the_refit():
    shared = (SharedStages(stages=("Tokenizer",), candidates=(0, 1)),)
    search = Search(describe(2, shared=shared))
    search.share(shared[0], 0, 6.0)
    search.fold_fit(0, 0, 0.5, seconds=4)
    # Five fits, the shared stages on two folds, and both in the refit.
    assert seconds_left(search.result, now(4)) == 5 * 4 + 2 * 6 + 1.5 * (3 + 6)


def test_threads_wait_for_shared_work_of_another():
    work = SharedStages(stages=("PCA",), candidates=(0, 1))
    search = Search(describe(3, folds=2, parallelism=2, shared=(work,)))
    search.share(work, 0, 10.0)
    for candidate in range(3):
        search.fold_fit(candidate, 0, 0.5, seconds=4)
    # On the second fold, one thread does the work while the other waits; both fit, then one more.
    assert seconds_left(search.result, now(14)) == pytest.approx(10 + 4 + 4 + (3 + 10) / 0.5)


def test_work_of_reused_candidates_is_not_expected():
    work = [SharedStages(stages=("PCA",), candidates=each) for each in ((0, 1), (2, 3))]
    search = Search(describe(4, folds=2, nested_fits=tuple(work)))
    for fold in range(2):
        search.reuse(0, fold, 0.5).reuse(1, fold, 0.25)
    search.share(work[1], 0, 8.0)
    search.fold_fit(2, 0, 0.1, seconds=4).fold_fit(3, 0, 0.2, seconds=4)
    # Two fits and the work of one group on the second fold, and the refit of candidate 0.
    assert seconds_left(search.result, now(16)) == pytest.approx(2 * 4 + 8 + (0.75 + 8) / 0.5)


def test_later_folds_of_a_failed_candidate_are_not_expected():
    search = Search(describe(2, folds=3)).fold_fit(0, 0, 0.5, seconds=4)
    search.begin(1, 0, at=4).fail_fit(1, 0, at=5)
    assert seconds_left(search.result, now(5)) == 2 * 4 + 3 * 1.5


@pytest.mark.parametrize("parallelism", [1, 2, 3, 7])
def test_simulation_matches_a_pool_of_threads(parallelism):
    rng = random.Random(parallelism)
    fits = [rng.random() for _ in range(40)]
    free = [0.0] * parallelism
    for each in fits:
        free[free.index(min(free))] += each
    assert pool_seconds(map(Task, fits), [0.0] * parallelism) == pytest.approx(max(free))
