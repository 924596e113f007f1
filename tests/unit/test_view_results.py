"""What users get of a search in code, in a terminal and in a notebook."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tables import FAILURE, grid, searched, stage, value
from trackmllib.view import report_table
from trackmllib.view.figures.basis import Basis
from trackmllib.view.ranks import ranks
from trackmllib.view.results import Results
from trackmllib.view.runs import Runs

NAN = math.nan
MAPS = [
    {"depth": 2, "rate": 0.5, "fit": True, "family": "auto", "stage": stage("A")},
    {"depth": 4, "rate": 1.0, "fit": False, "family": "<b>", "stage": stage("B")},
    {"depth": 8, "rate": 1, "fit": False, "family": "auto"},
]
ROWS = [[0.5, 0.6], [0.7, 0.8], [0.8, 0.9]]


def results(maps=MAPS, rows=ROWS, known=None, **changes):
    return Results(searched(maps, rows, **changes), lambda: known or Runs())


def test_the_best_setting_has_its_values_scores_and_run():
    best = results(known=Runs(children={2: "abc"})).best
    assert best.candidate == 2
    assert best.params == {"depth": 8, "rate": 1, "fit": False, "family": "auto"}
    assert best.average == pytest.approx(0.85)
    assert best.deviation == pytest.approx(0.05)
    assert best.folds == (0.8, 0.9)
    assert best.run_id == "abc"


def test_there_is_none_where_no_setting_has_all_its_scores():
    assert results(rows=[[None, None]] * 3, end=FAILURE).best is None
    assert results(maps=[], rows=[], end=FAILURE).best is None


def test_a_winner_of_nan_is_the_best_as_spark_has_it():
    best = results(rows=[[0.5, 0.6], [NAN, 0.8], [0.8, 0.9]]).best
    assert best.candidate == 1
    assert math.isnan(best.average)


def test_the_table_has_real_values_and_their_types():
    table = results(known=Runs(children={0: "r0"})).to_pandas()
    assert list(table.columns) == [
        "candidate",
        *(f"params.{key}" for key in ("depth", "rate", "fit", "family", "stage")),
        "status",
        "fold_0",
        "fold_1",
        "average",
        "deviation",
        "seconds",
        "run_id",
    ]
    types = {name: str(kind) for name, kind in table.dtypes.items()}
    assert types["candidate"] == types["params.depth"] == "int64"
    assert types["params.rate"] == types["fold_0"] == types["average"] == "float64"
    assert types["params.fit"] == "bool"
    assert types["params.family"] == "object"
    assert list(table["params.depth"]) == [2, 4, 8]
    assert table["params.stage"][0]["class"] == "m.A"
    assert table["params.stage"][2] is None
    assert list(table["status"]) == ["FINISHED"] * 3
    assert table["average"][1] == 0.75
    assert table["run_id"][0] == "r0"


def test_whole_numbers_stay_whole_where_some_candidates_do_not_set_them():
    table = results(maps=[{"x": 1}, {"y": True}], rows=[[0.1, 0.2]] * 2).to_pandas()
    assert str(table["params.x"].dtype) == "Int64"
    assert str(table["params.y"].dtype) == "boolean"
    assert table["params.x"][0] == 1
    assert table["params.x"].isna().tolist() == [False, True]


def test_candidates_that_have_not_begun_are_in_the_table():
    table = results(rows=[[0.5, 0.6], [0.7, None], [None, None]], end=None).to_pandas()
    assert list(table["status"]) == ["FINISHED", "RUNNING", "SCHEDULED"]
    assert table["average"].isna().tolist() == [False, True, True]
    assert table["fold_0"][1] == 0.7


def test_numbers_too_large_for_64_bits_stay_as_they_are():
    table = results(maps=[{"x": 2**70}, {"x": 1}], rows=[[0.1, 0.2]] * 2).to_pandas()
    assert list(table["params.x"]) == [2**70, 1]


def test_an_empty_grid_is_an_empty_table():
    assert len(results(maps=[], rows=[], end=FAILURE).to_pandas()) == 0


@pytest.mark.parametrize(
    "kind", ["scores", "params", "heatmaps", "parallel", "importance", "timeline", "cost"]
)
def test_each_kind_is_a_figure_that_a_notebook_shows(kind):
    maps = grid(x=[1, 2, 3], y=["a", "b"], z=[True, False])
    figure = results(maps, [[i / 20, i / 19] for i in range(12)]).plot(kind)
    assert type(figure).__mro__[1].__name__ == "Figure"
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_figure_of_no_kind_names_the_kinds():
    with pytest.raises(ValueError, match="'pie'; there are scores, params, heatmaps, parallel"):
        results().plot("pie")


def test_where_there_is_nothing_to_draw_the_error_says_why():
    with pytest.raises(ValueError, match="A heatmap takes two params that vary"):
        results(grid(x=[1, 2]), [[0.1, 0.2], [0.2, 0.3]]).plot("heatmaps")


def test_the_report_is_written_where_one_wants_it(tmp_path):
    path = results().report(str(tmp_path / "search.html"))
    assert path == tmp_path / "search.html"
    assert "is best" in path.read_text(encoding="utf-8")


def test_in_a_terminal_the_answer_stands_over_a_table_of_the_best():
    maps = grid(maxDepth=[2, 4, 8], maxBins=[8, 16])
    rows = [[0.70, 0.72], [0.70, 0.71], [0.74, 0.75], [0.74, 0.76], [0.80, 0.81], [0.82, 0.84]]
    assert repr(results(maps, rows)).splitlines() == [
        "maxDepth=8, maxBins=16 is best: weightedPrecision 0.830 ± 0.010 over 2 folds; 2",
        "of the 5 others cannot be told apart from the best.",
        "",
        "   maxDepth  maxBins  weightedPrecision",
        "1  8         16       0.830 ± 0.010",
        "2  8         8        0.805 ± 0.005 ≈",
        "3  4         16       0.750 ± 0.010",
        "4  4         8        0.745 ± 0.005 ≈",
        "5  2         8        0.710 ± 0.010",
        "and 1 more setting",
        "≈ cannot be told apart from the best",
    ]


@pytest.mark.parametrize("rows", [[[NAN, NAN]] * 3, [[None, None]] * 3])
def test_it_can_be_shown_in_every_state(rows):
    found = results(rows=rows, end=FAILURE if rows[0][0] is None else "finished")
    assert found.answer in repr(found).replace("\n", " ")
    assert found.answer in found._repr_html_()
    empty = results(maps=[], rows=[], end=FAILURE)
    assert "no candidates" in repr(empty)
    assert "no candidates" in empty._repr_html_()


def test_in_a_notebook_the_ten_best_have_a_line_of_their_folds():
    maps = grid(x=range(12), y=[value("<script>")])
    rows = [[i / 20, i / 19] for i in range(12)]
    known = Runs(
        tracking_uri="https://host", experiment_id="1", children={i: f"run{i}" for i in range(12)}
    )
    text = results(maps, rows, known)._repr_html_()
    assert text.count("<tr>") == 11
    assert text.count('<svg role="img"') == 10
    assert "and 2 more settings" in text
    assert '<a href="https://host/#/experiments/1/runs/run11" target="_blank"' in text
    assert "<script>" not in text
    assert not re.search(r"color:|background", text)


CODE = """
import sys
for name in ("pandas", "matplotlib", "jinja2", "numpy"):
    sys.modules[name] = None
import trackmllib
from tables import grid, searched
from trackmllib.errors import DependencyError
from trackmllib.view.results import Results
found = Results(searched(grid(x=[1, 2]), [[0.1, 0.2], [0.3, 0.4]]))
assert "x=2 is best" in repr(found) and "x=2 is best" in found._repr_html_()
for ask in (found.to_pandas, found.plot, lambda: found.report("never.html")):
    try:
        ask()
    except DependencyError as error:
        assert "trackmllib[report]" in str(error), error
    else:
        raise AssertionError(ask)
"""


def test_only_tables_figures_and_reports_need_more_packages():
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parent.parent,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_ranks_and_states_are_the_same_wherever_a_search_is_shown():
    rows = [[0.7, 0.7], [0.9, 0.9], [0.9, 0.9], [None, None], [0.8, None]]
    found = results(grid(x=range(5)), rows, end=None)
    expected = {0: "3", 1: "1=", 2: "1="}
    assert ranks(found.search) == expected
    basis = Basis(found.search)
    columns, table = report_table.table(basis, Runs())
    x = [column.text for column in columns].index("x")
    assert {int(row.fields[x].text): row.fields[0].text for row in table} == {
        **expected,
        3: "",
        4: "",
    }
    # Sorting by the rank gives the order of the table back.
    assert [row.fields[0].sort for row in table] == ["1", "2", "3", "4", "5"]
    assert "not begun" in [field.text for field in table[-1].fields]
    lines = [line.split() for line in repr(found).splitlines()]
    shown = [line for line in lines if line[:1] in (["1="], ["3"]) and line[1].isdigit()]
    assert [line[:2] for line in shown] == [["1=", "1"], ["1=", "2"], ["3", "0"]]
    heads = re.findall(r'<th scope="row"[^>]*>([^<]*)</th>', found._repr_html_())
    assert [head.split(" ")[0] for head in heads] == ["1=", "1=", "3", ""]


def test_nan_has_no_rank_unless_spark_took_it():
    found = results(grid(x=range(3)), [[0.5, 0.6], [NAN, 0.8], [NAN, 0.9]])
    assert ranks(found.search) == {1: "1", 0: "2"}
