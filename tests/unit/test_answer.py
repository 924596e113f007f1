"""The answer in a sentence, for each way in which a search can end."""

from __future__ import annotations

import math

import pytest

from tables import FAILURE, INTERRUPTED, START, grid, searched
from trackmllib.events import RefitStarted, SearchFailed
from trackmllib.names import GridNames
from trackmllib.view.answer import answer
from trackmllib.view.compared import compare
from trackmllib.view.words import score, seconds, visible

NAN = math.nan


def said(search):
    found = answer(search, GridNames(search.description.candidates), compare(search))
    return found.sentence


def test_best_with_count_of_indistinct_candidates():
    search = searched(
        grid(maxDepth=[4, 8], maxBins=[8]),
        [[0.836, 0.838, 0.840], [0.834, 0.842, 0.850]],
    )
    assert said(search) == (
        "maxDepth=8, maxBins=8 is best: weightedPrecision 0.842 ± 0.007 over 3 folds; "
        "the other one cannot be told apart from the best."
    )


def test_all_others_can_be_told_apart():
    assert said(searched(grid(x=[1, 2, 3]), [[0.1, 0.2], [0.8, 0.9], [0.2, 0.3]])).endswith(
        "; all 2 others can be told apart from the best."
    )


def test_smaller_is_better():
    search = searched(
        grid(x=[1, 2]), [[3.0, 4.0], [1.0, 2.0]], larger_is_better=False, metric="rmse"
    )
    assert said(search).startswith("x=2 is best: rmse 1.50 ± 0.50 over 2 folds (smaller is")


CASES = {
    "ties": (
        {"scores": [[0.5, 0.5], [0.7, 0.7], [0.7, 0.7]]},
        "x=1 is best, as one of 2: 2 settings have the same best score, weightedPrecision 0.7000 "
        "± 0.0000 over 2 folds; "
        "1 of the 2 others cannot be told apart from the best. "
        "Spark takes the first one.",
    ),
    "all equal": (
        {"scores": [[0.5, 0.5]] * 3},
        "All 3 settings have the same score: weightedPrecision 0.5000 ± 0.0000 over 2 folds; "
        "none of the 2 others can be told apart from the best. "
        "Spark takes the first, x=0.",
    ),
    "NaN winner": (
        {"scores": [[0.5, 0.6], [NAN, 0.6], [0.7, 0.8]]},
        "Spark took x=1 for the best, but its weightedPrecision is NaN. Of those with a score, "
        "x=2 is best: weightedPrecision 0.750 ± 0.050 over 2 folds.",
    ),
    "all NaN": (
        {"scores": [[NAN, NAN]] * 3},
        "Every setting scored NaN in weightedPrecision, so none is best. Spark took the first, "
        "x=0.",
    ),
    "running": (
        {"scores": [[0.5, 0.6], [0.7, 0.8], [0.7, None]], "end": None},
        "x=1 is best so far: weightedPrecision 0.750 ± 0.050 over 2 folds; "
        "the other one with all scores can be told apart from the best. "
        "2 of 3 settings are finished.",
    ),
    "refit": (
        {"scores": [[0.5, 0.6], [0.7, 0.8], [0.6, 0.7]], "end": None},
        "x=1 is best: weightedPrecision 0.750 ± 0.050 over 2 folds; "
        "all 2 others can be told apart from the best. "
        "It is being fitted on all the data.",
    ),
    "NaN while it runs": (
        {"scores": [[NAN, NAN], [NAN, 0.6], [0.7, None]], "end": None},
        "Every setting with all its scores has NaN in weightedPrecision, so none is best yet. "
        "2 of 3 settings are finished.",
    ),
    "NaN, then failed": (
        {"scores": [[NAN, NAN], [NAN, 0.6], [0.7, None]], "end": FAILURE},
        "The search failed; every setting with all its scores has NaN in weightedPrecision, so "
        "none is best. 2 of 3 settings had finished. The error was ValueError: no",
    ),
    "tied while it runs": (
        {"scores": [[0.7, 0.8], [0.7, 0.8], [0.7, None]], "end": None},
        "x=0 is best so far, as one of 2: weightedPrecision 0.750 ± 0.050 over 2 folds; "
        "the other one with all scores cannot be told apart from the best. "
        "2 of 3 settings are finished.",
    ),
    "tied in the refit": (
        {"scores": [[0.7, 0.8], [0.7, 0.8], [0.6, 0.7]], "end": None},
        "x=0 is best, as one of 2: weightedPrecision 0.750 ± 0.050 over 2 folds; "
        "1 of the 2 others cannot be told apart from the best. "
        "It is being fitted on all the data.",
    ),
    "tied, then failed": (
        {"scores": [[0.7, 0.8], [0.7, 0.8], [0.7, None]], "end": FAILURE},
        "x=0 was best when the search failed, as one of 2: weightedPrecision 0.750 ± 0.050 over "
        "2 folds; the other one with all scores cannot be told apart from the best. "
        "2 of 3 settings had finished. The error was ValueError: no",
    ),
    "another rule": (
        {"scores": [[0.90, 0.91], [0.80, 0.81], [0.70, 0.71]], "best": 1},
        "The tuner took x=1: weightedPrecision 0.805 ± 0.005 over 2 folds; the best average has "
        "x=0: 0.905 ± 0.005.",
    ),
    "another rule, tied with others": (
        {"scores": [[0.9, 0.9], [0.8, 0.8], [0.8, 0.8]], "best": 1},
        "The tuner took x=1: weightedPrecision 0.8000 ± 0.0000 over 2 folds; the best average has "
        "x=0: 0.9000 ± 0.0000.",
    ),
    "one fold": (
        {"scores": [[0.5], [0.9], [0.1]]},
        "x=1 is best: weightedPrecision 0.9000 over 1 fold.",
    ),
    "nothing yet": (
        {"scores": [[0.5, None], [None, None], [None, None]], "end": None},
        "No setting has all its scores yet: 0 of 3 are finished.",
    ),
    "failed": (
        {"scores": [[0.5, 0.6], [0.7, None], [0.7, None]], "end": FAILURE},
        "x=0 was best when the search failed: weightedPrecision 0.550 ± 0.050 over 2 folds. "
        "1 of 3 settings had finished. The error was ValueError: no",
    ),
    "failed at once": (
        {"scores": [[None, None]] * 3, "end": FAILURE},
        "The search failed before a setting had all its scores. The error was ValueError: no",
    ),
    "interrupted": (
        {"scores": [[0.5, 0.6], [0.7, None], [0.7, None]], "end": INTERRUPTED},
        "x=0 was best when the search was interrupted: weightedPrecision 0.550 ± 0.050 over "
        "2 folds. 1 of 3 settings had finished.",
    ),
    "unknown direction": (
        {"scores": [[0.5, 0.6], [0.7, 0.8], [0.1, 0.2]], "larger_is_better": None},
        "Spark took x=1: weightedPrecision 0.750 ± 0.050 over 2 folds. Whether larger is better "
        "is not known.",
    ),
    "winner unknown": (
        {"scores": [[0.5, 0.6], [0.7, 0.8], [0.1, 0.2]], "best": None},
        "The model does not say which setting it was fitted with; the best score has x=1: "
        "weightedPrecision 0.750 ± 0.050 over 2 folds.",
    ),
    "one split": (
        {"scores": [[0.5], [0.7], [0.1]], "averaged": False},
        "x=1 is best: weightedPrecision 0.7000 on one split.",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_special_case_has_its_words(case):
    changes, sentence = CASES[case]
    changes = dict(changes)
    assert said(searched(grid(x=range(3)), changes.pop("scores"), **changes)) == sentence


def certain(search):
    found = answer(search, GridNames(search.description.candidates), compare(search))
    return found.certainty


def test_of_what_another_rule_took_nothing_is_said_that_speaks_of_the_best_average():
    search = searched(grid(x=range(3)), [[0.90, 0.91], [0.80, 0.81], [0.70, 0.71]], best=1)
    assert certain(search) == ("± is the standard deviation of the scores over the folds.",)


@pytest.mark.parametrize(
    ("failure", "ended"),
    [
        (None, "What it took is being fitted on all the data."),
        (FAILURE, "The search failed. 2 of 2 settings had finished. The error was ValueError: no"),
        (INTERRUPTED, "The search was interrupted. 2 of 2 settings had finished."),
    ],
)
def test_another_rule_before_the_end(failure, ended):
    search = searched(grid(x=range(2)), [[0.90, 0.91], [0.80, 0.81]], end=None)
    search.apply(RefitStarted(search_id="s", time_ms=START, best=1))
    if failure is not None:
        search.apply(SearchFailed(search_id="s", time_ms=START, failure=failure))
    assert said(search).endswith(f"x=0: 0.905 ± 0.005. {ended}")


def test_a_refit_that_failed_after_nan_won_says_so():
    search = searched(grid(x=range(2)), [[NAN, 0.9], [0.8, 0.8]], end=None)
    search.apply(RefitStarted(search_id="s", time_ms=START, best=0))
    search.apply(SearchFailed(search_id="s", time_ms=START, failure=FAILURE))
    assert said(search).endswith(
        "± 0.0000 over 2 folds. The search failed. The error was ValueError: no"
    )


def test_one_fold_has_no_spread():
    assert certain(searched(grid(x=range(3)), [[0.5], [0.9], [0.1]])) == (
        "There is one fold only, so nothing says how far scores vary by chance.",
    )


def test_one_candidate():
    assert said(searched(grid(x=[1]), [[0.7, 0.8]])) == (
        "x=1 is the only setting: weightedPrecision 0.750 ± 0.050 over 2 folds."
    )
    assert said(searched([{}], [[0.7, 0.8]])).startswith("default params is the only setting")
    assert said(searched(grid(x=[1]), [[NAN, 0.8]])).startswith("The only setting scored NaN")


def test_no_candidates():
    assert said(searched([], [], end=FAILURE)) == (
        "The search has no candidates: its grid is empty. The error was ValueError: no"
    )


@pytest.mark.parametrize(
    ("average", "deviation", "text"),
    [
        (0.842, 0.006, "0.842 ± 0.006"),
        (0.842, 0.02, "0.842 ± 0.020"),
        (0.99912, 0.00002, "0.99912 ± 0.00002"),
        (12345.6, 234.0, "12346 ± 234"),
        (-0.5, 0.25, "−0.500 ± 0.250"),
        (0.8421, None, "0.8421"),
        (math.inf, None, "∞"),
        (3e-9, 1e-10, "0.00000000300 ± 0.00000000010"),
        (1e-30, None, "1e−30"),
        (None, None, "–"),
    ],
)
def test_scores_have_as_many_digits_as_their_spread_needs(average, deviation, text):
    assert score(average, deviation) == text


def test_durations_read_as_people_say_them():
    read = [seconds(each) for each in (0.1234, 3.21, 48.2, 200, 7500, None)]
    assert read == ["0.12 s", "3.2 s", "48 s", "3 min 20 s", "2 h 05 min", "–"]


def test_control_characters_do_not_reach_the_reader():
    assert visible("a\x00b\u202ec\nd", 99) == "a�b�c�d"
    assert visible("x" * 5000, 10) == "x" * 9 + "…"
