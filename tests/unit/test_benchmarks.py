"""The parts of the benchmarks that compute and write; nothing here measures."""

from __future__ import annotations

import time

import pytest

from benchmarks import growth, page, runner, text
from benchmarks.bench import Bench
from benchmarks.figures import (
    OURS,
    PEER,
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
from benchmarks.stores import Incomplete
from benchmarks.waiting import Request, of_children, waited_for


def row(**fields) -> Row:
    about = {
        "name": "stub",
        "question": "Stub",
        "meaning": "A stub.",
        "bound": 1.1,
        "value": Spread(1.05, 1.0, 1.2),
        "rounds": 4,
        "without": {UNTRACKED: "nothing", PEER: "has none"},
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


def test_no_round_begins_for_which_there_is_no_time_but_the_least_number_is_run_in_any_case():
    assert len(list(in_turn(["a"], 9, is_time=lambda _: False))) == 3
    assert len(list(in_turn(["a"], 9, is_time=lambda rounds: rounds < 5))) == 5
    assert len(list(in_turn(["a"], 9, warm_ups=0, is_time=lambda _: False, least=1))) == 1


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
        {UNTRACKED: [1.0, 1.0], OURS: [1.0, 2.0]},
        name="",
        question="",
        meaning="",
        bound=1.5,
        without={PEER: "has none"},
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
    assert "| 3.00 s, server 4.00 s | 1.050 x" in text.table([row(measured=about)])


def test_a_row_says_why_a_variant_was_not_measured():
    made = row(value=Spread(84.0, 80.0, 90.0), unit="µs", without={UNTRACKED: "-", PEER: "none"})
    assert text.cells(made)[-3:] == ["-", "84.0 µs (80.0 to 90.0)", "none"]
    with pytest.raises(ValueError, match=r"neither measured nor said why not: \['peer'\]"):
        row(without={UNTRACKED: "-"})


def test_a_cost_below_nothing_holds_and_is_said_to_be_one():
    made = row(value=Spread(-3.0, -3.0, -3.0), unit="MB", bound=50.0)
    assert text.cells(made)[2:4] == ["-3.00 MB", "yes, below 0"]
    assert "holds, below 0" in text.line(made)


def test_costs_that_grow_within_a_fold_are_seen():
    assert growth.over_folds([300.0, 100.0], [300.0, 150.0]) == Spread(1.125, 1.0, 1.5)


def test_costs_that_grow_from_fold_to_fold_are_seen():
    cells = [900.0, 100.0, 200.0, 300.0, 700.0]
    assert growth.over_folds(cells, cells).median == 1.0
    assert growth.from_fold_to_fold(cells).median == 3.0


@pytest.mark.parametrize(
    ("first", "last"), [([-2.0, -1.0], [1.0, 1.0]), ([0.0, 0.0], [1.0, 1.0]), ([1.0, 1.0], [1, -1])]
)
def test_of_costs_that_are_less_than_noise_no_ratio_holds(first, last):
    with pytest.raises(Incomplete, match="noise"):
        growth.over_folds(first, last)
    with pytest.raises(Incomplete, match="noise"):
        growth.from_fold_to_fold([1.0, first[1], last[1], 1.0])


def test_a_request_is_about_the_run_it_changes_and_not_about_those_it_names():
    main, child = "a" * 32, "b" * 32

    def request(path, body="", answer=""):
        return Request("POST", path, {}, body.encode(), answer.encode(), 0.0)

    made = request("/runs/create", f'{{"tags": "mlflow.parentRunId {main}"}}', f'"{child}"')
    about_child = [
        made,
        request("/runs/log-batch", f'{{"run_id": "{child}"}}'),
        request(f"/runs/get?run_id={child}"),
        request(f"/mlflow-artifacts/artifacts/1/{child}/artifacts/traceback.txt", "no JSON"),
    ]
    about_main = [
        request("/runs/create", "{}", f'"{main}"'),
        request("/runs/log-batch", f'{{"run_id": "{main}", "tags": "best {child}"}}'),
        request(f"/mlflow-artifacts/artifacts/1/{main}/artifacts/report.html", f"<a>{child}</a>"),
    ]
    assert of_children(about_main[:1] + about_child + about_main[1:]) == len(about_child)


def test_the_floor_is_made_of_the_requests_that_fit_waited_for():
    heard = [Request("POST", f"/{at}", {}, b"", b"", at) for at in (1.0, 2.0, 3.0)]
    assert [request.path for request in waited_for(heard, 2.0)] == ["/1.0", "/2.0"]


def test_after_the_deadline_nothing_is_measured(tmp_path):
    bench = Bench(tmp_path, deadline=time.monotonic() - 1)
    with pytest.raises(Incomplete, match="no time left"):
        list(bench.in_turn([OURS], 1, 60.0))


def test_a_deadline_that_passes_ends_even_the_least_rounds(tmp_path):
    bench = Bench(tmp_path, deadline=time.monotonic() + 60)
    turns = bench.in_turn([UNTRACKED, OURS], 1, 60.0)
    assert next(turns) == (UNTRACKED, False)
    bench.deadline = time.monotonic() - 1
    with pytest.raises(Incomplete, match="no time left"):
        next(turns)


def test_what_has_no_time_left_is_said_to_have_failed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, "FOLDER", tmp_path / "bench")
    monkeypatch.setattr(runner, "SECONDS", 0.0)
    monkeypatch.setattr(runner, "prepare", lambda folder: None)
    assert runner.main(["--only", "import"]) == 1
    assert "Failed: import." in capsys.readouterr().out


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
