"""Ranking of candidates, on numbers."""

from __future__ import annotations

import math

from support.scripted_search import Search
from support.search_descriptions import describe, grid
from support.search_states import FAILURE, searched
from trackmllib.domain.descriptions import FurtherMetric
from trackmllib.domain.ranking import (
    averages,
    best,
    best_average,
    better_than,
    leader,
    leaderboard,
    nan_winner,
    rank_labels,
    ranked,
    ranks,
)

NAN = math.nan


def order(search: Search) -> list[int]:
    return [each.candidate for each in leaderboard(search.result)]


def test_running_candidates_are_compared_on_common_folds():
    search = Search(describe(2)).fold_fit(0, 0, 0.5).fold_fit(1, 0, 0.6)
    assert order(search) == [1, 0]
    # Only one of them has a second score.
    search.fold_fit(0, 1, 0.9)
    assert order(search) == [1, 0]
    assert leader(search.result).folds == 1
    search.fold_fit(1, 1, 0.6)
    assert order(search) == [0, 1]
    assert (leader(search.result).average, leader(search.result).folds) == (0.7, 2)


def test_scored_candidates_lead_during_the_first_fold():
    search = Search(describe(3)).fold_fit(0, 0, 0.5).begin(1, 0)
    assert order(search) == [0, 1]
    assert [s.folds for s in leaderboard(search.result)] == [1, 0]


def test_incomplete_candidates_follow_by_their_common_folds():
    search = Search(describe(5))
    for candidate, score in enumerate((0.5, 0.25, 0.125, 1.0)):
        search.fold_fit(candidate, 0, score)
    for fold in (1, 2):
        search.fold_fit(0, fold, 0.5)
    # Only one of the incomplete candidates has this fold.
    search.fold_fit(1, 1, 8.0).begin(4, 0)
    search.fail()
    assert order(search) == [0, 3, 1, 2, 4]
    assert [s.average for s in leaderboard(search.result)] == [0.5, 1.0, 0.25, 0.125, None]
    assert [s.folds for s in leaderboard(search.result)] == [3, 1, 1, 1, 0]


def test_smaller_is_better_and_ties_keep_grid_order():
    search = Search(describe(3, larger_is_better=False)).all_fits([0.5, 0.25, 0.25])
    assert order(search) == [1, 2, 0]


def test_nan_never_leads_even_as_the_winner():
    search = Search(describe(2)).fold_fit(0, 0, math.nan)
    assert leader(search.result) is None
    search = Search(describe(2)).all_fits([math.nan, 0.5])
    assert leader(search.result).candidate == 1
    assert nan_winner(search.result) is None
    for _ in (search.refit(0), search.finish(0)):
        assert leader(search.result).candidate == 1
        assert nan_winner(search.result) == 0
        assert order(search) == [1, 0]
    search = Search(describe(2)).all_fits([math.nan, math.nan]).refit(0).finish(0)
    assert (leader(search.result), nan_winner(search.result)) == (None, 0)


def test_unknown_direction_has_no_leader_before_the_winner():
    search = Search(describe(2, larger_is_better=None)).all_fits([0.5, 0.75])
    assert leader(search.result) is None
    search.finish(0)
    assert leader(search.result).candidate == 0


def test_unknown_direction_keeps_grid_order_of_a_running_search():
    search = Search(describe(3, larger_is_better=None)).begin(0, 0)
    search.fold_fit(1, 0, 0.5).fold_fit(2, 0, 0.75)
    assert order(search) == [1, 2, 0]


def test_finished_search_without_a_winner_has_no_leader():
    search = Search(describe(2)).all_fits([0.5, 0.75]).finish(None)
    assert leader(search.result) is None


def test_winner_without_results_does_not_lead():
    search = Search(describe(2)).finish(1, averages=())
    assert leader(search.result) is None


def test_best_complete_candidate_of_a_failed_search_leads():
    search = (
        Search(describe(2, folds=2)).fold_fit(0, 0, 0.5).fold_fit(1, 0, 0.75).fold_fit(0, 1, 0.5)
    )
    assert leader(search.result).candidate == 1
    search.fail()
    assert (leader(search.result).candidate, leader(search.result).folds) == (0, 2)
    search = Search(describe(2, folds=2)).fold_fit(0, 0, 0.5).fold_fit(1, 0, 0.75).fail()
    assert (leader(search.result).candidate, leader(search.result).folds) == (1, 1)


def test_infinite_scores_are_ranked():
    search = Search(describe(3)).all_fits([math.inf, -math.inf, 0.5])
    assert order(search) == [0, 2, 1]


def test_best_is_the_winner_or_the_best_complete_candidate():
    search = Search(describe(3, folds=2)).fold_fit(0, 0, 0.5).fold_fit(1, 0, 0.75)
    assert best(search.result) is None
    search.fold_fit(0, 1, 0.5)
    assert best(search.result) == 0
    search.fold_fit(1, 1, 0.75)
    assert best(search.result) == 1
    search.refit(0)
    assert (best(search.result), better_than(search.result, 0)) == (0, 1)
    assert ranked(search.result) == [0, 1]


def test_order_is_winner_then_averages_then_nan_then_incomplete():
    rows = [[0.5, 0.6], [NAN, 0.8], [0.9, None], [0.7, 0.8], [NAN, 0.9], [0.7, 0.8]]
    search = searched(grid(x=range(6)), rows, end=FAILURE)
    assert ranked(search) == [3, 5, 0, 1, 4, 2]
    assert rank_labels(search) == {3: "1=", 5: "1=", 0: "3"}
    assert averages(search) == {0: 0.55, 3: 0.75, 5: 0.75}


def test_nan_has_a_rank_only_as_the_winner():
    search = searched(grid(x=range(3)), [[0.5, 0.6], [NAN, 0.8], [NAN, 0.9]])
    assert rank_labels(search) == {1: "1", 0: "2"}
    assert ranked(search) == [1, 0, 2]


SCORES = [[0.5, 0.6], [0.9, 0.9], [0.7, 0.8], [0.1, 0.2], [0.3, 0.4]]
FURTHER = {
    "f1": [[0.5, 0.5], [0.25, 0.25], [0.5, 0.5], [0.75, NAN], [None, 1.0]],
    "logLoss": [[0.5, 0.5], [0.25, 0.25], [0.125, 0.125], [0.25, 0.25], [2.0, 2.0]],
    "own": [[1.0, 1.0]] * 5,
}


def search_with_metrics(**changes):
    described = (
        FurtherMetric(name="f1", larger_is_better=True),
        FurtherMetric(name="logLoss", larger_is_better=False),
        FurtherMetric(name="own"),
    )
    maps = grid(x=range(5))
    return searched(maps, SCORES, further=FURTHER, further_metrics=described, **changes)


def test_further_metric_ranks_by_its_own_direction():
    search = search_with_metrics()
    assert ranked(search, "logLoss") == [2, 1, 3, 0, 4]
    assert rank_labels(search, "logLoss") == {2: "1", 1: "2=", 3: "2=", 0: "4", 4: "5"}
    assert best_average(search, "logLoss") == 2


def test_nan_and_missing_values_of_further_metric_are_last():
    search = search_with_metrics()
    # The tuner's choice, 1, is not first by this metric.
    assert ranked(search, "f1") == [0, 2, 1, 3, 4]
    assert rank_labels(search, "f1") == {0: "1=", 2: "1=", 1: "3"}
    assert best_average(search, "f1") == 0


def test_further_metric_without_direction_has_no_ranks():
    search = search_with_metrics()
    assert (ranks(search, "own"), best_average(search, "own")) == ({}, None)
    assert ranked(search, "own") == [0, 1, 2, 3, 4]


def test_further_metrics_leave_the_ranking_by_the_tuners_metric():
    search, without = search_with_metrics(), searched(grid(x=range(5)), SCORES)
    assert ranked(search) == ranked(without) == [1, 2, 0, 4, 3]
    assert (best(search), ranks(search)) == (best(without), ranks(without))


def test_further_metric_ranks_a_running_search():
    search = search_with_metrics(end=None)
    assert ranked(search, "logLoss") == [2, 1, 3, 0, 4]
