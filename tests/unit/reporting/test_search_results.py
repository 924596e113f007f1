"""Results of a search in code, on a terminal and in a notebook."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.search_descriptions import grid, stage, value
from support.search_states import FAILURE, searched
from trackmllib.domain.ranking import rank_labels
from trackmllib.reporting import report_table
from trackmllib.reporting.figures.context import SearchContext
from trackmllib.reporting.results import Results
from trackmllib.reporting.run_links import RunLinks

pytestmark = pytest.mark.versions

NAN = math.nan
MAPS = [
    {"depth": 2, "rate": 0.5, "fit": True, "family": "auto", "stage": stage("A")},
    {"depth": 4, "rate": 1.0, "fit": False, "family": "<b>", "stage": stage("B")},
    {"depth": 8, "rate": 1, "fit": False, "family": "auto"},
]
ROWS = [[0.5, 0.6], [0.7, 0.8], [0.8, 0.9]]


def results(maps=MAPS, rows=ROWS, known=None, **changes):
    return Results(searched(maps, rows, **changes), lambda: known or RunLinks())


def test_best_has_values_scores_and_run():
    best = results(known=RunLinks(children={2: "abc"})).best
    assert best.candidate == 2
    assert best.params == {"depth": 8, "rate": 1, "fit": False, "family": "auto"}
    assert best.average == pytest.approx(0.85)
    assert best.deviation == pytest.approx(0.05)
    assert best.folds == (0.8, 0.9)
    assert best.run_id == "abc"


def test_best_is_none_without_a_complete_candidate():
    assert results(rows=[[None, None]] * 3, end=FAILURE).best is None
    assert results(maps=[], rows=[], end=FAILURE).best is None


def test_best_may_be_a_nan_winner():
    best = results(rows=[[0.5, 0.6], [NAN, 0.8], [0.8, 0.9]]).best
    assert best.candidate == 1
    assert math.isnan(best.average)


def test_dataframe_has_values_with_their_dtypes():
    table = results(known=RunLinks(children={0: "r0"})).to_pandas()
    assert list(table.columns) == [
        "candidate",
        *(f"params.{key}" for key in ("depth", "rate", "fit", "family", "stage")),
        "status",
        "fold_0",
        "fold_1",
        "average",
        "deviation",
        "rank",
        "seconds",
        "run_id",
    ]
    types = {name: str(kind) for name, kind in table.dtypes.items()}
    assert types["candidate"] == types["params.depth"] == types["rank"] == "int64"
    assert list(table["rank"]) == [3, 2, 1]
    assert types["params.rate"] == types["fold_0"] == types["average"] == "float64"
    assert types["params.fit"] == "bool"
    assert types["params.family"] == "object"
    assert list(table["params.depth"]) == [2, 4, 8]
    assert table["params.stage"][0]["class"] == "m.A"
    assert table["params.stage"][2] is None
    assert list(table["status"]) == ["FINISHED"] * 3
    assert table["average"][1] == 0.75
    assert table["run_id"][0] == "r0"


FURTHER = {
    "f1": [[0.5, 0.7], [0.8, 0.8], [NAN, 0.9]],
    "train_weightedPrecision": [[0.5, 0.6], [0.9, 0.9], [1.0, 1.0]],
}


def test_dataframe_has_further_metrics():
    table = results(further=FURTHER).to_pandas()
    assert [name for name in table.columns if "f1" in name] == [
        "fold_0.f1",
        "fold_1.f1",
        "avg_f1",
        "std_f1",
    ]
    assert {str(table[name].dtype) for name in table.columns if "f1" in name} == {"float64"}
    assert list(table["avg_f1"][:2]) == pytest.approx([0.6, 0.8])
    assert math.isnan(table["avg_f1"][2])
    assert table["std_f1"][0] == pytest.approx(0.1)
    assert list(table.sort_values("avg_train_weightedPrecision").candidate) == [0, 1, 2]


def test_text_and_notebook_show_further_metrics_of_the_best():
    shown = results(further=FURTHER)
    line = (
        "Further metrics of the best candidate: f1 NaN ± NaN, train_weightedPrecision 1.000 ± 0.000"
    )
    assert line in " ".join(repr(shown).split())
    assert line in shown._repr_html_()
    for text in (repr(results()), results()._repr_html_()):
        assert "urther" not in text


def test_line_of_further_metrics_is_bounded():
    many = {f"<{i}>" + "m" * 60: ROWS for i in range(13)}
    text = " ".join(repr(results(further=many)).split())
    assert text.count("mmm…") == 10
    assert ", and 3 more " in text
    assert "<0>" not in results(further=many)._repr_html_()


def test_unset_integers_are_nullable():
    table = results(maps=[{"x": 1}, {"y": True}], rows=[[0.1, 0.2]] * 2).to_pandas()
    assert str(table["params.x"].dtype) == "Int64"
    assert str(table["params.y"].dtype) == "boolean"
    assert table["params.x"][0] == 1
    assert table["params.x"].isna().tolist() == [False, True]


def test_dataframe_has_candidates_that_have_not_begun():
    table = results(rows=[[0.5, 0.6], [0.7, None], [None, None]], end=None).to_pandas()
    assert list(table["status"]) == ["FINISHED", "RUNNING", "SCHEDULED"]
    assert table["average"].isna().tolist() == [False, True, True]
    assert table["fold_0"][1] == 0.7


def test_integers_beyond_64_bits_stay_exact():
    table = results(maps=[{"x": 2**70}, {"x": 1}], rows=[[0.1, 0.2]] * 2).to_pandas()
    assert list(table["params.x"]) == [2**70, 1]


def test_empty_grid_is_an_empty_dataframe():
    assert len(results(maps=[], rows=[], end=FAILURE).to_pandas()) == 0


@pytest.mark.parametrize(
    "kind",
    ["scores", "training", "params", "heatmaps", "parallel", "importance", "timeline", "cost"],
)
def test_notebook_shows_each_kind_of_figure(kind):
    maps = grid(x=[1, 2, 3], y=["a", "b"], z=[True, False])
    scores = [[i / 20, i / 19] for i in range(12)]
    figure = results(maps, scores, further={"train_weightedPrecision": scores}).plot(kind)
    assert type(figure).__mro__[1].__name__ == "Figure"
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_unknown_kind_of_figure_names_the_kinds():
    expected = "unknown figure 'pie'; the kinds are scores, training, params, heatmaps"
    with pytest.raises(ValueError, match=expected):
        results().plot("pie")


def test_plot_raises_why_there_is_nothing_to_draw():
    with pytest.raises(ValueError, match="A heatmap takes two params that vary"):
        results(grid(x=[1, 2]), [[0.1, 0.2], [0.2, 0.3]]).plot("heatmaps")


def test_report_is_written_to_the_given_path(tmp_path):
    path = results().report(str(tmp_path / "search.html"))
    assert path == tmp_path / "search.html"
    assert "is best" in path.read_text(encoding="utf-8")


def test_repr_is_the_answer_and_a_table(monkeypatch):
    maps = grid(maxDepth=[2, 4, 8], maxBins=[8, 16])
    means = [0.71, 0.705, 0.745, 0.75, 0.805, 0.83]
    steps = [-0.02, -0.01, 0.0, 0.01, 0.02]
    rows = [[mean + step for step in steps] for mean in means]
    # Not as much better than the others on each fold.
    rows[4] = [0.84, 0.78, 0.83, 0.79, 0.785]
    rows[2] = [0.84, 0.64, 0.82, 0.66, 0.765]
    monkeypatch.setenv("COLUMNS", "120")
    assert repr(results(maps, rows)).splitlines() == [
        "maxDepth=8, maxBins=16 is best: weightedPrecision 0.830 ± 0.011 over 5 folds; 2 of the 5 "
        "others are not significantly",
        "different from the best (corrected resampled t-test, 5 folds).",
        "",
        "   maxDepth  maxBins  weightedPrecision",
        "1  8         16       0.830 ± 0.011",
        "2  8         8        0.805 ± 0.019 ≈",
        "3  4         16       0.750 ± 0.011",
        "4  4         8        0.745 ± 0.061 ≈",
        "5  2         8        0.710 ± 0.011",
        "and 1 more candidate",
        "± is the standard error, corrected because folds share training data (Nadeau and Bengio, "
        "2003).",
        "≈ not significantly different from the best (corrected resampled t-test, 5 folds)",
        "Where ≈ skips a better-ranked candidate, that one differs from the best more evenly "
        "across the folds.",
    ]


@pytest.mark.parametrize("rows", [[[NAN, NAN]] * 3, [[None, None]] * 3])
def test_repr_and_html_in_every_state(rows):
    found = results(rows=rows, end=FAILURE if rows[0][0] is None else "finished")
    assert found.answer in repr(found).replace("\n", " ")
    assert found.answer in found._repr_html_()
    empty = results(maps=[], rows=[], end=FAILURE)
    assert "no candidates" in repr(empty)
    assert "no candidates" in empty._repr_html_()


def test_notebook_shows_the_ten_best_with_sparklines():
    maps = grid(x=range(12), y=[value("<script>")])
    rows = [[i / 20, i / 19] for i in range(12)]
    known = RunLinks(
        tracking_uri="https://host", experiment_id="1", children={i: f"run{i}" for i in range(12)}
    )
    text = results(maps, rows, known)._repr_html_()
    assert text.count("<tr>") == 11
    assert text.count('<svg role="img"') == 10
    assert "and 2 more candidates" in text
    assert '<a href="https://host/#/experiments/1/runs/run11" target="_blank"' in text
    assert "<script>" not in text
    assert not re.search(r"color:|background", text)


CODE = """
import sys
for name in ("pandas", "matplotlib", "jinja2", "numpy"):
    sys.modules[name] = None
import trackmllib
from support.search_descriptions import grid
from support.search_states import searched
from trackmllib.exceptions import DependencyError
from trackmllib.reporting.results import Results
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


def test_only_dataframes_figures_and_reports_need_packages():
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_all_tables_agree_on_ranks_and_states():
    rows = [[0.7, 0.7], [0.9, 0.9], [0.9, 0.9], [None, None], [0.8, None]]
    found = results(grid(x=range(5)), rows, end=None)
    expected = {0: "3", 1: "1=", 2: "1="}
    assert rank_labels(found.search) == expected
    columns, table = report_table.table(SearchContext(found.search), RunLinks())
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
