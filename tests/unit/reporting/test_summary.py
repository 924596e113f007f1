"""Answer of a search in each of its states."""

from __future__ import annotations

import math

import pytest

from support.search_descriptions import grid
from support.search_states import FAILURE, INTERRUPTED, START, searched
from trackmllib.domain.events import RefitStarted, SearchFailed
from trackmllib.domain.naming import GridNames
from trackmllib.domain.significance import UNCORRECTED, UNEVEN, compare
from trackmllib.domain.standard_error import PLUS_MINUS
from trackmllib.reporting.summary import answer

NAN = math.nan


def sentence_of(search):
    found = answer(search, GridNames(search.description.candidates), compare(search))
    return found.sentence


def certainty_of(search):
    found = answer(search, GridNames(search.description.candidates), compare(search))
    return found.certainty


def five(low, high):
    """Scores of five folds, evenly between two numbers."""
    return [low, low, (low + high) / 2, high, high]


DIFFERENT = "significantly different from the best (corrected resampled t-test, 5 folds)"


def test_answer_counts_indistinct_candidates():
    search = searched(
        grid(maxDepth=[4, 8], maxBins=[8]),
        [[0.836, 0.838, 0.840, 0.838, 0.838], [0.834, 0.842, 0.850, 0.842, 0.842]],
    )
    assert sentence_of(search) == (
        "maxDepth=8, maxBins=8 is best: weightedPrecision 0.842 ± 0.004 over 5 folds; "
        f"the other one is not {DIFFERENT}."
    )


def test_few_folds_have_no_verdict():
    search = searched(grid(x=[1, 2]), [[0.82, 0.84, 0.86], [0.10, 0.20, 0.30]])
    assert sentence_of(search) == "x=1 is best: weightedPrecision 0.840 ± 0.018 over 3 folds."
    assert certainty_of(search) == (
        PLUS_MINUS,
        "A test for significant differences needs at least 5 folds; this search has 3.",
    )


def test_answer_if_all_others_differ():
    rows = [five(0.1, 0.2), five(0.8, 0.9), five(0.2, 0.3)]
    search = searched(grid(x=[1, 2, 3]), rows)
    assert sentence_of(search).endswith(f"; all 2 others are {DIFFERENT}.")
    assert certainty_of(search) == (PLUS_MINUS, UNCORRECTED)


def test_marks_that_skip_a_candidate_are_explained():
    uneven = [0.9, 0.2, 0.9, 0.1, 0.4]
    search = searched(grid(x=[1, 2, 3]), [five(0.8, 0.9), five(0.7, 0.8), uneven])
    assert f"; 1 of the 2 others is not {DIFFERENT}." in sentence_of(search)
    assert certainty_of(search) == (PLUS_MINUS, UNCORRECTED, UNEVEN)


def test_smaller_is_better():
    search = searched(
        grid(x=[1, 2]), [[3.0, 4.0], [1.0, 2.0]], larger_is_better=False, metric="rmse"
    )
    assert sentence_of(search).startswith("x=2 is best: rmse 1.50 ± 0.87 over 2 folds (smaller is")


CASES = {
    "ties": (
        {"scores": [five(0.5, 0.5), five(0.7, 0.7), five(0.7, 0.7)]},
        "x=1 is best, tied with 1 other: weightedPrecision 0.7000 ± 0.0000 over 5 folds; "
        f"1 of the 2 others is not {DIFFERENT}. "
        "Spark chose the first one.",
    ),
    "all equal": (
        {"scores": [five(0.5, 0.5)] * 3},
        "All 3 candidates have the same score: weightedPrecision 0.5000 ± 0.0000 over 5 folds; "
        f"none of the 2 others is {DIFFERENT}. "
        "Spark chose the first one, x=0.",
    ),
    "NaN winner": (
        {"scores": [five(0.5, 0.6), [NAN, 0.6, 0.6, 0.6, 0.6], five(0.7, 0.8)]},
        "Spark chose x=1, but its weightedPrecision is NaN. Of those with a score, "
        "x=2 is best: weightedPrecision 0.750 ± 0.034 over 5 folds.",
    ),
    "all NaN": (
        {"scores": [[NAN] * 5] * 3},
        "Every candidate scored NaN in weightedPrecision, so none is best. Spark chose the first "
        "one, x=0.",
    ),
    "running": (
        {"scores": [five(0.5, 0.6), five(0.7, 0.8), [0.7, 0.7, 0.7, 0.7, None]], "end": None},
        "x=1 is best so far: weightedPrecision 0.750 ± 0.034 over 5 folds; "
        f"the other one with all scores is {DIFFERENT}. "
        "2 of 3 candidates are finished.",
    ),
    "refit": (
        {"scores": [five(0.5, 0.6), five(0.7, 0.8), five(0.6, 0.7)], "end": None},
        "x=1 is best: weightedPrecision 0.750 ± 0.034 over 5 folds; "
        f"all 2 others are {DIFFERENT}. "
        "Spark is refitting it on all the data.",
    ),
    "NaN while it runs": (
        {"scores": [[NAN] * 5, [NAN, 0.6, 0.6, 0.6, 0.6], [0.7, 0.7, 0.7, 0.7, None]], "end": None},
        "Every candidate with all its scores has NaN in weightedPrecision, so none is best yet. "
        "2 of 3 candidates are finished.",
    ),
    "NaN, then failed": (
        {
            "scores": [[NAN] * 5, [NAN, 0.6, 0.6, 0.6, 0.6], [0.7, 0.7, 0.7, 0.7, None]],
            "end": FAILURE,
        },
        "The search failed; every candidate with all its scores has NaN in weightedPrecision, so "
        "none is best. 2 of 3 candidates had finished. The error was ValueError: no",
    ),
    "tied while it runs": (
        {"scores": [five(0.7, 0.8), five(0.7, 0.8), [0.7, 0.7, 0.7, 0.7, None]], "end": None},
        "x=0 is best so far, tied with 1 other: weightedPrecision 0.750 ± 0.034 over 5 folds; "
        f"the other one with all scores is not {DIFFERENT}. "
        "2 of 3 candidates are finished.",
    ),
    "tied in the refit": (
        {"scores": [five(0.7, 0.8), five(0.7, 0.8), five(0.6, 0.7)], "end": None},
        "x=0 is best, tied with 1 other: weightedPrecision 0.750 ± 0.034 over 5 folds; "
        f"1 of the 2 others is not {DIFFERENT}. "
        "Spark is refitting it on all the data.",
    ),
    "tied, then failed": (
        {"scores": [five(0.7, 0.8), five(0.7, 0.8), [0.7, 0.7, 0.7, 0.7, None]], "end": FAILURE},
        "x=0 was best when the search failed, tied with 1 other: weightedPrecision 0.750 ± 0.034 "
        f"over 5 folds; the other one with all scores is not {DIFFERENT}. "
        "2 of 3 candidates had finished. The error was ValueError: no",
    ),
    "another rule": (
        {"scores": [five(0.90, 0.91), five(0.80, 0.81), five(0.70, 0.71)], "best": 1},
        "The tuner chose x=1: weightedPrecision 0.805 ± 0.003 over 5 folds; x=0 has the best "
        "average: 0.905 ± 0.003.",
    ),
    "another rule, tied with others": (
        {"scores": [five(0.9, 0.9), five(0.8, 0.8), five(0.8, 0.8)], "best": 1},
        "The tuner chose x=1: weightedPrecision 0.8000 ± 0.0000 over 5 folds; x=0 has the best "
        "average: 0.9000 ± 0.0000.",
    ),
    "one fold": (
        {"scores": [[0.5], [0.9], [0.1]]},
        "x=1 is best: weightedPrecision 0.9000 over 1 fold.",
    ),
    "nothing yet": (
        {"scores": [[0.5, 0.5, 0.5, 0.5, None], [None] * 5, [None] * 5], "end": None},
        "No candidate has all its scores yet: 0 of 3 are finished.",
    ),
    "failed": (
        {
            "scores": [five(0.5, 0.6), [0.7, 0.7, 0.7, 0.7, None], [0.7, 0.7, 0.7, 0.7, None]],
            "end": FAILURE,
        },
        "x=0 was best when the search failed: weightedPrecision 0.550 ± 0.034 over 5 folds. "
        "1 of 3 candidates had finished. The error was ValueError: no",
    ),
    "failed at once": (
        {"scores": [[None] * 5] * 3, "end": FAILURE},
        "The search failed before any candidate had all its scores. The error was ValueError: no",
    ),
    "interrupted": (
        {
            "scores": [five(0.5, 0.6), [0.7, 0.7, 0.7, 0.7, None], [0.7, 0.7, 0.7, 0.7, None]],
            "end": INTERRUPTED,
        },
        "x=0 was best when the search was interrupted: weightedPrecision 0.550 ± 0.034 over "
        "5 folds. 1 of 3 candidates had finished.",
    ),
    "unknown direction": (
        {"scores": [five(0.5, 0.6), five(0.7, 0.8), five(0.1, 0.2)], "larger_is_better": None},
        "Spark chose x=1: weightedPrecision 0.750 ± 0.034 over 5 folds. Whether larger is better "
        "is unknown.",
    ),
    "winner unknown": (
        {"scores": [five(0.5, 0.6), five(0.7, 0.8), five(0.1, 0.2)], "best": None},
        "The model does not show which candidate it was fitted with; x=1 has the best score: "
        "weightedPrecision 0.750 ± 0.034 over 5 folds.",
    ),
    "one split": (
        {"scores": [[0.5], [0.7], [0.1]], "averaged": False},
        "x=1 is best: weightedPrecision 0.7000 on one split.",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_answer_in_each_case(case):
    changes, sentence = CASES[case]
    changes = dict(changes)
    assert sentence_of(searched(grid(x=range(3)), changes.pop("scores"), **changes)) == sentence


def test_candidate_of_another_rule_is_not_compared():
    rows = [five(0.90, 0.91), five(0.80, 0.81), five(0.70, 0.71)]
    search = searched(grid(x=range(3)), rows, best=1)
    assert certainty_of(search) == (
        PLUS_MINUS,
        "The tuner chose a candidate without the best average, so none is compared.",
    )


@pytest.mark.parametrize(
    ("failure", "ended"),
    [
        (None, "Spark is refitting the chosen candidate on all the data."),
        (
            FAILURE,
            "The search failed. 2 of 2 candidates had finished. The error was ValueError: no",
        ),
        (INTERRUPTED, "The search was interrupted. 2 of 2 candidates had finished."),
    ],
)
def test_another_rule_before_the_end(failure, ended):
    search = searched(grid(x=range(2)), [[0.90, 0.91], [0.80, 0.81]], end=None)
    search.apply(RefitStarted(search_id="s", time_ms=START, best=1))
    if failure is not None:
        search.apply(SearchFailed(search_id="s", time_ms=START, failure=failure))
    assert sentence_of(search).endswith(f"x=0 has the best average: 0.905 ± 0.009. {ended}")


def test_failed_refit_of_a_nan_winner():
    search = searched(grid(x=range(2)), [[NAN, 0.9], [0.8, 0.8]], end=None)
    search.apply(RefitStarted(search_id="s", time_ms=START, best=0))
    search.apply(SearchFailed(search_id="s", time_ms=START, failure=FAILURE))
    assert sentence_of(search).endswith(
        "± 0.0000 over 2 folds. The search failed. The error was ValueError: no"
    )


def test_one_fold_has_no_deviation():
    assert certainty_of(searched(grid(x=range(3)), [[0.5], [0.9], [0.1]])) == (
        "One fold does not show how far scores vary by chance.",
    )


def test_one_candidate():
    assert sentence_of(searched(grid(x=[1]), [[0.7, 0.8]])) == (
        "x=1 is the only candidate: weightedPrecision 0.750 ± 0.087 over 2 folds."
    )
    assert sentence_of(searched([{}], [[0.7, 0.8]])).startswith(
        "default params is the only candidate"
    )
    assert sentence_of(searched(grid(x=[1]), [[NAN, 0.8]])).startswith(
        "The only candidate scored NaN"
    )


def test_no_candidates():
    assert sentence_of(searched([], [], end=FAILURE)) == (
        "The search has no candidates: its grid is empty. The error was ValueError: no"
    )
