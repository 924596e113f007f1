"""Parts of the benchmarks that compute and write results, without measuring."""

from __future__ import annotations

import time

import pytest

from benchmarks import docs_page, grid_size_cost, runner, text_tables
from benchmarks.delivery_cost import Request, answered_before, count_child_requests
from benchmarks.measurement import Bench
from benchmarks.ratios import (
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


def test_variants_alternate_and_the_first_round_is_discarded():
    assert list(in_turn(["a", "b"], 2)) == [
        ("a", False),
        ("b", False),
        ("a", True),
        ("b", True),
        ("a", True),
        ("b", True),
    ]


def test_no_round_starts_without_time_but_the_minimum_is_run():
    assert len(list(in_turn(["a"], 9, is_time=lambda _: False))) == 3
    assert len(list(in_turn(["a"], 9, is_time=lambda rounds: rounds < 5))) == 5
    assert len(list(in_turn(["a"], 9, warm_ups=0, is_time=lambda _: False, least=1))) == 1


def test_ratio_is_of_medians_and_its_spread_of_pairs():
    assert ratio([2.0, 3.0, 8.0], [1.0, 2.0, 2.0]) == Spread(1.5, 1.5, 4.0)


def test_difference_is_of_medians_and_its_spread_of_pairs():
    assert difference([2.0, 3.0, 8.0], [1.0, 2.0, 2.0]) == Spread(1.0, 1.0, 6.0)


def test_runs_without_a_partner_are_no_pairs():
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


def test_no_values_have_no_median():
    with pytest.raises(ValueError, match="nothing was measured"):
        Spread.of([])


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 51), (99, 100), (100, 100)])
def test_percentile_is_one_of_the_values(percent, expected):
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
def test_bound_is_inclusive_unless_the_value_must_be_below(bound, below, holds):
    assert row(bound=bound, below=below).holds is holds


def test_table_has_bound_verdict_and_measured_values():
    made = row(
        measured={UNTRACKED: Spread(3.0, 2.9, 3.1), OURS: Spread(3.15, 3.1, 3.2)},
        peer=Spread(12.345, 12.0, 13.0),
    )
    *_, last = text_tables.table([made]).splitlines()
    assert last == (
        "| Stub | at most 1.1 x | 1.050 x (1.000 to 1.200) | yes | 4 | 3.00 s (2.90 to 3.10) | "
        "3.15 s (3.10 to 3.20) | 12.345 x (12.000 to 13.000) |"
    )


def test_table_has_other_measured_variants():
    about = {UNTRACKED: Spread(3.0, 3.0, 3.0), "server": Spread(4.0, 4.0, 4.0)}
    assert "| 3.00 s, server 4.00 s | 1.050 x" in text_tables.table([row(measured=about)])


def test_row_has_the_reason_of_an_unmeasured_variant():
    made = row(value=Spread(84.0, 80.0, 90.0), unit="µs", without={UNTRACKED: "-", PEER: "none"})
    assert text_tables.cells(made)[-3:] == ["-", "84.0 µs (80.0 to 90.0)", "none"]
    with pytest.raises(ValueError, match=r"neither measured nor said why not: \['peer'\]"):
        row(without={UNTRACKED: "-"})


def test_negative_cost_holds_and_is_marked():
    made = row(value=Spread(-3.0, -3.0, -3.0), unit="MB", bound=50.0)
    assert text_tables.cells(made)[2:4] == ["-3.00 MB", "yes, below 0"]
    assert "holds, below 0" in text_tables.line(made)


def test_costs_that_grow_within_a_fold_are_detected():
    assert grid_size_cost.over_folds([300.0, 100.0], [300.0, 150.0]) == Spread(1.125, 1.0, 1.5)


def test_costs_that_grow_from_fold_to_fold_are_detected():
    fits = [900.0, 100.0, 200.0, 300.0, 700.0]
    assert grid_size_cost.over_folds(fits, fits).median == 1.0
    assert grid_size_cost.from_fold_to_fold(fits).median == 3.0


@pytest.mark.parametrize(
    ("first", "last"), [([-2.0, -1.0], [1.0, 1.0]), ([0.0, 0.0], [1.0, 1.0]), ([1.0, 1.0], [1, -1])]
)
def test_costs_below_noise_have_no_ratio(first, last):
    with pytest.raises(Incomplete, match="noise"):
        grid_size_cost.over_folds(first, last)
    with pytest.raises(Incomplete, match="noise"):
        grid_size_cost.from_fold_to_fold([1.0, first[1], last[1], 1.0])


def test_request_belongs_to_the_run_that_it_changes():
    parent, child = "a" * 32, "b" * 32

    def request(path, body="", answer=""):
        return Request("POST", path, {}, body.encode(), answer.encode(), 0.0)

    made = request("/runs/create", f'{{"tags": "mlflow.parentRunId {parent}"}}', f'"{child}"')
    about_child = [
        made,
        request("/runs/log-batch", f'{{"run_id": "{child}"}}'),
        request(f"/runs/get?run_id={child}"),
        request(f"/mlflow-artifacts/artifacts/1/{child}/artifacts/traceback.txt", "no JSON"),
    ]
    about_parent = [
        request("/runs/create", "{}", f'"{parent}"'),
        request("/runs/log-batch", f'{{"run_id": "{parent}", "tags": "best {child}"}}'),
        request(f"/mlflow-artifacts/artifacts/1/{parent}/artifacts/report.html", f"<a>{child}</a>"),
    ]
    assert count_child_requests(about_parent[:1] + about_child + about_parent[1:]) == len(
        about_child
    )


def test_floor_consists_of_requests_that_fit_waited_for():
    requests = [Request("POST", f"/{at}", {}, b"", b"", at) for at in (1.0, 2.0, 3.0)]
    assert [request.path for request in answered_before(requests, 2.0)] == ["/1.0", "/2.0"]


def test_after_the_deadline_nothing_is_measured(tmp_path):
    bench = Bench(tmp_path, deadline=time.monotonic() - 1)
    with pytest.raises(Incomplete, match="no time left"):
        list(bench.in_turn([OURS], 1, 60.0))


def test_deadline_ends_even_the_minimum_of_rounds(tmp_path):
    bench = Bench(tmp_path, deadline=time.monotonic() + 60)
    turns = bench.in_turn([UNTRACKED, OURS], 1, 60.0)
    assert next(turns) == (UNTRACKED, False)
    bench.deadline = time.monotonic() - 1
    with pytest.raises(Incomplete, match="no time left"):
        next(turns)


def test_question_without_time_left_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, "FOLDER", tmp_path / "bench")
    monkeypatch.setattr(runner, "SECONDS", 0.0)
    monkeypatch.setattr(runner, "prepare", lambda folder: None)
    assert runner.main(["--only", "import"]) == 1
    assert "Failed: import." in capsys.readouterr().out


def test_single_value_has_no_spread():
    assert text_tables.spread(Spread(5.0, 5.0, 5.0), "CPU s") == "5.00 CPU s"
    assert text_tables.spread(Spread(5.0, 4.0, 6.0), "CPU s") == "5.00 CPU s (4.00 to 6.00)"


def test_no_bound_is_missed_in_a_smoke_run():
    made = row(bound=1.0)
    assert "MISSED" in text_tables.line(made)
    assert "MISSED" not in text_tables.line(made, judged=False)


def test_missed_bounds_are_listed_at_the_end():
    assert text_tables.missed([row()]) == ""
    assert text_tables.missed([row(), row(name="other", bound=1.0)]) == (
        "1 of 2 bounds are missed:\n  other: 1.050 x (1.000 to 1.200), at most 1 x"
    )


def test_page_keeps_text_around_the_figures():
    before = f"# Title\n{docs_page.BEGIN}old\n{docs_page.END}After.\n"
    once = docs_page.replaced(before, "new\n")
    assert once == f"# Title\n{docs_page.BEGIN}\nnew\n\n{docs_page.END}After.\n"
    assert docs_page.replaced(once, "new\n") == once


def test_page_without_markers_is_not_written():
    with pytest.raises(ValueError, match="no place"):
        docs_page.replaced("# Title\n", "new")


def test_questions_are_chosen_by_prefix():
    assert list(chosen([])) == list(QUESTIONS)
    assert list(chosen(["stub"])) == ["stub-sqlite", "stub-server", "stub-far"]
    with pytest.raises(SystemExit, match="no question 'nothing'"):
        list(chosen(["nothing"]))
