"""The time left and who leads, on numbers."""

from __future__ import annotations

import math

import pytest

from searching import Search, now, plan
from trackmllib.estimate import in_words, left_in_words, seconds_left
from trackmllib.events import SharedStages, StagesComputed
from trackmllib.standing import leader, score_in_words, standings, won_with_nan


def order(search: Search) -> list[int]:
    return [standing.candidate for standing in standings(search.result)]


# Time left. A cell of so many seconds has a fit of 3/4 of them; the refit of a search of 3 folds
# takes 3/2 of a fit.


def test_nothing_is_known_before_a_cell_is_measured_and_nothing_is_left_at_the_end():
    search = Search(plan(2))
    assert seconds_left(search.result, now(5)) is None
    search.begin(0, 0)
    assert seconds_left(search.result, now(5)) is None
    search.fail()
    assert seconds_left(search.result, now(11)) is None


def test_the_mean_stands_for_candidates_that_are_not_measured():
    search = Search(plan(3)).cell(0, 0, 0.5, seconds=4)
    # Two cells of this fold, six of the others, and the refit.
    assert seconds_left(search.result, now(4)) == 8 * 4 + 3 * 1.5


def test_a_candidate_counts_with_its_own_seconds_on_later_folds():
    search = Search(plan(2)).cell(0, 0, 0.9, seconds=2).cell(1, 0, 0.5, seconds=10)
    # The refit is one of candidate 0, which leads.
    assert seconds_left(search.result, now(12)) == 2 * (2 + 10) + 1.5 * 1.5


def test_what_running_cells_have_spent_is_taken_off():
    search = Search(plan(2, folds=1)).cell(0, 0, 0.5, seconds=10).begin(1, 0, at=10)
    assert seconds_left(search.result, now(14)) == 6 + 7.5
    # It takes longer than was thought.
    assert seconds_left(search.result, now(50)) == 7.5


@pytest.mark.parametrize(
    ("parallelism", "cells"), [(1, 7 * 4), (2, (4 + 2) // 2 * 4 + 4), (8, 2 * 4), (100, 2 * 4)]
)
def test_cells_run_in_parallel_and_folds_one_after_the_other(parallelism, cells):
    search = Search(plan(4, folds=2, parallelism=parallelism)).cell(0, 0, 0.5, seconds=4)
    # The first fold has 3 cells left, and the second 4.
    assert seconds_left(search.result, now(4)) == cells + 3 / 0.5


@pytest.mark.parametrize(("parallelism", "cells"), [(1, 7 * 4), (2, 4 * 4), (8, 4), (3, 3 * 4)])
def test_with_parallel_folds_no_cell_waits_for_another_fold(parallelism, cells):
    search = Search(plan(4, folds=2, parallelism=parallelism, parallel_folds=True))
    search.cell(0, 0, 0.5, seconds=4)
    assert seconds_left(search.result, now(4)) == cells + 3 / 0.5


def test_parallel_cells_that_run_leave_their_threads_when_they_end():
    search = Search(plan(5, folds=1, parallelism=2)).cell(0, 0, 0.5, seconds=10)
    search.begin(1, 0, at=10).begin(2, 0, at=14)
    # At 16: 4 and 8 left on the two threads, and two cells of 10 to come: 14, 18.
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
def test_the_refit_grows_with_the_data(fields, factor):
    search = Search(plan(1, **fields)).all_cells([0.5])
    assert seconds_left(search.result, now(10)) == pytest.approx(0.75 * factor)


def test_in_the_refit_its_own_seconds_count():
    search = Search(plan(2)).all_cells([0.5, 0.25], at=10).refit(0)
    assert seconds_left(search.result, now(10)) == 0.75 * 1.5
    assert seconds_left(search.result, now(10.5)) == 0.75 * 1.5 - 0.5
    assert seconds_left(search.result, now(99)) == 0.0


def test_a_thousand_candidates_cost_little():
    search = Search(plan(1000, folds=5, parallelism=8)).cell(0, 0, 0.5, seconds=8)
    assert seconds_left(search.result, now(8)) == pytest.approx(8 * 625, rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "1 s"),
        (11.6, "12 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (170, "3 min"),
        (3580, "1 h"),
        (4800, "1 h 20 min"),
        (183_600, "2 d 3 h"),
        (172_800, "2 d"),
    ],
)
def test_time_in_words(seconds, words):
    assert in_words(seconds) == words
    assert left_in_words(seconds) == f"about {words} left"
    assert left_in_words(None) == ""


# Who leads.


def test_while_it_runs_candidates_are_compared_by_the_folds_that_all_have():
    search = Search(plan(2)).cell(0, 0, 0.5).cell(1, 0, 0.6)
    assert order(search) == [1, 0]
    # The second score of one alone says nothing yet.
    search.cell(0, 1, 0.9)
    assert order(search) == [1, 0]
    assert leader(search.result).folds == 1
    search.cell(1, 1, 0.6)
    assert order(search) == [0, 1]
    assert (leader(search.result).average, leader(search.result).folds) == (0.7, 2)


def test_before_the_first_fold_is_over_those_lead_that_have_it():
    search = Search(plan(3)).cell(0, 0, 0.5).begin(1, 0)
    assert order(search) == [0, 1]
    assert [s.folds for s in standings(search.result)] == [1, 0]


def test_of_a_search_cut_short_the_incomplete_ones_follow_by_the_folds_that_they_share():
    search = Search(plan(5))
    for candidate, score in enumerate((0.5, 0.25, 0.125, 1.0)):
        search.cell(candidate, 0, score)
    for fold in (1, 2):
        search.cell(0, fold, 0.5)
    # What one of them alone has is not counted.
    search.cell(1, 1, 8.0).begin(4, 0)
    search.fail()
    assert order(search) == [0, 3, 1, 2, 4]
    assert [s.average for s in standings(search.result)] == [0.5, 1.0, 0.25, 0.125, None]
    assert [s.folds for s in standings(search.result)] == [3, 1, 1, 1, 0]


def test_smaller_is_better_and_ties_go_by_number():
    search = Search(plan(3, larger_is_better=False)).all_cells([0.5, 0.25, 0.25])
    assert order(search) == [1, 2, 0]


def test_nan_leads_nowhere_and_a_winner_with_nan_is_known():
    search = Search(plan(2)).cell(0, 0, math.nan)
    assert leader(search.result) is None
    search = Search(plan(2)).all_cells([math.nan, 0.5])
    assert leader(search.result).candidate == 1
    assert won_with_nan(search.result) is None
    for _ in (search.refit(0), search.finish(0)):
        assert leader(search.result).candidate == 1
        assert won_with_nan(search.result) == 0
        assert order(search) == [1, 0]
    search = Search(plan(2)).all_cells([math.nan, math.nan]).refit(0).finish(0)
    assert (leader(search.result), won_with_nan(search.result)) == (None, 0)


def test_the_refit_is_that_of_the_winner_whatever_its_score():
    search = Search(plan(2)).cell(0, 0, math.nan, seconds=4.0).cell(1, 0, 0.5, seconds=8.0)
    for fold in (1, 2):
        search.cell(0, fold, math.nan, seconds=4.0).cell(1, fold, 0.5, seconds=8.0)
    search.refit(0)
    # Three quarters of a cell is its fit, on two thirds of the data.
    assert seconds_left(search.result, now(1.0)) == pytest.approx(4.5)


def test_nobody_leads_where_it_is_not_known_which_way_is_better():
    search = Search(plan(2, larger_is_better=None)).all_cells([0.5, 0.75])
    assert leader(search.result) is None
    search.finish(0)
    assert leader(search.result).candidate == 0


def test_a_finished_search_without_a_winner_has_none():
    search = Search(plan(2)).all_cells([0.5, 0.75]).finish(None)
    assert leader(search.result) is None


def test_a_winner_that_nobody_saw_leads_nothing():
    search = Search(plan(2)).finish(1, averages=())
    assert leader(search.result) is None


def test_of_a_failed_search_the_best_complete_one_leads_or_else_who_led():
    search = Search(plan(2, folds=2)).cell(0, 0, 0.5).cell(1, 0, 0.75).cell(0, 1, 0.5)
    assert leader(search.result).candidate == 1
    search.fail()
    assert (leader(search.result).candidate, leader(search.result).folds) == (0, 2)
    search = Search(plan(2, folds=2)).cell(0, 0, 0.5).cell(1, 0, 0.75).fail()
    assert (leader(search.result).candidate, leader(search.result).folds) == (1, 1)


def test_infinite_scores_are_compared():
    search = Search(plan(3)).all_cells([math.inf, -math.inf, 0.5])
    assert order(search) == [0, 2, 1]


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((0.84213, 0.00612), "0.8421 ± 0.0061"),
        ((0.5, None), "0.5"),
        ((math.nan, math.nan), "NaN ± NaN"),
        ((-math.inf, 0.0), "-inf ± 0"),
        ((123456.0, 1234.0), "123,456 ± 1,234"),
    ],
)
def test_scores_in_words(numbers, words):
    assert score_in_words(*numbers) == words


def test_stages_that_are_shared_are_still_to_be_computed_on_later_folds_and_in_the_refit():
    shared = (SharedStages(stages=("Tokenizer",), candidates=(0, 1)),)
    search = Search(plan(2, shared=shared))
    search.result.apply(
        StagesComputed(
            search_id=search.result.search_id, time_ms=now(0), fold=0, shared=shared[0], seconds=6.0
        )
    )
    search.cell(0, 0, 0.5, seconds=4)
    # Five cells, twice the shared stages, and all of it in the refit.
    assert seconds_left(search.result, now(4)) == 5 * 4 + 2 * 6 + 1.5 * (3 + 6)
