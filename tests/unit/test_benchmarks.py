"""The parts of the benchmarks that compute and write; nothing here measures."""

from __future__ import annotations

import pytest

from benchmarks import page, text
from benchmarks.figures import (
    OURS,
    UNTRACKED,
    Row,
    Spread,
    compared,
    difference,
    in_turn,
    percentile,
    ratio,
)
from benchmarks.runner import QUESTIONS, chosen


def row(**fields) -> Row:
    about = {
        "name": "stub",
        "question": "Stub",
        "meaning": "A stub.",
        "bound": 1.1,
        "value": Spread(1.05, 1.0, 1.2),
        "rounds": 4,
    }
    return Row(**{**about, **fields})


def test_the_variants_run_in_turn_and_the_first_round_is_thrown_away():
    assert list(in_turn(["a", "b"], 2)) == [
        ("a", False),
        ("b", False),
        ("a", True),
        ("b", True),
        ("a", True),
        ("b", True),
    ]


def test_no_round_begins_for_which_there_is_no_time_but_two_are_run_in_any_case():
    assert len(list(in_turn(["a"], 9, is_time=lambda _: False))) == 3
    assert len(list(in_turn(["a"], 9, is_time=lambda rounds: rounds < 5))) == 5


def test_a_ratio_is_of_the_medians_and_its_spread_of_the_pairs():
    assert ratio([2.0, 3.0, 8.0], [1.0, 2.0, 2.0]) == Spread(1.5, 1.5, 4.0)


def test_a_difference_is_of_the_medians_and_its_spread_of_the_pairs():
    assert difference([2.0, 3.0, 8.0], [1.0, 2.0, 2.0]) == Spread(1.0, 1.0, 6.0)


def test_runs_without_a_partner_are_no_pairs():
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


def test_what_was_not_measured_has_no_median():
    with pytest.raises(ValueError, match="nothing was measured"):
        Spread.of([])


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 51), (99, 100), (100, 100)])
def test_a_percentile_is_one_of_the_values(percent, expected):
    assert percentile(range(100, 0, -1), percent) == expected


def test_ours_is_compared_with_untracked():
    made = compared(
        {UNTRACKED: [1.0, 1.0], OURS: [1.0, 2.0]}, name="", question="", meaning="", bound=1.5
    )
    assert made.value == Spread(1.5, 1.0, 2.0)
    assert made.measured[OURS] == Spread(1.5, 1.0, 2.0)
    assert made.holds
    assert made.rounds == 2


@pytest.mark.parametrize(
    ("bound", "below", "holds"),
    [(1.05, False, True), (1.049, False, False), (1.05, True, False), (1.051, True, True)],
)
def test_a_bound_holds_up_to_itself_unless_the_value_must_lie_below(bound, below, holds):
    assert row(bound=bound, below=below).holds is holds


def test_the_table_says_bound_verdict_and_what_was_measured():
    made = row(
        measured={UNTRACKED: Spread(3.0, 2.9, 3.1), OURS: Spread(3.15, 3.1, 3.2)},
        peer=Spread(12.345, 12.0, 13.0),
    )
    *_, last = text.table([made]).splitlines()
    assert last == (
        "| Stub | at most 1.1 x | 1.050 x (1.000 to 1.200) | yes | 4 | 3.00 s (2.90 to 3.10) | "
        "3.15 s (3.10 to 3.20) | 12.345 x (12.000 to 13.000) |"
    )


def test_what_else_was_measured_stands_beside_untracked():
    about = {UNTRACKED: Spread(3.0, 3.0, 3.0), "server": Spread(4.0, 4.0, 4.0)}
    assert "| 3.00 s, server 4.00 s |  |" in text.table([row(measured=about)])


def test_a_single_value_has_no_spread():
    assert text.spread(Spread(5.0, 5.0, 5.0), "CPU s") == "5.00 CPU s"
    assert text.spread(Spread(5.0, 4.0, 6.0), "CPU s") == "5.00 CPU s (4.00 to 6.00)"


def test_where_nothing_is_judged_no_row_is_missed():
    made = row(bound=1.0)
    assert "MISSED" in text.line(made)
    assert "MISSED" not in text.line(made, judged=False)


def test_missed_bounds_are_said_at_the_end():
    assert text.missed([row()]) == ""
    assert text.missed([row(), row(name="other", bound=1.0)]) == (
        "1 of 2 bounds are missed:\n  other: 1.050 x (1.000 to 1.200), at most 1 x"
    )


def test_the_page_keeps_what_people_wrote_around_the_figures():
    before = f"# Title\n{page.BEGIN}old\n{page.END}After.\n"
    once = page.replaced(before, "new\n")
    assert once == f"# Title\n{page.BEGIN}\nnew\n\n{page.END}After.\n"
    assert page.replaced(once, "new\n") == once


def test_a_page_without_a_place_for_figures_is_not_written():
    with pytest.raises(ValueError, match="no place"):
        page.replaced("# Title\n", "new")


def test_questions_are_chosen_by_how_their_names_begin():
    assert list(chosen([])) == list(QUESTIONS)
    assert list(chosen(["stub"])) == ["stub-sqlite", "stub-server", "stub-far"]
    with pytest.raises(SystemExit, match="no question 'nothing'"):
        list(chosen(["nothing"]))
